// Package journal keeps what the targets of one source are owed: a compacted log of marks with one
// entry a path, a cursor of each target into it, beside each cursor a table of what is owed, and the
// index of what was last seen at the source. It is the step between looking and sending.
package journal

import (
	"maps"
	"slices"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// DefaultLimit is how many paths the log, or what one target is owed, may hold.
const DefaultLimit = 1_000_000

// Journal is the journal of one source. It is safe for concurrent use.
type Journal struct {
	limit int
	start time.Time
	// full gets a value when there is so much to save that it should not wait.
	full chan struct{}
	// saving is held by the one that commits.
	saving sync.Mutex

	mu      sync.Mutex
	seq     uint64
	entries map[change.Path]*entry
	// The log: entries in the order of their place, oldest first.
	first, last *entry
	targets     map[string]*Target
	hooks       map[string]*Target
	index       index
	young       []youngRow
	// recorded is when something was recorded last.
	recorded time.Time
	// twice says when what is marked now is marked again on a target; nil when it is not.
	twice func(target string) time.Time

	keep
}

// entry is one path in the log.
type entry struct {
	path change.Path
	// seq is that of the newest change, place where the entry stands. A change moves the entry
	// to the end only when a target has taken it: what nobody has taken keeps its place. Those
	// that had not taken it are owed it from then on in their own tables, so that debt says
	// for every target what it lacks, and no path runs away from a target that lags.
	seq, place uint64
	debt
	prev, next *entry
	// stored: the file may have it.
	stored bool
}

func (e *entry) mark() change.Mark {
	return change.Mark{Path: e.path, Seq: e.seq, Since: e.since, Bits: e.bits}
}

// debt is what a mark says without its path.
type debt struct {
	since time.Time
	bits  change.Bits
}

func (d debt) merge(e debt) debt {
	if e.since.Before(d.since) {
		d.since = e.since
	}
	d.bits |= e.bits
	return d
}

// New makes an empty journal whose log and owed tables hold limit paths at the most; 0 is DefaultLimit.
func New(limit int) *Journal {
	if limit <= 0 {
		limit = DefaultLimit
	}
	j := &Journal{
		limit:   limit,
		start:   time.Now(),
		full:    make(chan struct{}, 1),
		entries: map[change.Path]*entry{},
		targets: map[string]*Target{},
		hooks:   map[string]*Target{},
	}
	j.index = newIndex(&j.unsaved)
	return j
}

// Record takes findings into index and log, in one step: a row and its mark are there together.
func (j *Journal) Record(findings ...scan.Finding) {
	tellings := j.unsent(findings)
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	j.index.now = uint32(now.Sub(j.start)/time.Second) + 1
	j.recorded = now
	marked := false
	for _, f := range findings {
		if !f.Unsure {
			j.set(f, now)
		}
		if f.Mark && len(j.targets) > 0 {
			j.mark(f.Path, debt{f.Since, j.live(f.Bits)})
			marked = true
		}
	}
	tell(tellings)
	if len(j.unsaved.rows) > heavy {
		poke(j.full)
	}
	if marked {
		j.marked()
	}
}

// marked bounds what there is after marks were made, and tells the targets of them.
func (j *Journal) marked() {
	if len(j.unsaved.rows) > heavy {
		poke(j.full)
	}
	if len(j.entries) > j.limit {
		j.collapse()
	}
	for _, t := range j.targets {
		t.bound()
		t.wake()
	}
}

// set puts one row in the index.
func (j *Journal) set(f scan.Finding, now time.Time) {
	young := f.Young && j.store != nil
	j.index.set(f.Path, f.Stat, !f.Mark, young)
	if young {
		j.young = append(j.young, youngRow{f.Path, now})
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (j *Journal) mark(p change.Path, d debt) {
	j.seq++
	j.remind(p, d.bits)
	e := j.entries[p]
	switch {
	case e == nil:
		e = &entry{path: p, place: j.seq, debt: d, stored: j.unsaved.log.has(p)}
		j.entries[p] = e
		j.push(e)
	case j.taken(e):
		for _, t := range j.targets {
			t.keep(t.owed[p])
			if t.cursor < e.place {
				t.enter(e.mark())
			}
		}
		j.unlink(e)
		e.place, e.debt = j.seq, d
		j.push(e)
	default:
		e.debt = e.merge(d)
	}
	e.seq = j.seq
	j.unsaved.log.add(p)
}

// taken reports whether any target has taken e where it stands.
func (j *Journal) taken(e *entry) bool {
	for _, t := range j.targets {
		if t.cursor >= e.place {
			return true
		}
	}
	return false
}

func (j *Journal) push(e *entry) {
	e.prev, e.next = j.last, nil
	if j.last != nil {
		j.last.next = e
	} else {
		j.first = e
	}
	j.last = e
	for _, t := range j.targets {
		if t.next == nil && t.cursor < e.place {
			t.next = e
		}
	}
}

func (j *Journal) unlink(e *entry) {
	for _, t := range j.targets {
		if t.next == e {
			t.next = e.next
		}
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		j.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		j.last = e.prev
	}
	e.prev, e.next = nil, nil
}

// low is the cursor of the target that is furthest behind, in the file.
func (j *Journal) low() uint64 {
	low := j.seq
	for _, t := range j.targets {
		low = min(low, t.saved())
	}
	return low
}

// trim drops what every target has taken.
func (j *Journal) trim() {
	low := j.low()
	for j.first != nil && j.first.place <= low {
		e := j.first
		j.unlink(e)
		delete(j.entries, e.path)
		j.unsaved.log.went(e.path, e.stored)
	}
}

// collapse frees the log of what only the targets that are furthest behind still need. They
// are owed a comparison of everything instead, in their own tables. Each round moves at least one target
// to the end, and when all are there the log is empty.
func (j *Journal) collapse() {
	j.keepAll(0) // and without any target nobody else trims it
	for len(j.entries) > j.limit/2 {
		low := j.low()
		for _, t := range j.targets {
			if t.cursor == low {
				t.collapse()
			}
		}
		j.trim()
	}
}

// Seq is the sequence number of the newest mark.
func (j *Journal) Seq() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq
}

// Open returns the target of that name. A new one starts at the end of the log: it is owed
// nothing but what it is told.
func (j *Journal) Open(name string) *Target {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.targets[name]
	if t == nil {
		t = newTarget(j)
		j.targets[name] = t
		j.unsaved.meta = true
	}
	return t
}

// Targets are the names of all targets that the journal knows, in their order.
func (j *Journal) Targets() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.targets))
}

// Drop forgets a target with all that it is owed.
func (j *Journal) Drop(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.targets[name] == nil {
		return
	}
	delete(j.targets, name)
	j.unsaved.dropped.add(name)
	j.trim()
}
