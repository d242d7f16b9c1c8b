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

// Rename has the index follow directories that were moved. Which one came from where the inodes tell, those of the index and those of
// a look: events need not come in pairs, and are no proof. It is called before anything else of the batch is looked at, as a look at
// what was below From has the index forget it; what it did is looked at with the rest of the batch, and walked.
//
// Where a filter has rules nothing is followed: what a target has below must be named one by one.
func (o *Observer) Rename(r Renames) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.filter.Any() {
		return
	}
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
		if p, ok := known[seen.Stat.Inode()]; ok && o.left(p, seen.Stat) && o.bothKept(p, q) && o.reach(q.Parent(), r.Since) {
			o.index.Rename(p, q, r.Since, r.Least)
		}
	}
}

// left reports whether the directory st is not at p any more.
func (o *Observer) left(p change.Path, st change.Stat) bool {
	seen, err := o.root.Look(p)
	return err == nil && (seen.At != p || !seen.Stat.SameFile(st))
}

// bothKept asks the rules that are always there.
func (o *Observer) bothKept(p, q change.Path) bool {
	return o.filter.Verdict(p, filter.Dir).Keep && o.filter.Verdict(q, filter.Dir).Keep
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
