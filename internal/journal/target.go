package journal

import (
	"cmp"
	"slices"
	"time"

	"sersync/internal/change"
)

// State is what an owed path waits for.
type State uint8

const (
	// Ready: its turn.
	Ready State = iota
	// InFlight: the ack of the batch that it is in.
	InFlight
	// Retry: a time, because it failed.
	Retry
	// Delayed: a moment, until it is known whether a brake holds it.
	Delayed
	// Braked: a brake on removals to be released.
	Braked
	// Large: the lane of large files.
	Large
	// Dead: it failed too often. It is tried again when its time comes.
	Dead
)

// Owed is one path that a target does not have yet.
type Owed struct {
	change.Mark
	State State
	// Due is when a path that failed is tried again.
	Due   time.Time
	Tries int
	Err   string
}

// Target is the cursor of one target and the table of what it is owed. What is beyond the cursor in the log
// is owed too. It is safe for concurrent use.
type Target struct {
	j      *Journal
	cursor uint64
	next   *entry // the first entry beyond the cursor
	owed   map[change.Path]*owed
	ready  []*owed // in turn; an entry whose state is no longer Ready is stale
	low    []*owed
	large  []*owed
	timers timers
	// again are paths to be marked anew when their time comes: what a receiver that was cut
	// off may still overwrite.
	again map[change.Path]again
	// lows counts the rows of low priority; room is closed and made anew when it falls below
	// its bound.
	lows int
	room chan struct{}
	news chan struct{}
	// gaveLow: the last batch had rows of low priority.
	gaveLow bool
	// hook is set for the queue of a hook, which follows acks and not the log.
	hook *hookQueue
	// recent is what was changed there in the last minute before the last change, recents how many paths that are, and crowded the
	// last second in which there were too many.
	recent  []recent
	recents int
	crowded int64
	// named are names under which files with several arrived, in memory alone.
	named map[change.Inode]named
	// moved are hints, in memory alone; renames counts those that there were.
	moved   []Moved
	renames uint64
	unsaved unsavedOwed
	// lent is how many rows are lent, behind the cursor of the file while any are, and lentAt since when.
	lent   int
	behind uint64
	lentAt time.Time
}

type owed struct {
	Owed
	// given is the sequence number that Take gave out last, and stands for all marks up to it;
	// later is what was marked after it while in flight, all that stays owed when it is acked.
	given uint64
	later debt
	low   bool
	// stored: the file may have it.
	stored bool
	// failing and dying: it was said that it fails, and that it is a dead letter.
	failing, dying bool
	// queued: it stands in ready, low or large and must not be put there twice.
	queued bool
	// lent: it is in flight, and the file has it by its entry in the log.
	lent bool
}

func newTarget(j *Journal) *Target {
	t := &Target{
		j: j, cursor: j.seq,
		owed:  map[change.Path]*owed{},
		again: map[change.Path]again{},
		room:  make(chan struct{}),
		news:  make(chan struct{}, 1),
	}
	if j.store != nil {
		t.unsaved = newUnsavedOwed()
	}
	return t
}

// row makes the row of a mark.
func (t *Target) row(m change.Mark) *owed {
	o := &owed{Owed: Owed{Mark: m}, stored: t.unsaved.owed.has(m.Path)}
	t.owed[m.Path] = o
	t.unsaved.owed.add(m.Path)
	return o
}

// drop takes a row out.
func (t *Target) drop(o *owed) {
	if o.lent {
		o.lent = false
		t.lent--
	}
	delete(t.owed, o.Path)
	t.unsaved.owed.went(o.Path, o.stored)
}

// News gets a value when there may be something to take that was not there before.
func (t *Target) News() <-chan struct{} { return t.news }

