package replicate

import (
	"context"
	"errors"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/transport"
)

// send hands one run to the transport and settles what it said, path by path.
func (s *sender) send(ctx context.Context, sess *session, r *run) {
	if r.removes() && !s.released(sess, r) {
		return
	}
	b := s.batchOf(sess, r)
	s.asked.Store(false)
	s.report.sending()
	report, took, err := s.apply(ctx, r, b)
	s.onBatch(b, r, report, took, err)
	if err != nil {
		s.failed(ctx, r, err)
		return
	}
	s.away.ok()
	s.max = min(batchMax, s.max*2)
	s.report.sent(report, r)
	s.cameBack(sess, r)
	if r.removes() {
		s.touched(r)
		s.cleared(r)
	}
	s.settle(r, report, b.Keep)
}

// released reports whether a run of removals may go. One that may not is held, or judged again in a moment.
func (s *sender) released(sess *session, r *run) bool {
	switch sess.mayRemove() {
	case held:
		s.owed.Hold(r.marks()...)
		return false
	case undecided:
		s.owed.Delay(time.Now().Add(judgeAgain), r.marks()...)
		return false
	}
	return true
}

// batchOf is what is handed to the transport. Where nothing may be removed, an update removes no directory to make
// way either.
func (s *sender) batchOf(sess *session, r *run) transport.Batch {
	paths := r.paths()
	return transport.Batch{
		Op: r.op, Root: sess.root.File(), Paths: paths, Seen: s.named(r.seen(), paths), Seq: r.seq, Reads: s.src.shared(),
		Keep: s.src.options().NoRemovals || sess.mayRemove() != allowed || s.src.brake.holds(change.Root),
	}
}

// shared keeps what is read for other targets; nil when there are none.
func (s *Source) shared() *transport.Reads {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.senders) < 2 {
		return nil
	}
	return s.reads
}

// apply runs one batch, within the bound on runs.
func (s *sender) apply(ctx context.Context, r *run, b transport.Batch) (transport.Report, time.Duration, error) {
	release, err := s.src.slot(ctx)
	if err != nil {
		return transport.Report{}, 0, err
	}
	defer release()
	start := time.Now()
	r.losses = s.losses()
	report, err := s.opts.Transport.Apply(ctx, b)
	if b.Reads == nil {
		s.src.shared().DropAll() // another target came meanwhile
	}
	return report, time.Since(start), err
}

