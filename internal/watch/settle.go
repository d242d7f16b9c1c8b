package watch

import (
	"container/heap"
	"container/list"
	"time"

	"sersync/internal/change"
)

// SettleOptions say how long a file that may be half written waits. The zero value of each
// is its default.
type SettleOptions struct {
	// CloseWait is how long a new file waits for its close. Default 1 s.
	CloseWait time.Duration
	// QuietWait is how long a file that is written and not closed must be quiet. Default 5 s.
	QuietWait time.Duration
	// OpenMax is how long a file that is written and never quiet waits at the most. Default 1 min.
	OpenMax time.Duration
	// Immediate lets a file go at each write.
	Immediate bool
	// Max is how many files may wait. What comes above it is due at once. Default 100,000.
	Max int
}

// Pending is a path that has waited.
type Pending struct {
	Path change.Path
	// Since is when the first event of what is due was read.
	Since time.Time
}

// Settle holds back files that may be half written: a new regular file with one link until
// it is closed or CloseWait is over; a file that is written and not closed until it is quiet for
// QuietWait, and OpenMax at the most. Everything else is due at once.
//
// It belongs to one goroutine and knows no clock: its time is that of the events and of the
// calls. A call costs O(log n) of what waits.
type Settle struct {
	opts SettleOptions
	// places has what waits, and the directories above it.
	places map[change.Path]*place
	due    dueHeap
	// first has what waits in the order in which it came.
	first list.List
}

// place is a file that waits, a directory with such a file below it, or both: a directory may
// be made where a file waits, and its removal may have been lost.
type place struct {
	file *waiting
	kids map[change.Path]struct{}
}

type waiting struct {
	Pending
	due time.Time
	// last is when it is due however often it is written.
	last time.Time
	// index is its place in the heap, entry that in the list.
	index int
	entry *list.Element
}

// NewSettle makes a Settle in which nothing waits.
func NewSettle(opts SettleOptions) *Settle {
	orDefault(&opts.CloseWait, time.Second)
	orDefault(&opts.QuietWait, 5*time.Second)
	orDefault(&opts.OpenMax, time.Minute)
	orDefault(&opts.Max, 100_000)
	return &Settle{opts: opts, places: make(map[change.Path]*place)}
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Add takes an event. It reports whether the path is due by this event alone; if not, Due returns
// it when its time has come. That is at once for a file that waited and was closed: it is due
// since its first event.
//
// The function single says whether the path is a regular file with one link. It is called only where
// that decides: for a new path that is no directory.
func (s *Settle) Add(e Event, single func() bool) (due bool) {
	file := s.find(e.Path)
	if file != nil && e.Dir { // its removal was lost
		s.drop(file)
		file = nil
	}
	if e.Dir && (e.Kind == Removed || e.Kind == MovedFrom) {
		s.dropBelow(e.Path)
	}
	if file == nil {
		return !s.starts(e, single)
	}
	switch {
	case e.Kind == Wrote && !s.opts.Immediate:
		s.postpone(file, e.At.Add(s.opts.QuietWait))
	case e.Kind == Attrib:
		// Of a file that is not complete, this is no reason to send it.
	case e.Kind == Created && single(): // its removal was lost
	default:
		s.postpone(file, e.At)
	}
	return false
}

// starts has the path of e wait, if that is what e asks for.
func (s *Settle) starts(e Event, single func() bool) bool {
	switch {
	case e.Kind == Wrote && !s.opts.Immediate:
		return s.wait(e.Path, e.At, e.At.Add(s.opts.QuietWait), e.At.Add(s.opts.OpenMax))
	case e.Kind == Created && !e.Dir && single():
		due := e.At.Add(s.opts.CloseWait)
		return s.wait(e.Path, e.At, due, due)
	}
	return false
}

// Due takes out what need not wait any longer, the earliest first.
func (s *Settle) Due(now time.Time) []Pending {
	var due []Pending
	for len(s.due) > 0 && !s.due[0].due.After(now) {
		due = append(due, s.due[0].Pending)
		s.drop(s.due[0])
	}
	return due
}

// Flush takes out all that waits.
func (s *Settle) Flush() []Pending {
	due := make([]Pending, 0, s.Len())
	for e := s.first.Front(); e != nil; e = e.Next() {
		due = append(due, e.Value.(*waiting).Pending)
	}
	clear(s.places)
	s.due = nil
	s.first.Init()
	return due
}

// Next is when something will be due; false when nothing waits.
func (s *Settle) Next() (time.Time, bool) {
	if len(s.due) == 0 {
		return time.Time{}, false
	}
	return s.due[0].due, true
}

// Oldest is since when the file that came first waits; false when nothing waits.
func (s *Settle) Oldest() (time.Time, bool) {
	if s.first.Len() == 0 {
		return time.Time{}, false
	}
	return s.first.Front().Value.(*waiting).Since, true
}

// Len is how many files wait.
func (s *Settle) Len() int { return len(s.due) }

func (s *Settle) find(p change.Path) *waiting {
	if at := s.places[p]; at != nil {
		return at.file
	}
	return nil
}

// wait has p wait, if there is room.
func (s *Settle) wait(p change.Path, since, due, last time.Time) bool {
	if s.Len() >= s.opts.Max {
		return false
	}
	w := &waiting{Pending: Pending{Path: p, Since: since}, due: earlier(due, last), last: last}
	w.entry = s.first.PushBack(w)
	heap.Push(&s.due, w)
	s.grow(p).file = w
	return true
}

// postpone has w wait until due, but never longer than it may.
func (s *Settle) postpone(w *waiting, due time.Time) {
	w.due = earlier(due, w.last)
	heap.Fix(&s.due, w.index)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// grow is the place of p; it is made when there is none, as are those above it.
func (s *Settle) grow(p change.Path) *place {
	at := s.places[p]
	if at != nil {
		return at
	}
	at = &place{}
	s.places[p] = at
	if p != change.Root {
		parent := s.grow(p.Parent())
		if parent.kids == nil {
			parent.kids = make(map[change.Path]struct{})
		}
		parent.kids[p] = struct{}{}
	}
	return at
}

// drop takes w out, and the places that only led to it.
func (s *Settle) drop(w *waiting) {
	heap.Remove(&s.due, w.index)
	s.first.Remove(w.entry)
	p := w.Path
	s.places[p].file = nil
	for at := s.places[p]; at.file == nil && len(at.kids) == 0; at = s.places[p] {
		delete(s.places, p)
		if p == change.Root {
			return
		}
		kid := p
		p = p.Parent()
		delete(s.places[p].kids, kid)
	}
}

// dropBelow takes out all that waits below p.
func (s *Settle) dropBelow(p change.Path) {
	at := s.places[p]
	if at == nil {
		return
	}
	for kid := range at.kids {
		s.dropBelow(kid)
		if file := s.find(kid); file != nil {
			s.drop(file)
		}
	}
}

// dueHeap is a heap of what waits, by the time at which it is due.
type dueHeap []*waiting

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *dueHeap) Push(x any) {
	w := x.(*waiting)
	w.index = len(*h)
	*h = append(*h, w)
}

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return w
}
