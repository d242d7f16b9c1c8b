package journal

import (
	"maps"
	"slices"
	"strings"

	"sersync/internal/change"
)

// index is what was last seen at the source, a tree of rows. It lives under the lock of its journal.
type index struct {
	root *row
	size int
	// links are the names of the regular files that have several.
	links map[change.Inode]map[change.Path]struct{}
	// single are the names of those that had one when they were looked at. A new link tells
	// nothing to the directory of the old name (inotify names the new one only), whose row
	// then still counts one. It is made when a file first has more names than links knows: a
	// tree without hard links needs no memory for it.
	single map[change.Inode]change.Path
	// now is the second of the journal's life in which rows are recorded, from 1 on. gone counts the rows that went and
	// had been there for settledAfter.
	now  uint32
	gone uint64
	// unsaved is told of what changes.
	unsaved *unsaved
}

// settledAfter is how many seconds a row stays young. What was there at the start never was.
const settledAfter = 60

type row struct {
	stat  change.Stat
	names map[string]*row // of a directory
	// born is the second in which it was recorded, 0 when it was there at the start.
	born uint32
	// stored: the file may have it. young and doubted: it may not say what is there, see youngRow and Doubt.
	stored, young, doubted bool
}

func newIndex(u *unsaved) index {
	return index{root: &row{}, links: map[change.Inode]map[change.Path]struct{}{}, unsaved: u}
}

func (x *index) find(p change.Path) *row {
	r := x.root
	for p != change.Root && r != nil {
		name, rest, _ := strings.Cut(string(p), "/")
		r, p = r.names[name], change.Path(rest)
	}
	return r
}

// set puts a row in place; the zero Stat removes it and all below. Of a new one first says that it was there at the start.
func (x *index) set(p change.Path, st change.Stat, first, young bool) {
	r := x.find(p)
	if r == nil {
		if r = x.add(p, st); r == nil {
			return
		}
		r.stored = x.unsaved.rows.has(p)
		if !first {
			r.born = x.now
		}
	}
	x.unlink(p, r.stat)
	if !st.IsDir() && x.forget(p, r) && x.unsaved.rows != nil {
		x.unsaved.cleared = append(x.unsaved.cleared, p)
	}
	r.stat, r.young, r.doubted = st, young, false
	if !st.Exists() && p != change.Root {
		delete(x.find(p.Parent()).names, p.Name())
		x.lose(r)
		x.unsaved.rows.went(p, r.stored)
		return
	}
	x.unsaved.rows.add(p)
	x.link(p, st)
}

// add makes the row of a path that has none. A row below what is no directory comes from a look
// that a later one overtook: there is nothing to know.
func (x *index) add(p change.Path, st change.Stat) *row {
	parent := x.find(p.Parent())
	if !st.Exists() || parent == nil || !parent.stat.IsDir() && parent != x.root {
		return nil
	}
	if parent.names == nil {
		parent.names = map[string]*row{}
	}
	r := &row{}
	// The key must not keep the memory of the whole path.
	parent.names[strings.Clone(p.Name())] = r
	x.size++
	return r
}

// forget drops all rows below r, which stands at p. It reports whether the file may have any of them.
func (x *index) forget(p change.Path, r *row) (stored bool) {
	for name, child := range r.names {
		at := p.Join(name)
		x.unlink(at, child.stat)
		below := x.forget(at, child)
		stored = stored || child.stored || below
		x.lose(child)
		x.unsaved.rows.went(at, false) // the whole of it is cleared
	}
	r.names = nil
	return stored
}

// each calls do for all rows, parents before their children.
func (x *index) each(do func(change.Path, *row)) {
	do(change.Root, x.root)
	var below func(change.Path, *row)
	below = func(p change.Path, r *row) {
		for name, child := range r.names {
			at := p.Join(name)
			do(at, child)
			below(at, child)
		}
	}
	below(change.Root, x.root)
}

// lose counts a row that went.
func (x *index) lose(r *row) {
	x.size--
	if r.born == 0 || x.now-r.born >= settledAfter {
		x.gone++
	}
}

