package replicate

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/transport"
)

// item is one path of a run and the marks that are acked with it.
type item struct {
	path change.Path
	// stat is what was there when it was planned.
	stat  change.Stat
	marks []change.Mark
	// first is where marks are as long as there is one.
	first [1]change.Mark
	// compared are marks of the path that a comparison acks when it is over.
	compared []change.Mark
}

// clears reports whether what the target has below the path has to go with it. A directory is compared for that.
func (it *item) clears() bool {
	return slices.ContainsFunc(it.marks, func(m change.Mark) bool { return m.Bits&change.Extras != 0 })
}

// compares are the bits with which the path is compared with the target.
func (it *item) compares() (bits change.Bits) {
	for _, m := range slices.Concat(it.marks, it.compared) {
		bits |= m.Bits & (change.Extras | change.Entries)
	}
	return bits
}

// run is what becomes one batch of a transport.
type run struct {
	op    transport.Op
	items []*item
	at    map[change.Path]*item
	// room is for the next items.
	room []item
	// seq is the number of the newest change when it was planned.
	seq uint64
	// losses is how many were known when it began: see sender.synced.
	losses int
}

func (r *run) removes() bool {
	return r.op == transport.Remove || r.op == transport.RemoveExact
}

// Bits of what may be anything that there was before.
const anything = change.Extras | change.Content

// before says as what it has to be looked for what the target had before the run where the item is, which is nil for none.
func (r *run) before(it *item) change.Bits {
	switch {
	case r.removes() || it == nil || !it.stat.IsDir() && !it.stat.IsRegular():
		return anything
	case it.stat.IsDir():
		// What was not found in it may come back.
		return it.compares()
	case r.op == transport.UpdateContent || r.op == transport.UpdateLargeContent || !it.stat.Natural():
		return anything
	}
	return change.Extras
}

func newRun(op transport.Op) *run {
	return &run{op: op, at: map[change.Path]*item{}}
}

// itemsRoom is for how many items there is made room at a time, at the most.
const itemsRoom = 64

func (r *run) add(p change.Path, marks ...change.Mark) *item {
	it := r.at[p]
	if it == nil {
		if len(r.room) == 0 {
			r.room = make([]item, min(itemsRoom, len(r.items)+1))
		}
		it, r.room = &r.room[0], r.room[1:]
		it.path = p
		it.marks = it.first[:0]
		r.at[p] = it
		r.items = append(r.items, it)
	}
	it.marks = append(it.marks, marks...)
	return it
}

func (r *run) paths() []change.Path {
	paths := make([]change.Path, len(r.items))
	for i, it := range r.items {
		paths[i] = it.path
	}
	return paths
}

// seen is what the looks of the plan saw. Nil for removals: there was nothing.
func (r *run) seen() []transport.Seen {
	if r.removes() {
		return nil
	}
	seen := make([]transport.Seen, len(r.items))
	for i, it := range r.items {
		seen[i].Stat = it.stat
		for _, m := range it.marks {
			seen[i].Seq = max(seen[i].Seq, m.Seq)
		}
		for _, m := range it.compared {
			seen[i].Seq = max(seen[i].Seq, m.Seq)
		}
	}
	return seen
}

func (r *run) marks() []change.Mark {
	marks := make([]change.Mark, 0, len(r.items)) // most have one
	for _, it := range r.items {
		marks = append(marks, it.marks...)
	}
	return marks
}

// plan is what looking at a batch of marks comes to.
type plan struct {
	// leftovers are parts of large files that nobody will go on with. They go first: the marks for which they
	// are looked for are acked after that.
	updates, contents, leftovers, removals *run
	// unrecorded are marks at and below directories that the source does not have any more where they were, and of directories and larger files that came,
	// of which nobody was told yet. recorded: that was waited for.
	unrecorded []change.Mark
	recorded   bool
	// short: nothing could be looked at for want of something on this side, so that nothing is sent.
	short *transport.Error
}

