package journal

import (
	"slices"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// Moved is a directory or a file that a target has at From, and that is at To at the source by now. It is a hint, in memory alone: To is
// owed, a directory with a comparison, whatever becomes of it.
type Moved struct {
	From, To change.Path
	// Clear: the target may still have at To what was there before.
	Clear bool
	// File is the regular file that was seen at To when it came; the zero Stat of a directory.
	File change.Stat
}

const (
	// movedMax bounds the hints that wait for one target.
	movedMax = 256
	// nameCost is what a name counts beside the content of a file, in bytes: about what one costs to send.
	nameCost = 4 << 10
)

// unproven are bits of a directory that say that nobody knows what a target has below it.
const unproven = change.Tree | change.Extras | change.Entries | change.WasDir | change.WasFile

// Rename implements scan.Index. In one step the rows below a directory, and what targets are owed there, come to be those
// of its new place, so that the walk of that finds no difference; and the new place is owed a comparison, the old one its removal.
func (j *Journal) Rename(r scan.Rename) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	from, to, since := r.From, r.To, r.Since
	if len(j.targets) == 0 || !j.index.renames(from, to, r.Least) {
		return false
	}
	j.keepAll(0)
	var doubtful []*Target
	for _, t := range j.targets {
		if occupied := t.occupied(to); !t.hint(from, to, occupied) && occupied {
			doubtful = append(doubtful, t)
		}
	}
	now := time.Now()
	j.recorded = now
	j.mark(to, debt{since, j.live(change.Tree | change.Extras)})
	exact := r.Exact
	j.index.rename(from, to, func(p, q change.Path, r *row) {
		if r.young {
			j.young = append(j.young, youngRow{q, now})
		}
		j.follow(p, q)
		if exact {
			j.mark(p, debt{since, j.live(change.Was(r.stat.IsDir()))})
		}
		for _, t := range doubtful {
			// By size and mtime, what is there could be taken for what came.
			if r.stat.IsRegular() {
				t.owe(change.Mark{Path: q, Since: since, Bits: change.Content})
			}
		}
	})
	j.mark(from, debt{since, j.live(change.Extras | change.WasDir)})
	j.marked()
	return true
}

// follow owes q what is owed of p, which nothing is at any more. What is in flight stays owed where it is as well.
func (j *Journal) follow(p, q change.Path) {
	e := j.entries[p]
	for _, t := range j.targets {
		t.follow(p, q, e)
	}
	if e != nil {
		j.unlink(e)
		delete(j.entries, p)
		j.unsaved.log.went(p, e.stored)
	}
}

// follow is that of one target; e is the entry of p in the log, if there is one.
func (t *Target) follow(p, q change.Path, e *entry) {
	if a, ok := t.again[p]; ok {
		t.remind(a.due, q, a.bits)
	}
	o := t.owed[p]
	beyond := e != nil && e.place > t.cursor
	var m change.Mark
	switch {
	case o != nil && beyond:
		m = o.Merge(e.mark())
	case o != nil:
		m = o.Mark
	case beyond:
		m = e.mark()
	default:
		return
	}
	m.Path = q
	t.owe(m)
	if o == nil {
		return
	}
	if o.State != InFlight {
		t.lift(o)
		t.drop(o)
	} else if beyond {
		// The log has it no longer.
		m.Path = p
		t.owe(m)
	}
}

// hint remembers where the target has what was renamed, and reports whether that is known: what it is not known to have cannot be
// moved. occupied: it may have something else at the new name.
func (t *Target) hint(from, to change.Path, occupied bool) bool {
	t.renames++
	// A file that is moved as well is sent: nothing depends on its hint.
	t.moved = slices.DeleteFunc(t.moved, func(m Moved) bool {
		return m.File.Exists() && (related(m.From, from) || related(m.From, to) || related(m.To, from) || related(m.To, to) || m.From == to)
	})
	// Not what has yet to come to where this one is put.
	t.moved = slices.DeleteFunc(t.moved, func(m Moved) bool { return m.To == to })
	for i, m := range t.moved {
		if m.To != from {
			continue
		}
		if t.moved[i].To, t.moved[i].Clear = to, occupied; m.From == to { // and back again
			t.moved = slices.Delete(t.moved, i, i+1)
		}
		return true
	}
	tangled := slices.ContainsFunc(t.moved, func(m Moved) bool {
		return m.From == from || related(m.From, from) || related(m.From, to) || related(m.To, from) || related(m.To, to)
	})
	if tangled || len(t.moved) >= movedMax || !t.proven(from) {
		return false
	}
	t.moved = append(t.moved, Moved{From: from, To: to, Clear: occupied})
	return true
}

