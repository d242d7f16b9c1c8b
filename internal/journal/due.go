package journal

import (
	"container/heap"
	"slices"
	"time"

	"sersync/internal/change"
)

// timer is a time at which a row, or a path to be marked again, is due. A timer may be stale.
type timer struct {
	due   time.Time
	o     *owed
	again change.Path
}

// again is when a path is marked anew, and how.
type again struct {
	due  time.Time
	bits change.Bits
}

type timers []timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(a, b int) bool { return h[a].due.Before(h[b].due) }
func (h timers) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *timers) Push(x any)        { *h = append(*h, x.(timer)) }
func (h *timers) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	return x
}

// stale reports whether what the timer is for happened otherwise.
func (t *Target) stale(x timer) bool {
	if x.o == nil {
		return !t.again[x.again].due.Equal(x.due)
	}
	waits := x.o.State == Retry || x.o.State == Delayed || x.o.State == Dead
	return !waits || !x.o.Due.Equal(x.due) || t.owed[x.o.Path] != x.o
}

// await adds a timer. A path that fails again and again leaves stale ones behind: they go when
// they are more than half.
func (t *Target) await(x timer) {
	heap.Push(&t.timers, x)
	if len(t.timers) > 2*(len(t.owed)+len(t.again))+16 {
		t.settle()
	}
}

// settle drops the timers that are stale.
func (t *Target) settle() {
	t.timers = slices.DeleteFunc(t.timers, t.stale)
	heap.Init(&t.timers)
}

// expire makes ready what is due: at the most as much as half a batch of max.
func (t *Target) expire(now time.Time, max int) {
	for n := 0; len(t.timers) > 0 && n < (max+1)/2; {
		x := t.timers[0]
		if !t.stale(x) {
			if x.due.After(now) {
				return
			}
			n++
			if x.o == nil {
				bits := t.again[x.again].bits
				delete(t.again, x.again)
				t.unsaved.again.add(x.again)
				t.owe(change.Mark{Path: x.again, Since: now, Bits: bits})
			} else {
				x.o.State = Ready
				t.unsaved.owed.add(x.o.Path)
				t.enqueue(x.o)
			}
		}
		heap.Pop(&t.timers)
	}
}

// Next is when the next path that waits for a time is due.
func (t *Target) Next() (time.Time, bool) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for len(t.timers) > 0 && t.stale(t.timers[0]) {
		heap.Pop(&t.timers)
	}
	if len(t.timers) == 0 {
		return time.Time{}, false
	}
	return t.timers[0].due, true
}

// Counts says how much a target is owed.
type Counts struct {
	// Waiting are all paths that are owed and not dead.
	Waiting, Retrying, Braked, Dead int
	// Bytes is the size of the regular files among those that wait, as far as the index knows them.
	Bytes int64
	// Oldest is when the oldest change was noticed that the target does not have; zero
	// when it has all.
	Oldest time.Time
}

// Counts counts what the target is owed. It walks all of it.
func (t *Target) Counts() Counts {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	var c Counts
	c.Oldest = t.lacks().since
	wait := func(p change.Path) {
		c.Waiting++
		if r := t.j.index.find(p); r != nil && r.stat.IsRegular() {
			c.Bytes += r.stat.Size
		}
	}
	for p, o := range t.owed {
		switch o.State {
		case Dead:
			c.Dead++
			continue
		case Retry:
			c.Retrying++
		case Braked:
			c.Braked++
		}
		wait(p)
	}
	for e := t.next; e != nil; e = e.next {
		if t.owed[e.path] == nil {
			wait(e.path)
		}
	}
	return c
}

// Oldest is when the oldest change was noticed that the target does not have.
func (t *Target) Oldest() (time.Time, bool) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	at := t.lacks().since
	return at, !at.IsZero()
}

// lacks is the union of all that the target does not have.
func (t *Target) lacks() debt {
	var all debt
	add := func(since time.Time, bits change.Bits) {
		if all.since.IsZero() {
			all.since = since
		}
		all = all.merge(debt{since, bits})
	}
	for _, o := range t.owed {
		add(o.Since, o.Bits)
	}
	for e := t.next; e != nil; e = e.next {
		add(e.since, e.bits)
	}
	return all
}

// Tries is how often the path failed.
func (t *Target) Tries(p change.Path) int {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	if o := t.owed[p]; o != nil {
		return o.Tries
	}
	return 0
}
