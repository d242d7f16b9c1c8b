package scan

import (
	"maps"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// Finding is what one look found: the new row of the index and whether targets must know.
type Finding struct {
	Path change.Path
	// Stat is the row; the zero Stat removes it with all that is below.
	Stat change.Stat
	// Unsure leaves the index as it is: it is not known what is there.
	Unsure bool
	// Young: it changed within the clock's tick in which it was looked at. Another change within that tick would not
	// show in the row.
	Young bool
	// Mark tells the targets, with Since and Bits.
	Mark  bool
	Since time.Time
	Bits  change.Bits
}

// Index is what was last seen at the source; the journal keeps it.
type Index interface {
	// Stat is the row of p, the zero Stat when there is none.
	Stat(p change.Path) change.Stat
	// Names are the entries of the directory p that have a row.
	Names(p change.Path) []string
	// Below are all paths below p that have a row, children before their parents.
	Below(p change.Path) []change.Path
	// Links are the other names of a file with several links.
	Links(p change.Path, st change.Stat) []change.Path
	// Record takes findings in: rows and marks in one step. The slice stays the caller's.
	Record(findings ...Finding)
	// Rename moves the row of a directory with all that are below, and the marks there, to where the directory is now, and marks
	// both places, in one step. It does nothing, and reports false, where it cannot, or what is below is too little.
	Rename(r Rename) bool
	// RenameFiles hints to targets that regular files were renamed, all at once: where they have a file under its old name, and nothing
	// is owed of that, they can move it. Rows and marks are left as they are.
	RenameFiles(files []RenamedFile)
	// Went reports whether a directory went, at p or above, that a target may still have.
	Went(p change.Path) bool
	// Comparing reports whether the entries of a directory, and not what is below them, are to be compared with a target.
	Comparing(dir change.Path) bool
}

// Observer looks at paths, compares them with the index and records what it found. A look and
// its row are one step: looks of events and of walks are serialised, so that the index never goes back
// to what an older look saw.
type Observer struct {
	root  *Root
	index Index
	mu    sync.Mutex
	// reads counts the directories that walks opened.
	reads uint64
	// room is for the findings of the next ObserveWith.
	room []Finding
	// filter is nil when everything is kept.
	filter *filter.Filter
	// replaced are the directories that were not walked yet since they came to where targets may still have another one, with when
	// they were found.
	replaced map[change.Path]time.Time
	// torn: targets may have more than the index tells of. whole: it tells of all that was there when it was kept.
	torn, whole bool
	// walk is told of directories to be walked: new ones and replaced ones.
	walk func(p change.Path)
	// remounted is told of directories that are on another file system than they were.
	remounted func(p change.Path, dev uint64)
}

// NewObserver makes an observer of one root. walk is called, and must not block, for each
// directory that came or was replaced: what is below it has to be looked at. remounted is called, with the file system on which it was, before anything
// is concluded of a directory that had entries and is on another file system now: something was mounted or unmounted.
func NewObserver(root *Root, index Index, f *filter.Filter, walk func(change.Path), remounted func(change.Path, uint64)) *Observer {
	return &Observer{root: root, index: index, filter: f, walk: walk, remounted: remounted, replaced: map[change.Path]time.Time{}}
}

// Keeps asks the filter for a path at which something happened.
func (o *Observer) Keeps(p change.Path, dir bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	kind := filter.File
	if dir {
		kind = filter.Dir
	}
	return p == change.Root || o.filter.Verdict(p, kind).Keep
}

// SetFilter replaces the filter.
func (o *Observer) SetFilter(f *filter.Filter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.filter = f
}

// SetTorn says whether targets may have more than the index tells of: what was sent last before a kill. What came and went since shows in its
// directory alone, so that of each directory that is not what it was the entries are compared, whether a walk finds it or, where the index is whole,
// an event.
func (o *Observer) SetTorn(torn, whole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.torn, o.whole = torn, whole
}

// unknown are the bits of what is not what it was when the index was kept: the targets may have something that came after that and is not there any
// more.
func (o *Observer) unknown(old, now change.Stat, event bool) change.Bits {
	switch {
	case !o.torn || event && !o.whole || old.SameFile(now) && old.Ctime == now.Ctime:
		return 0
	case now.IsDir() && !old.SameFile(now) && o.whole:
		return change.Extras
	case now.IsDir():
		return change.Entries
	case now.IsRegular() && !now.Natural():
		return change.Content
	}
	return 0
}

// Happened says that something happened at a path.
type Happened struct {
	Path change.Path
	// Dir: it was a directory when it happened; it matters when it is gone by now.
	Dir bool
	// Went: all that happened is that the name went.
	Went bool
	// Moved: a directory was moved here. The one that the index knows here may have been away meanwhile.
	Moved bool
	// Wrote: its content was changed, be it through a name that is gone by now.
	Wrote bool
	// Counted: perhaps nothing happened but that the file got another name or lost one.
	Counted bool
	// under is where the walk began that found it; nil when no walk did.
	under *change.Path
	Since time.Time
	Bits  change.Bits
}

// Observe looks at paths at which something happened, and marks them: an event is a mark, even
// when nothing seems to have changed. Where a directory above a path is what went, the index keeps it until it is told of that as well: it may
// be a rename, and then of what was below the walk of its new place tells.
func (o *Observer) Observe(happened []Happened) {
	looks := o.root.Looks()
	defer looks.Close()
	o.ObserveWith(looks, happened)
}

// keptOpen bounds for how long ObserveWith uses a directory that it has opened: it also keeps a file system from being unmounted.
const keptOpen = 50 * time.Millisecond

// ObserveWith is Observe with looks of the caller's, for the next ones. He closes them before he observes anything of which he was told together
// with a directory that came, went or moved, or later.
func (o *Observer) ObserveWith(looks *Looks, happened []Happened) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if looks.reads != o.reads || time.Since(looks.since) > keptOpen {
		// What a walk found is never taken back to what an older directory of that name holds.
		looks.Close()
		looks.reads = o.reads
	}
	l := newLook()
	l.findings = o.room[:0]
	parents := map[change.Path]struct{}{}
	for _, h := range happened {
		seen, err := looks.Look(h.Path)
		if err != nil {
			l.findings = append(l.findings, Finding{Path: h.Path, Unsure: true, Mark: true, Since: h.Since, Bits: h.Bits})
			// A walk comes back until it is known.
			l.walks = append(l.walks, h.Path.Parent())
			continue
		}
		if h.Moved && seen.At == h.Path && seen.Stat.IsDir() && o.index.Stat(h.Path).IsDir() {
			// What was sent from here while another directory was in its place is on the targets.
			h.Bits |= change.Extras
		}
		if h.Went && h.Dir && seen.At == h.Path && seen.Stat.IsDir() && !seen.Stat.SameFile(o.index.Stat(h.Path)) {
			// It came after the one that went, and is told of by an event of its own: it may have been renamed, too.
			seen.Stat = change.Stat{}
		}
		if seen.At != h.Path && o.index.Stat(seen.At).IsDir() {
			if !h.Went {
				l.findings = append(l.findings, Finding{Path: h.Path, Unsure: true, Mark: true, Since: h.Since, Bits: h.Bits})
			}
			o.links(&l, h.Path, o.index.Stat(h.Path), change.Stat{}, h, 0)
			continue
		}
		// When an ancestor is what is absent, it is what there is to tell of.
		h.Dir = h.Dir || seen.At != h.Path
		o.found(&l, seen, h, true)
		parents[seen.At.Parent()] = struct{}{}
	}
	o.refresh(&l, looks, parents)
	o.record(l)
	if clear(l.findings); cap(l.findings) <= roomMax {
		o.room = l.findings[:0]
	}
}

