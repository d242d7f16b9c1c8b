package scan

import (
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// Renames are what a batch of events says of directories that were moved: one that came to To may be one that left From.
type Renames struct {
	From, To []change.Path
	Since    time.Time
	// Least is how much has to be below, in bytes: a small one is sent sooner than compared.
	Least int64
}

// Rename is a directory that was renamed.
type Rename struct {
	From, To change.Path
	Since    time.Time
	// Least is that of Renames.
	Least int64
	// Exact: there may be names below From on targets that are not to be removed. What was there is marked one by one.
	Exact bool
}

// Rename has the index follow directories that were moved. Which one came from where the inodes tell, those of the index and those of
// a look: events need not come in pairs, and are no proof. It is called before anything else of the batch is looked at, as a look at
// From has the index forget it; what it did is looked at with the rest of the batch, and walked.
//
// Where a filter has rules that is done only when they keep all of it in its new place, too.
func (o *Observer) Rename(r Renames) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := map[change.Inode]change.Path{}
	for _, p := range r.From {
		if old := o.index.Stat(p); old.IsDir() {
			known[old.Inode()] = p
		}
	}
	for _, q := range r.To {
		seen, err := o.root.Look(q)
		if err != nil || seen.At != q || !seen.Stat.IsDir() {
			continue
		}
		if p, ok := known[seen.Stat.Inode()]; ok && o.left(p, seen.Stat) && o.keptBoth(p, q) && o.reach(q.Parent(), r.Since) {
			o.index.Rename(Rename{From: p, To: q, Since: r.Since, Least: r.Least, Exact: o.filter.Any()})
		}
	}
}

// left reports whether the directory st is not at p any more.
func (o *Observer) left(p change.Path, st change.Stat) bool {
	seen, err := o.root.Look(p)
	return err == nil && (seen.At != p || !seen.Stat.SameFile(st))
}

// keptBoth reports whether the filter keeps a directory, and all that the index knows in it, in both places. Below it, rules that are always
// there ask for names alone.
func (o *Observer) keptBoth(p, q change.Path) bool {
	if !o.filter.Verdict(p, filter.Dir).Keep || !o.filter.Verdict(q, filter.Dir).Keep {
		return false
	}
	if !o.filter.Any() {
		return true
	}
	for _, below := range o.index.Below(p) {
		kind := filter.File
		if o.index.Stat(below).IsDir() {
			kind = filter.Dir
		}
		if !o.filter.Verdict(below, kind).Keep || !o.filter.Verdict(q+below[len(p):], kind).Keep {
			return false
		}
	}
	return true
}

// reach records the directory p and those above it, where the index does not know them yet. It reports whether it knows p.
func (o *Observer) reach(p change.Path, since time.Time) bool {
	if p == change.Root || o.index.Stat(p).IsDir() {
		return true
	}
	seen, err := o.root.Look(p)
	if err != nil || seen.At != p || !seen.Stat.IsDir() || !o.reach(p.Parent(), since) {
		return false
	}
	l := newLook()
	o.found(&l, seen, Happened{Since: since}, true)
	o.record(l)
	return o.index.Stat(p).IsDir()
}

// RenamedFile is a regular file that was renamed, and what was seen of it under its new name.
type RenamedFile struct {
	From, To change.Path
	Stat     change.Stat
}

// RenameFiles has targets move regular files of which a batch of events says that they were renamed, and nothing else: that a file is what
// targets have under its old name can be told by its size and mtime only where nobody wrote to it since. It changes nothing else, the
// rest of the batch tells of both names. Below least bytes a file is sent sooner than moved.
func (o *Observer) RenameFiles(from, to []change.Path, least int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := map[change.Inode]RenamedFile{}
	for _, p := range from {
		old := o.index.Stat(p)
		if old.IsRegular() && old.Size >= least && old.Links == 1 {
			known[old.Inode()] = RenamedFile{From: p, Stat: old}
		}
	}
	if len(known) == 0 {
		return
	}
	var files []RenamedFile
	for _, q := range to {
		seen, err := o.root.Look(q)
		if err != nil || seen.At != q {
			continue
		}
		f, ok := known[seen.Stat.Inode()]
		if !ok || f.From == q || seen.Stat.Links != 1 || !f.Stat.Renamed(seen.Stat) || !o.filter.Verdict(q, filter.File).Keep || !o.left(f.From, seen.Stat) {
			continue
		}
		files = append(files, RenamedFile{From: f.From, To: q, Stat: seen.Stat})
	}
	if len(files) > 0 {
		o.index.RenameFiles(files)
	}
}