// slot takes one of the runs that may be under way at one time.
func (s *Source) slot(ctx context.Context) (release func(), err error) {
	runs := s.options().Runs
	if runs == nil {
		return func() {}, nil
	}
	select {
	case runs <- struct{}{}:
		return func() { <-runs }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keptWait is how long a path waits that failed while nothing may be removed: what was in its way may go as soon as that is over.
const keptWait = 10 * time.Second

// settle acks a run path by path. kept says that nothing was removed to make way.
func (s *sender) settle(r *run, report transport.Report, kept bool) {
	failed := make(map[change.Path]transport.Failure, len(report.Failed))
	for _, f := range report.Failed {
		failed[f.Path] = f
	}
	acked := make([]change.Mark, 0, len(r.items))
	var names []journal.Name
	for _, it := range r.items {
		f, bad := failed[it.path]
		if !bad {
			if several(it.stat) {
				names = append(names, journal.Name{Path: it.path, File: it.stat.Inode()})
			}
			acked = append(acked, it.marks...)
			continue
		}
		for _, m := range it.marks {
			if kept && !s.src.options().NoRemovals {
				s.owed.FailTelling(s.failures(m), m, f.Err, time.Now().Add(jitter(keptWait)), false)
				continue
			}
			s.fail(m, f.Err)
		}
	}
	s.owed.Got(names...)
	s.owed.Changed(s.undurable(r, report)...)
	s.owed.AckTelling(s.tellings(r, report, failed), acked...)
	s.synced(r.losses)
}

// cameBack owes a comparison of what was to be removed and is there again, and of what was to be replaced by something else
// than a directory and is not what it was: rsync may have seen a directory, or nothing, and left what the target has below it, or a file of
// the size and mtime of the one that was to go, and left that.
func (s *sender) cameBack(sess *session, r *run) {
	looks := sess.root.Looks()
	defer looks.Close()
	for _, it := range r.items {
		if !r.removes() && !it.clears() {
			continue
		}
		seen, err := looks.Look(it.path)
		switch {
		case err != nil || seen.Stat.IsDir() || !r.removes() && seen.Stat != it.stat:
			s.owed.Owe(change.Mark{Path: it.path, Since: oldest(it.marks), Bits: change.Extras})
		case r.removes() && seen.Stat.IsRegular() && !seen.Stat.Natural():
			// Its mtime is not of now: it may be that of the one that was to go.
			s.owed.Owe(change.Mark{Path: it.path, Since: oldest(it.marks), Bits: change.Content})
		}
	}
}

// touched owes the directories in which something was removed: their times changed with it.
func (s *sender) touched(r *run) {
	parents := map[change.Path]struct{}{}
	for _, it := range r.items {
		parents[it.path.Parent()] = struct{}{}
	}
	since := oldest(r.marks())
	for p := range parents {
		if _, gone := r.at[p]; !gone {
			s.owed.Owe(change.Mark{Path: p, Since: since})
		}
	}
}

// targetError is what err says of the target.
func targetError(err error) *transport.Error {
	var te *transport.Error
	if errors.As(err, &te) {
		return te
	}
	return &transport.Error{Kind: transport.Broken, Err: err}
}

// undurable is what of a run a loss of power may take back on the target. Where the target says what is on its disk, it is all: what
// was found there as it should be may have come over another connection a moment ago.
func (s *sender) undurable(r *run, report transport.Report) []journal.Changed {
	var all []journal.Changed
	if _, ok := s.opts.Transport.(transport.Syncer); ok {
		all = make([]journal.Changed, len(r.items))
		for i, it := range r.items {
			all[i] = journal.Changed{Path: it.path, Bits: r.before(it)}
		}
		return all
	}
	for _, p := range report.Changed {
		all = append(all, journal.Changed{Path: p, Bits: r.before(r.at[p])})
	}
	return all
}

// losses is how many connections are known that ended before all was on the target's disk.
func (s *sender) losses() int {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	return s.lost
}

// synced passes on what the target says of its disk. losses is how many were known when that began which is acked by now: a connection that
// ended since may have taken some of it along, and nobody else looks at that again, as it was not yet acked.
func (s *sender) synced(losses int) {
	t, ok := s.opts.Transport.(transport.Syncer)
	if !ok {
		return
	}
	s.syncing.Lock()
	defer s.syncing.Unlock()
	before, n := t.Synced()
	s.lost = n
	if n != losses {
		s.owed.LookAgain()
		return
	}
	s.owed.Synced(before)
}

// lookAgain owes what the target may have lost meanwhile: all of it when its directory cannot be entered, for that may be
// another one when it can.
func (s *sender) lookAgain(te *transport.Error) {
	switch {
	case te.Lost:
		s.owed.Owe(change.Mark{Path: change.Root, Since: time.Now(), Bits: change.Tree})
	case te.Kind == transport.Away:
		s.synced(s.losses())
		s.owed.LookAgain()
	}
}

// failed settles a run that failed as a whole: a state of the target, not of its paths.
func (s *sender) failed(ctx context.Context, r *run, err error) {
	marks := r.marks()
	te := targetError(err)
	if ctx.Err() == nil {
		s.lookAgain(te)
	}
	if te.Unclean {
		s.owed.Again(time.Now().Add(te.Settle), marks...)
	}
	var next time.Time
	switch {
	case ctx.Err() != nil:
		s.owed.PutBack(marks...)
		return
	case te.Kind == transport.RemovalsRefused:
		// Updates go on.
		next = time.Now().Add(jitter(5 * time.Minute))
		for _, m := range marks {
			s.owed.Fail(m, err, next, false)
		}
	case te.Kind == transport.Broken && len(marks) <= 1:
		// It is this path that breaks the run.
		for _, m := range marks {
			s.fail(m, err)
		}
	case te.Kind == transport.Broken:
		s.max = max(1, len(marks)/2)
		s.owed.PutBack(marks...)
	default:
		s.owed.PutBack(marks...)
	}
	if te.Kind != transport.RemovalsRefused {
		s.away.fail()
		next = s.away.until
	}
	s.report.failed(te, next)
}