// roomMax bounds what is kept of a slice for the next findings.
const roomMax = 1024

// Recheck looks at p once more and records what it finds. A sender asks before it does what destroys a directory
// on its target: the index must not know entries any more that the target is about to lose, or nobody would
// send them when the directory comes back as it was.
func (o *Observer) Recheck(p change.Path) (Seen, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := newLook()
	seen, err := o.root.Look(p)
	if err != nil {
		return seen, err
	}
	o.found(&l, seen, Happened{Dir: true, Since: time.Now()}, false)
	o.record(l)
	return seen, nil
}

// refresh renews the rows of directories in which something happened: their times changed with
// it. No mark is needed for that, a directory goes with what was sent into it.
func (o *Observer) refresh(l *look, looks *Looks, dirs map[change.Path]struct{}) {
	since := time.Now()
	for p := range dirs {
		old := o.index.Stat(p)
		if now, err := looks.directory(p); err == nil && now.SameFile(old) {
			old.Mtime, old.Size, old.Links = now.Mtime, now.Size, now.Links
			if now.Mode == old.Mode && now.UID == old.UID && now.GID == old.GID {
				old.Ctime = now.Ctime
			}
			bits := o.unknown(o.index.Stat(p), now, true)
			l.findings = append(l.findings, Finding{Path: p, Stat: old, Young: l.young(now), Mark: bits != 0, Since: since, Bits: bits})
		}
	}
}

// look gathers what is recorded in one step.
type look struct {
	findings []Finding
	walks    []change.Path
	// gone are the directories of which it was said that they are no more: what is below them tells of them as well.
	gone map[change.Path]struct{}
	// tick is not later than the kernel's time when it began.
	tick int64
}

// clockTick bounds the tick of the kernel's clock (CONFIG_HZ is 100 or more): by so much is what it stamps on a file
// behind ours at the most.
const clockTick = 10 * time.Millisecond

func newLook() look {
	return look{gone: map[change.Path]struct{}{}, tick: time.Now().Add(-clockTick).UnixNano()}
}

// young reports whether another change could leave st as it is.
func (l *look) young(st change.Stat) bool { return st.Ctime >= l.tick }

func (o *Observer) record(l look) {
	if len(l.findings) > 0 {
		o.index.Record(l.findings...)
	}
	for _, p := range l.walks {
		o.walk(p)
	}
}