// runs are the batches in their order: what goes comes last, so that a renamed file is there under its new
// name before the old one is gone.
func (p *plan) runs() []*run {
	for _, r := range []*run{p.leftovers, p.removals} {
		if r.op == transport.RemoveExact {
			// Children before their parents.
			slices.SortFunc(r.items, func(a, b *item) int { return cmp.Compare(b.path, a.path) })
		}
	}
	var runs []*run
	for _, r := range []*run{p.leftovers, p.updates, p.contents, p.removals} {
		if len(r.items) > 0 {
			runs = append(runs, r)
		}
	}
	return runs
}

// plan looks at each mark. A mark never says what to do: what is there is sent, what is not is removed.
func (s *sender) plan(ctx context.Context, sess *session, marks []change.Mark) *plan {
	opts := s.src.options()
	p := &plan{
		updates:   newRun(transport.Update),
		contents:  newRun(transport.UpdateContent),
		leftovers: newRun(transport.RemoveExact),
		removals:  newRun(transport.Remove),
	}
	if opts.Filter.Any() {
		p.removals.op = transport.RemoveExact
	}
	// Most are updates.
	p.updates.items, p.updates.at = make([]*item, 0, len(marks)), make(map[change.Path]*item, len(marks))
	p.updates.seq = s.src.journal.Seq()
	p.contents.seq = p.updates.seq
	looks := sess.root.Looks()
	defer looks.Close()
	var bytes int64
	for i, m := range marks {
		if bytes > batchBytes {
			s.owed.PutBack(marks[i:]...)
			break
		}
		bytes += s.look(sess, looks, opts, p, m)
	}
	if len(p.unrecorded) > 0 {
		// These directories may be somewhere else: the index follows them once it is told. That they are not there is all that is certain without.
		_ = sess.barrier(ctx, false)
		p.recorded = true
		looks.Close()
		for _, m := range p.unrecorded {
			if len(s.owed.Moved()) > 0 {
				s.owed.PutBack(m) // what was renamed is moved first
				continue
			}
			s.look(sess, looks, opts, p, m)
		}
	}
	return p
}

// look decides on one mark, and returns the bytes that it may cost.
func (s *sender) look(sess *session, looks *scan.Looks, opts Options, p *plan, m change.Mark) int64 {
	seen, known := s.known(m)
	var later bool
	var err error
	if !known {
		seen, later, err = s.lookAt(sess, looks, p, m)
	}
	switch {
	case later:
	case err != nil:
		s.unknown(p, m, err)
	case !keeps(opts.Filter, m, seen):
		s.owed.Ack(m)
	case s.blocked(seen):
		s.postpone(m)
	case seen.Stat.IsRegular() && seen.Stat.Size >= s.opts.Large:
		s.park(seen.At, m)
	case !seen.Stat.Exists():
		s.leftover(p, m.Path)
		s.remove(opts, p, seen.At, m)
	default:
		s.leftover(p, m.Path)
		return s.update(sess, p, seen, m)
	}
	return 0
}

// lookAt looks at what is there. What goes from the index is told to the observer before it may go on the target. later: a directory that is not there
// is one in the index, or something is there of which the index does not know, and that may have been renamed.
func (s *sender) lookAt(sess *session, looks *scan.Looks, p *plan, m change.Mark) (seen scan.Seen, later bool, err error) {
	seen, err = looks.Look(m.Path)
	if err != nil || seen.At == change.Root {
		return seen, false, err
	}
	old := s.src.journal.Stat(seen.At)
	went := old.IsDir() && !seen.Stat.IsDir()
	came := !seen.Stat.SameFile(old) && (seen.Stat.IsDir() || seen.Stat.IsRegular() && seen.Stat.Size >= s.src.options().MoveFileLeast)
	if (went || came) && !p.recorded {
		p.unrecorded = append(p.unrecorded, m)
		return seen, true, nil
	}
	if went || !seen.Stat.Exists() {
		seen, err = sess.observer.Recheck(m.Path)
	}
	return seen, false, err
}