func (t *Target) wake() {
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// Take gives out up to max marks, in flight from now on: what became ready first, for half of the
// batch, then the log in its order, then more of what is ready, then what has low priority.
func (t *Target) Take(max int) []change.Mark {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	t.bound()
	t.expire(time.Now(), max)
	batch := t.takeFrom(&t.ready, nil, (max+1)/2)
	from := t.cursor
	for t.next != nil && len(batch) < max {
		e := t.next
		t.next, t.cursor = e.next, e.place
		if t.lends(e) {
			batch = append(batch, t.fly(t.lend(e, from)))
		} else if o := t.merge(e.mark()); o.State == Ready && !o.queued {
			batch = append(batch, t.give(o))
		}
	}
	if t.next == nil && t.hook == nil {
		t.cursor = t.j.seq
	}
	t.j.trim()
	batch = t.takeFrom(&t.ready, batch, max)
	n := len(batch)
	batch = t.takeFrom(&t.low, batch, max)
	t.gaveLow = len(batch) > n
	return batch
}

func (t *Target) takeFrom(queue *[]*owed, batch []change.Mark, max int) []change.Mark {
	for len(batch) < max {
		o := t.pop(queue, Ready)
		if o == nil {
			break
		}
		batch = append(batch, t.give(o))
	}
	return batch
}

// pop takes the first row of a queue that still waits in that state; nil when there is none.
func (t *Target) pop(queue *[]*owed, state State) *owed {
	for len(*queue) > 0 {
		o := (*queue)[0]
		(*queue)[0] = nil
		*queue = (*queue)[1:]
		o.queued = false
		if o.State == state && t.owed[o.Path] == o {
			return o
		}
	}
	*queue = nil
	return nil
}

// give puts a row in flight, with what the log says of its path beyond the cursor: the look that
// follows sees that too.
func (t *Target) give(o *owed) change.Mark {
	if e := t.j.entries[o.Path]; e != nil && e.place > t.cursor && t.hook == nil {
		o.Mark = o.Merge(e.mark())
		t.unsaved.owed.add(o.Path)
	}
	t.lift(o)
	return t.fly(o)
}

func (t *Target) fly(o *owed) change.Mark {
	o.State, o.given = InFlight, o.Seq
	return o.Mark
}

// merge takes a mark into the table. What waits for a time waits no longer: a new mark is a
// reason to try. What is in flight, and what waits for its lane, stays there.
func (t *Target) merge(m change.Mark) *owed {
	o := t.owed[m.Path]
	if o == nil {
		return t.row(m)
	}
	if m.Seq <= o.given {
		return o // give had it from the log
	}
	t.keep(o)
	if o.State == InFlight {
		d := debt{m.Since, m.Bits}
		if o.given != o.Seq {
			d = d.merge(o.later)
		}
		o.later = d
	}
	o.Mark = o.Merge(m)
	t.unsaved.owed.add(m.Path)
	if o.State == Retry || o.State == Delayed || o.State == Dead || o.State == Braked {
		o.State = Ready
	}
	if o.State == Ready && o.low {
		t.lift(o)
		o.queued = false // it stands in the queue of low priority: its turn is now
	}
	return o
}

// lift ends the low priority of a row.
func (t *Target) lift(o *owed) {
	if !o.low {
		return
	}
	o.low = false
	t.unsaved.owed.add(o.Path)
	t.lows--
	if t.lows == lowMax-1 {
		close(t.room)
		t.room = make(chan struct{})
	}
}

func (t *Target) enqueue(o *owed) {
	if !o.queued {
		o.queued = true
		t.ready = append(t.ready, o)
	}
}

// inFlight finds the row of a mark that Take or TakeLarge gave out.
func (t *Target) inFlight(m change.Mark) *owed {
	o := t.owed[m.Path]
	if o == nil || o.State != InFlight || o.given != m.Seq {
		return nil
	}
	return o
}

// Ack says that the target has the path as it was at the time of m or later. A path that was
// marked again meanwhile stays owed.
func (t *Target) Ack(marks ...change.Mark) { t.AckTelling(nil, marks...) }

// AckTelling acks, and puts in the queues of hooks what that tells them: a kill forgets both or neither.
func (t *Target) AckTelling(tellings []Telling, marks ...change.Mark) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	defer tell(tellings)
	defer t.j.trim()
	for _, m := range marks {
		o := t.inFlight(m)
		if o == nil {
			continue
		}
		if o.Seq == m.Seq {
			t.drop(o)
			continue
		}
		o.State, o.Tries, o.Err = Ready, 0, ""
		o.failing, o.dying = false, false
		o.Since, o.Bits = o.later.since, o.later.bits
		t.unsaved.owed.add(m.Path)
		if t.hook != nil {
			o.Due = time.Time{}
			t.queue(o)
		} else {
			t.enqueue(o)
		}
		t.wake()
	}
}

// PutBack says that nothing became of the marks and nothing is wrong with them: they are ready again.
func (t *Target) PutBack(marks ...change.Mark) {
	t.each(marks, func(o *owed) {
		o.State = Ready
		t.enqueue(o)
	})
}

// Fail says that a path failed and is tried again at due, or when it is marked again.
func (t *Target) Fail(m change.Mark, err error, due time.Time, dead bool) {
	t.FailTelling(nil, m, err, due, dead)
}