// found compares one look with the index, and with what happened. always marks even what did not change.
func (o *Observer) found(l *look, seen Seen, h Happened, always bool) {
	p, now := seen.At, seen.Stat
	old := o.index.Stat(p)
	if !o.keeps(p, now, old, h.Dir) {
		return
	}
	changed, why := compare(old, now)
	if !old.Exists() && now.IsRegular() && !now.Natural() && o.inReplaced(p) {
		why |= change.Content
	}
	if !changed && h.Wrote && now.IsRegular() && !now.Natural() {
		// It was written before the look that the row is of, or in one tick of the clock with it. Targets may have got this size and mtime
		// with the name that the file had before.
		why |= change.Content
	}
	unknown := o.unknown(old, now, always)
	bits := h.Bits | why | unknown
	if o.filter.OneFileSystem() && old.IsDir() && now.IsDir() && old.Dev != now.Dev {
		// A mount point came or went. What was below it stays on the targets, and is looked at anew when it can be seen again.
		l.findings = append(l.findings, Finding{Path: p}, Finding{Path: p, Stat: now, Mark: true, Since: h.Since, Bits: bits})
		l.walks = append(l.walks, p)
		return
	}
	if !changed && !always && unknown == 0 {
		return
	}
	if h.Counted && recounted(old, now) {
		l.findings = append(l.findings, Finding{Path: p, Stat: now, Young: l.young(now)})
		return
	}
	if !now.Exists() && (old.Exists() || h.Dir) {
		bits |= change.Was(old.IsDir() || !old.Exists())
	}
	if h.Dir && !now.Exists() || old.IsDir() && !now.SameFile(old) {
		// Whatever the index knows below it: a batch that is on its way may still bring more of it to a target.
		bits |= change.Extras
	}
	if now.IsDir() && !old.Exists() && p != change.Root && o.index.Comparing(p.Parent()) {
		// The comparison takes it for the one that a target may still have.
		bits |= change.Extras
	}
	if old.IsDir() && !now.SameFile(old) {
		o.goneBelow(l, p, old, now, h.Since)
		l.findings = append(l.findings, Finding{Path: p})
	}
	l.findings = append(l.findings, Finding{Path: p, Stat: now, Young: l.young(now), Mark: true, Since: h.Since, Bits: bits})
	o.links(l, p, old, now, h, why&change.Content)
	if now.IsDir() && !now.SameFile(old) {
		l.walks = append(l.walks, p)
		if old.IsDir() || o.index.Went(p) {
			o.replaced[p] = time.Now()
		}
	}
}

// goneBelow tells what went with a directory, once in a look: the index has it until the look is recorded.
func (o *Observer) goneBelow(l *look, p change.Path, old, now change.Stat, since time.Time) {
	if _, told := l.gone[p]; told {
		return
	}
	l.gone[p] = struct{}{}
	if now.IsDir() && now.Dev != old.Dev && len(o.index.Names(p)) > 0 {
		o.remounted(p, old.Dev)
	}
	if !o.filter.Any() {
		return
	}
	// Names that a filter protects may be below on the targets: what goes is named one by one.
	for _, q := range o.index.Below(p) {
		l.findings = append(l.findings, Finding{Path: q, Mark: true, Since: since, Bits: change.Was(o.index.Stat(q).IsDir())})
	}
}

// inReplaced reports whether p is below a directory that was replaced: a target may have another file there, of the same size and mtime.
func (o *Observer) inReplaced(p change.Path) bool {
	for len(o.replaced) > 0 && p != change.Root {
		p = p.Parent()
		if _, ok := o.replaced[p]; ok {
			return true
		}
	}
	return false
}

// Walked says that all at and below p was walked, by a walk that began at the time.
func (o *Observer) Walked(p change.Path, begun time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.replaced, func(q change.Path, found time.Time) bool {
		return (q == p || q.Below(p)) && found.Before(begun)
	})
}

// keeps asks the filter. What is gone was of the kind that the index knows, or that the event said.
func (o *Observer) keeps(p change.Path, now, old change.Stat, dir bool) bool {
	if o.filter == nil || p == change.Root {
		return true
	}
	kind := filter.Unknown
	for _, st := range []change.Stat{now, old} {
		if st.Exists() {
			kind = filter.File
			if st.IsDir() {
				kind = filter.Dir
			}
			break
		}
	}
	if kind == filter.Unknown && dir {
		kind = filter.Dir
	}
	return o.filter.Verdict(p, kind).Keep
}

// compare says whether anything changed that a target should have, and with which bits.
func compare(old, now change.Stat) (changed bool, bits change.Bits) {
	if !old.Exists() || !now.Exists() {
		return old.Exists() != now.Exists(), 0
	}
	a, b := old, now
	a.Links, b.Links = 0, 0
	if now.IsDir() && old.IsDir() {
		a.Size, b.Size = 0, 0
	}
	if a == b {
		return false, 0
	}
	if now.IsRegular() && old.IsRegular() && (now.Mtime <= old.Mtime || !now.Natural()) {
		// The mtime was set, or there is another file: a target may have this size and mtime with other content. A sender
		// may have seen what was there in between.
		bits = change.Content
	}
	return true, bits
}