// known is what the index has of a file that merely was written, or is new, where the transport opens it by itself: that is the look that counts. If it
// went since, nothing is sent, and what tells of its end is still to come: the index knows what was seen last, in one step with the mark. One that is
// being written may be large by now.
func (s *sender) known(m change.Mark) (scan.Seen, bool) {
	if _, opens := s.opts.Transport.(transport.Syncer); !opens || m.Bits&^change.Live != 0 {
		return scan.Seen{}, false
	}
	st, sure := s.src.journal.Undoubted(m.Path)
	return scan.Seen{At: m.Path, Stat: st}, sure && st.IsRegular() && st.Links == 1 && st.Size < s.opts.Large
}

// unknown keeps a mark of which nobody knows what is there.
func (s *sender) unknown(p *plan, m change.Mark, err error) {
	if short := transport.Short(err); short != nil {
		p.short = short
		s.owed.PutBack(m)
		return
	}
	s.fail(m, err)
}

// park puts a large file in its lane. A mark of what was below it, when it was a directory, is one of the file.
func (s *sender) park(at change.Path, m change.Mark) {
	if at != m.Path {
		s.owed.Owe(change.Mark{Path: at, Since: m.Since, Bits: m.Bits & change.Live})
		s.owed.Ack(m)
		return
	}
	s.owed.Park(m)
	poke(s.parked)
}

func (s *sender) remove(opts Options, p *plan, at change.Path, m change.Mark) {
	switch {
	case opts.NoRemovals:
		s.owed.Ack(m)
	case s.src.brake.holds(at):
		s.owed.Hold(m)
	case p.removals.op == transport.RemoveExact:
		p.removals.add(m.Path, m)
	default:
		p.removals.add(at, m)
	}
}

// byContent reports whether the target may have another file of this size and mtime: the observer says so, or the name was
// gone meanwhile and what is there now has kept its mtime from elsewhere.
func byContent(m change.Mark, seen scan.Seen) bool {
	elsewhere := m.Bits&change.WasFile != 0 && !seen.Stat.Natural()
	return seen.Stat.IsRegular() && (m.Bits&change.Content != 0 || elsewhere)
}

func (s *sender) update(sess *session, p *plan, seen scan.Seen, m change.Mark) int64 {
	to := p.updates
	if byContent(m, seen) {
		to = p.contents
	}
	if m.Bits&(change.Tree|change.Extras|change.Entries) != 0 && seen.Stat.IsDir() {
		// The comparison acks the mark when it is over.
		s.sweeps.add(seen.At, m)
		it := to.add(seen.At)
		it.compared, it.stat = append(it.compared, m), seen.Stat
	} else {
		to.add(seen.At, m).stat = seen.Stat
	}
	if seen.Stat.IsRegular() {
		return seen.Stat.Size
	}
	return 0
}

// keeps asks the filter again: it may have changed since the path was marked.
func keeps(f *filter.Filter, m change.Mark, seen scan.Seen) bool {
	kind := filter.Unknown
	switch {
	case seen.Stat.Exists() && seen.At == m.Path:
		kind = kindOf(seen.Stat.IsDir())
	case m.Bits&(change.WasDir|change.WasFile) == change.WasDir:
		kind = filter.Dir
	case m.Bits&(change.WasDir|change.WasFile) == change.WasFile:
		kind = filter.File
	}
	return f.Verdict(m.Path, kind).Keep
}

// fail keeps a path that failed: to be tried again later and later, and after too many tries as a dead letter.
func (s *sender) fail(m change.Mark, err error) {
	tries := s.owed.Tries(m.Path) + 1
	dead := tries >= s.opts.DeadAfter
	wait := exponential(time.Second, 5*time.Minute, tries)
	if dead {
		wait = time.Hour
	}
	if s.owed.FailTelling(s.failures(m), m, err, time.Now().Add(jitter(wait)), dead) {
		s.log.Error("a path is a dead letter", "path", m.Path.String(), "tries", tries, "error", err)
	}
}
