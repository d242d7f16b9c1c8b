package inotify

import (
	"strings"
	"time"

	"sersync/internal/change"
)

// strayTime is how long the watch of a directory that lost its place is kept. A rename
// within the tree is walked well before; later than that, it costs one more watch.
const strayTime = 10 * time.Second

// node is a directory: its place in the tree and, when wd is not 0, its watch. Its size counts:
// there is one for each directory of the tree.
type node struct {
	parent *node // nil for the root and for what lost its place
	name   string
	wd     int32
	// epoch is that of the places when the directory was last found here.
	epoch uint32
}

type edge struct {
	parent *node
	name   string
}

type gap struct {
	since time.Time
	err   error
}

// places tells which directory a watch is of. What lies below a node is found by the
// parents of the nodes, so that a whole tree is moved or let go in one step.
type places struct {
	root  *node
	nodes map[edge]*node
	byWD  map[int32]*node
	gaps  map[*node]gap
	// strays are the tops of what lost its place, and until when they are kept.
	strays map[*node]time.Time
	// orphans says that a directory left the table which may have had others below it.
	orphans bool
	swept   time.Time
	// epoch counts the losses of events.
	epoch uint32

	// last is the node of the last prefix that was asked for: events come in runs.
	last   *node
	prefix []byte
	placed bool
}

func newPlaces() places {
	return places{
		root:  &node{},
		nodes: make(map[edge]*node), byWD: make(map[int32]*node),
		gaps: make(map[*node]gap), strays: make(map[*node]time.Time),
	}
}

// find is the node at p, or nil.
func (t *places) find(p change.Path) *node {
	if p == change.Root {
		return t.root
	}
	parent := t.find(p.Parent())
	if parent == nil {
		return nil
	}
	return t.nodes[edge{parent, p.Name()}]
}

// grow is the node at p; it is made when there is none, as are its parents.
func (t *places) grow(p change.Path) *node {
	if n := t.find(p); n != nil {
		return n
	}
	n := &node{epoch: t.epoch}
	t.attach(n, t.grow(p.Parent()), p.Name())
	return n
}

func (t *places) attach(n, parent *node, name string) {
	// Cloned: a name that is a part of a path would keep all of it.
	n.parent, n.name = parent, strings.Clone(name)
	t.nodes[edge{parent, n.name}] = n
	t.last = nil
}

// detach takes n, and all below it, out of its place. Its watches are kept for a while.
func (t *places) detach(n *node, now time.Time) {
	if n.parent != nil {
		delete(t.nodes, edge{n.parent, n.name})
		n.parent = nil
	}
	t.strays[n] = now.Add(strayTime)
	t.last = nil
}

// place puts the directory with the watch wd at p, where it was just found. What the table
// had there before loses its place; what it had below the directory comes along.
func (t *places) place(wd int32, p change.Path, now time.Time) {
	n, at := t.byWD[wd], t.find(p)
	switch {
	case n != nil && n == at:
	case at == t.root, n == nil && at != nil && at.wd == 0:
		if n != nil {
			n.wd = 0
			t.detach(n, now)
		}
		n = at
	default:
		if at != nil {
			t.detach(at, now)
		}
		// First out of the old place: the way to p must not lead through it.
		if n != nil {
			t.detach(n, now)
			delete(t.strays, n)
		} else {
			n = &node{}
		}
		t.attach(n, t.grow(p.Parent()), p.Name())
	}
	n.wd, n.epoch = wd, t.epoch
	t.byWD[wd] = n
	delete(t.gaps, n)
}

// ignored takes out the directory whose watch the kernel has ended.
func (t *places) ignored(wd int32) {
	n := t.byWD[wd]
	if n == nil {
		return
	}
	delete(t.byWD, wd)
	n.wd = 0
	if n == t.root {
		return
	}
	if n.parent != nil {
		delete(t.nodes, edge{n.parent, n.name})
		n.parent = nil
	}
	delete(t.gaps, n)
	delete(t.strays, n)
	t.orphans = true
	t.last = nil
}

// stray keeps the watch of a directory whose place is not known.
func (t *places) stray(wd int32, now time.Time) {
	if t.byWD[wd] == nil {
		n := &node{wd: wd}
		t.byWD[wd] = n
		t.strays[n] = now.Add(strayTime)
	}
}

// path is where n is; false when it has no place.
func (t *places) path(n *node) (change.Path, bool) {
	prefix, ok := t.dir(n)
	return change.Path(prefix), ok
}

// dir is path without an allocation: the bytes are good until the next call.
func (t *places) dir(n *node) ([]byte, bool) {
	if t.last != n {
		t.prefix, t.placed = t.appendPath(t.prefix[:0], n)
		t.last = n
	}
	return t.prefix, t.placed
}

func (t *places) appendPath(b []byte, n *node) ([]byte, bool) {
	if n.parent == nil {
		return b, n == t.root
	}
	b, ok := t.appendPath(b, n.parent)
	if len(b) > 0 {
		b = append(b, '/')
	}
	return append(b, n.name...), ok
}

// doubt lets go of the directories that were not found again since events were lost, and says
// where they were.
func (t *places) doubt(now time.Time) []change.Path {
	var tops []*node
	for _, n := range t.nodes {
		if n.epoch != t.epoch && (n.parent == t.root || n.parent.epoch == t.epoch) {
			tops = append(tops, n)
		}
	}
	var lost []change.Path
	for _, n := range tops {
		if p, ok := t.path(n); ok {
			lost = append(lost, p)
			t.detach(n, now)
		}
	}
	return lost
}

// sweep takes out what lost its place long enough ago. Its watches, which are to be removed, are returned.
func (t *places) sweep(now time.Time) []int32 {
	var wds []int32
	drop := func(n *node) {
		if n.wd != 0 {
			delete(t.byWD, n.wd)
			wds = append(wds, n.wd)
		}
		delete(t.gaps, n)
	}
	for n, until := range t.strays {
		if now.After(until) {
			delete(t.strays, n)
			drop(n)
			t.orphans = true
		}
	}
	// All of the table is gone through, so not at each removal of a directory.
	if !t.orphans || now.Sub(t.swept) < strayTime {
		return wds
	}
	for e, n := range t.nodes {
		above := top(n)
		if _, kept := t.strays[above]; !kept && above != t.root {
			delete(t.nodes, e)
			drop(n)
		}
	}
	t.orphans, t.swept, t.last = false, now, nil
	return wds
}

func top(n *node) *node {
	for n.parent != nil {
		n = n.parent
	}
	return n
}