// FailTelling is Fail of a path that failed for a reason of its own. It puts tellings in the queues of hooks when it fails for the
// first time and when it becomes a dead letter, which died reports.
func (t *Target) FailTelling(tellings []Telling, m change.Mark, err error, due time.Time, dead bool) (died bool) {
	t.each([]change.Mark{m}, func(o *owed) {
		if dead && !o.dying {
			died = true
		}
		if died || !o.failing {
			tell(tellings)
		}
		o.failing, o.dying = o.failing || len(tellings) > 0, o.dying || dead
		o.Tries++
		o.Err, o.Due = err.Error(), due
		t.unsaved.owed.add(o.Path)
		switch {
		case o.Seq != o.given: // marked again meanwhile
			o.State = Ready
			t.enqueue(o)
			return
		case dead:
			o.State = Dead
		default:
			o.State = Retry
		}
		t.await(timer{due: due, o: o})
	})
	return died
}

// Hold says that a removal waits for a brake to be released, or for a new mark.
func (t *Target) Hold(marks ...change.Mark) {
	t.each(marks, func(o *owed) {
		if o.Seq != o.given { // marked again meanwhile: it may be there by now
			o.State = Ready
			t.enqueue(o)
			return
		}
		o.State = Braked
		t.unsaved.owed.add(o.Path)
	})
}

// Delay says that it is not known yet whether a removal is held: it is ready again at due, or when it is marked again.
func (t *Target) Delay(due time.Time, marks ...change.Mark) {
	t.each(marks, func(o *owed) {
		if o.Seq != o.given { // marked again meanwhile
			o.State = Ready
			t.enqueue(o)
			return
		}
		o.State, o.Due = Delayed, due
		t.await(timer{due: due, o: o})
	})
}

// Park says that a path waits for the lane of large files.
func (t *Target) Park(m change.Mark) {
	t.each([]change.Mark{m}, func(o *owed) {
		o.State = Large
		o.queued = true
		t.large = append(t.large, o)
	})
}

// TakeLarge gives out the next path of the lane of large files.
func (t *Target) TakeLarge() (change.Mark, bool) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	if o := t.pop(&t.large, Large); o != nil {
		return t.give(o), true
	}
	return change.Mark{}, false
}

func (t *Target) each(marks []change.Mark, do func(*owed)) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for _, m := range marks {
		if o := t.inFlight(m); o != nil {
			t.keep(o)
			do(o)
		}
	}
	t.wake()
}

// Release makes everything ready that a brake holds, in the order of the marks.
func (t *Target) Release() {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	var held []*owed
	for _, o := range t.owed {
		if o.State == Braked {
			held = append(held, o)
		}
	}
	slices.SortFunc(held, func(a, b *owed) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, o := range held {
		o.State = Ready
		t.unsaved.owed.add(o.Path)
		t.enqueue(o)
	}
	t.wake()
}

// Again marks the paths anew at due, with their bits.
func (t *Target) Again(due time.Time, marks ...change.Mark) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for _, m := range marks {
		t.remind(due, m.Path, m.Bits&^change.Live)
	}
	t.wake()
}

func (t *Target) remind(due time.Time, p change.Path, bits change.Bits) {
	if _, ok := t.again[p]; !ok && len(t.again) >= t.j.limit {
		p, bits = change.Root, change.Tree
	}
	a, ok := t.again[p]
	a.bits |= bits
	later := !ok || a.due.Before(due)
	if later {
		a.due = due
	}
	t.again[p] = a
	t.unsaved.again.add(p)
	if later {
		t.await(timer{due: due, again: p})
	}
}

// Owe marks a path for this target only.
func (t *Target) Owe(m change.Mark) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	t.owe(m)
	t.bound()
	t.wake()
}

func (t *Target) owe(m change.Mark) {
	t.j.seq++
	m.Seq = t.j.seq
	t.enter(m)
}

// enter takes a mark into the table, and its row in turn.
func (t *Target) enter(m change.Mark) {
	if o := t.merge(m); o.State == Ready {
		t.enqueue(o)
	}
}

// bound keeps the table within its limit.
func (t *Target) bound() {
	if t.hook != nil {
		t.fold()
		return
	}
	if len(t.owed) > t.j.limit {
		t.collapse()
	}
}

// collapse forgets what is owed path by path; one comparison of everything takes its place.
func (t *Target) collapse() {
	all := t.lacks()
	all.bits |= change.Tree | change.Extras
	for _, o := range t.owed {
		if o.State != InFlight {
			t.lift(o)
			t.drop(o)
		}
	}
	t.ready, t.low, t.large, t.moved = nil, nil, nil, nil
	t.settle()
	t.cursor, t.next = t.j.seq, nil
	t.owe(change.Mark{Path: change.Root, Since: all.since, Bits: all.bits})
	t.wake()
}