func (x *index) link(p change.Path, st change.Stat) {
	at := st.Inode()
	if !st.IsFile() {
		return
	}
	if st.Links < 2 {
		if x.single != nil {
			x.single[at] = p
		}
		return
	}
	if x.links[at] == nil {
		x.links[at] = map[change.Path]struct{}{}
	}
	x.links[at][p] = struct{}{}
}

func (x *index) unlink(p change.Path, st change.Stat) {
	at := st.Inode()
	if x.single[at] == p {
		delete(x.single, at)
	}
	names, ok := x.links[at]
	if !ok {
		return
	}
	delete(names, p)
	if len(names) == 0 {
		delete(x.links, at)
	}
}

// names are the names but p of a file with several.
func (x *index) names(p change.Path, st change.Stat) []change.Path {
	at := st.Inode()
	var names []change.Path
	for name := range x.links[at] {
		if name != p {
			names = append(names, name)
		}
	}
	if uint32(len(names))+1 >= st.Links {
		return names
	}
	if x.single == nil {
		x.single = map[change.Inode]change.Path{}
		x.linkBelow(change.Root, x.root)
	}
	if name, ok := x.single[at]; ok && name != p {
		names = append(names, name)
	}
	return names
}

// linkBelow links all files below r, which stands at p.
func (x *index) linkBelow(p change.Path, r *row) {
	for name, child := range r.names {
		at := p.Join(name)
		x.link(at, child.stat)
		x.linkBelow(at, child)
	}
}

// Stat is what was last seen at p; the zero Stat when nothing is known there.
func (j *Journal) Stat(p change.Path) change.Stat {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.index.find(p); r != nil {
		return r.stat
	}
	return change.Stat{}
}

// Names are the entries of the directory p that the index knows, in no order.
func (j *Journal) Names(p change.Path) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.index.find(p); r != nil && len(r.names) > 0 {
		return slices.Collect(maps.Keys(r.names))
	}
	return nil
}

// Below are all paths below p that the index knows, children before their parents.
func (j *Journal) Below(p change.Path) []change.Path {
	j.mu.Lock()
	defer j.mu.Unlock()
	var below []change.Path
	var add func(change.Path, *row)
	add = func(at change.Path, r *row) {
		for name, child := range r.names {
			add(at.Join(name), child)
			below = append(below, at.Join(name))
		}
	}
	if r := j.index.find(p); r != nil {
		add(p, r)
	}
	return below
}

// Named are the names that the index knows of the files that are asked for. It looks at all that the index knows, and holds the lock for
// one directory at a time: of what is moved meanwhile, a name may be missing.
func (j *Journal) Named(asked func(change.Inode) bool) map[change.Path]change.Inode {
	named := map[change.Path]change.Inode{}
	for dirs := []change.Path{change.Root}; len(dirs) > 0; {
		dir := dirs[len(dirs)-1]
		dirs = append(dirs[:len(dirs)-1], j.namedIn(dir, asked, named)...)
	}
	return named
}

// namedIn adds the names in the directory dir, and returns the directories there.
func (j *Journal) namedIn(dir change.Path, asked func(change.Inode) bool, named map[change.Path]change.Inode) (dirs []change.Path) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.index.find(dir)
	if r == nil {
		return nil
	}
	for name, child := range r.names {
		if child.names != nil {
			dirs = append(dirs, dir.Join(name))
		}
		if file := child.stat.Inode(); asked(file) {
			named[dir.Join(name)] = file
		}
	}
	return dirs
}

// Links are the other names that the index knows of the file at p, which looks like st.
func (j *Journal) Links(p change.Path, st change.Stat) []change.Path {
	if !st.IsFile() {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.index.names(p, st)
}

// Census is how many paths the index knows, and how many went so far that had been there for a minute or since the
// start.
func (j *Journal) Census() (paths int, gone uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.index.size, j.index.gone
}

// Indexed is how many paths the index knows, the root not counted.
func (j *Journal) Indexed() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.index.size
}