// occupied reports whether the target may have something at p of which the index does not know.
func (t *Target) occupied(p change.Path) bool { return t.lacksJust(p) || !t.proven(p.Parent()) }

// related reports whether one of the paths lies below the other.
func related(p, q change.Path) bool { return p.Below(q) || q.Below(p) }

// proven reports whether the target has the directory p as the index knows it, but for what is owed below.
func (t *Target) proven(p change.Path) bool {
	for ; t.bitsOf(p)&unproven == 0; p = p.Parent() {
		if p == change.Root {
			return true
		}
	}
	return false
}

// Comparing implements scan.Index.
func (j *Journal) Comparing(dir change.Path) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.targets {
		if t.bitsOf(dir)&(change.Entries|change.Extras) == change.Entries {
			return true
		}
	}
	return false
}

// bitsOf are the bits with which p is owed.
func (t *Target) bitsOf(p change.Path) (bits change.Bits) {
	if o := t.owed[p]; o != nil {
		bits = o.Bits
	}
	if e := t.j.entries[p]; e != nil && e.place > t.cursor {
		bits |= e.bits
	}
	return bits
}

// TakeMoved gives out the hints, in no order that matters: each From is where the target has something before any of them is
// followed. They are forgotten: what is renamed from now on is not known to be where one of them leads.
func (t *Target) TakeMoved() (moved []Moved, taken uint64) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	moved, t.moved = t.moved, nil
	return moved, t.renames
}

// MovedAgain puts back hints of which none was followed, unless there was a rename since they were taken, and reports whether it did.
func (t *Target) MovedAgain(moved []Moved, taken uint64) bool {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	if t.renames == taken {
		t.moved = moved
	}
	return t.renames == taken
}

// Moved are the hints, which stay.
func (t *Target) Moved() []Moved {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	return slices.Clone(t.moved)
}

// lacksJust reports whether the target is owed the path itself.
func (t *Target) lacksJust(p change.Path) bool {
	e := t.j.entries[p]
	return t.owed[p] != nil || e != nil && e.place > t.cursor
}

// Went implements scan.Index.
func (j *Journal) Went(p change.Path) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.targets {
		for at := p; at != change.Root; at = at.Parent() {
			if t.bitsOf(at)&change.WasDir != 0 {
				return true
			}
		}
	}
	return false
}

// renames reports whether a directory can be moved in the index, and is not so small that it is sent sooner.
func (x *index) renames(from, to change.Path, least int64) bool {
	old, parent, at := x.find(from), x.find(to.Parent()), x.find(to)
	switch {
	case old == nil, !old.stat.IsDir(), related(from, to), from == to, from == change.Root:
		return false
	case parent == nil, !parent.stat.IsDir() && parent != x.root:
		return false
	case at != nil && (!at.stat.IsDir() || len(at.names) > 0):
		return false
	}
	return old.outweighs(&least)
}

// outweighs reports whether what is below r costs as much as is left of least.
func (r *row) outweighs(least *int64) bool {
	for _, child := range r.names {
		*least -= nameCost
		if child.stat.IsRegular() {
			*least -= child.stat.Size
		}
		if *least <= 0 || child.outweighs(least) {
			return true
		}
	}
	return *least <= 0
}

// rename moves the row of a directory, with all that are below, and calls each with the paths of these.
func (x *index) rename(from, to change.Path, each func(p, q change.Path, r *row)) {
	if at := x.find(to); at != nil {
		x.set(to, change.Stat{}, false, false)
	}
	r, parent := x.find(from), x.find(to.Parent())
	delete(x.find(from.Parent()).names, from.Name())
	x.unsaved.rows.went(from, r.stored)
	if x.rebase(from, to, r, each) && x.unsaved.rows != nil {
		x.unsaved.cleared = append(x.unsaved.cleared, from)
	}
	if parent.names == nil {
		parent.names = map[string]*row{}
	}
	parent.names[strings.Clone(to.Name())] = r
	r.stored = x.unsaved.rows.has(to)
	x.unsaved.rows.add(to)
}

// rebase has the rows below r, which comes from p to q, be those of their new paths. It reports whether the file may have any of them
// at the old ones.
func (x *index) rebase(p, q change.Path, r *row, each func(p, q change.Path, r *row)) (stored bool) {
	for name, child := range r.names {
		from, to := p.Join(name), q.Join(name)
		x.unlink(from, child.stat)
		x.link(to, child.stat)
		below := x.rebase(from, to, child, each)
		stored = stored || child.stored || below
		x.unsaved.rows.went(from, false) // the whole of it is cleared
		child.stored = x.unsaved.rows.has(to)
		x.unsaved.rows.add(to)
		each(from, to, child)
	}
	return stored
}
