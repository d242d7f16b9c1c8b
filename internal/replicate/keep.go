package replicate

import (
	"context"
	"errors"
	"slices"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/scan"
)

const (
	// keepEvery is how often the journal is written to its file: what a kill may lose of it is looked for again by a walk.
	keepEvery = time.Second
	// lullTime is for how long nothing is recorded in a lull, lullStep how often that is asked.
	lullTime = 200 * time.Millisecond
	lullStep = 100 * time.Millisecond
	// keepAnewEvery is how often a journal that could not be kept at the start is tried to be kept.
	keepAnewEvery = 10 * time.Second
	// tick bounds the kernel's: what is stamped on a file is older than the clock by as much.
	tick = 20 * time.Millisecond
	// barrierTime bounds the wait for the events that are on their way, when the journal is written.
	barrierTime = 2 * time.Second
)

// Facts that are kept with the journal.
const (
	homeFact   = "home"
	brakesFact = "brakes"
	// indexingFact is since when the source is indexed for the first time, in nanoseconds; 0 once it was.
	indexingFact = "indexing"
)

// home tells the root of a source from others, also after the machine was started again, when devices have other numbers.
type home struct {
	Dev, Ino uint64
	// Birth is when the directory was made, in nanoseconds; 0 where the file system does not know.
	Birth int64
}

func homeOf(root *scan.Root) home {
	st := root.Stat()
	return home{Dev: st.Dev, Ino: st.Ino, Birth: root.Birth()}
}

// recall takes over what the journal knows from before, and has what happened since then found.
func (s *Source) recall(sess *session) error {
	opts := s.options()
	now := homeOf(sess.root)
	if opts.StateDir == "" {
		s.brake.moveHome(sess.root.Stat())
		return nil
	}
	l, err := s.journal.Keep(journal.File(opts.StateDir, opts.Name, opts.Path), opts.Path)
	if errors.Is(err, journal.ErrInUse) {
		return err
	}
	if err != nil {
		s.setUnkept(err)
		s.log.Error("the journal is kept in memory alone: what is owed is forgotten with a stop", "error", err,
			"hint", "make the state directory usable: it is tried again; or name another one, and start sersync again")
	}
	s.brake.kept = func(f brakeFact) { s.journal.SetFact(brakesFact, f) }
	switch {
	case l.Lost != nil:
		if err == nil {
			s.log.Error("the journal of the source cannot be read, a new one takes its place", "error", l.Lost, "aside", l.Aside)
		}
		s.brake.engage(s.log, journalLost, "the journal was lost: what the targets have too much may be meant")
		s.oweAll(change.Tree | change.Extras)
	case l.Fresh || err != nil:
		s.log.Info("the source is indexed for the first time")
		s.journal.SetFact(indexingFact, sess.opened.UnixNano())
		if opts.Fill && !opts.Initial {
			s.oweAll(change.Tree)
		}
	default:
		s.goOn(sess, l, now)
		return nil
	}
	s.brake.moveHome(sess.root.Stat())
	s.journal.SetFact(homeFact, now)
	return nil
}

// begin owes what is asked for at each start, and has the file say that sersync runs before anything is sent: were it killed
// before that, nobody would know.
func (s *Source) begin() {
	for _, t := range s.options().Targets {
		s.journal.Open(t.Name)
	}
	if s.options().Initial {
		s.oweAll(change.Tree | change.Extras)
	}
	if err := s.journal.Commit(); err != nil {
		s.log.Error("the journal cannot be written at the start", "error", err)
	}
}

// goOn continues where the last run ended.
func (s *Source) goOn(sess *session, l journal.Loaded, now home) {
	opts := s.options()
	s.dropTargets(opts)
	s.brake.restore(s.log, s.journal)
	s.comeHome(sess, l, now)
	s.moveDevices(sess)
	for _, t := range opts.Targets {
		s.fillNew(t.Name)
	}
	if !l.Clean {
		s.tear(l)
	}
	if s.brake.engaged() == nil {
		for _, t := range opts.Targets {
			s.journal.Open(t.Name).Release()
		}
	}
	var since int64
	if s.journal.Fact(indexingFact, &since) && since != 0 {
		// It ended before all was indexed.
		sess.opened = time.Unix(0, since)
	} else {
		sess.heal(l.Saved)
	}
	sess.observer.SetTorn(!l.Clean, sess.healing)
	s.log.Info("the source is compared with what was last known of it", "paths", s.journal.Indexed(), "known", l.Saved, "clean", l.Clean)
}

// fillNew owes everything to a target that the journal does not know yet.
func (s *Source) fillNew(name string) {
	if slices.Contains(s.journal.Targets(), name) {
		return
	}
	s.log.Info("a new target is compared with the source; nothing is removed from it", "target", name)
	s.journal.Open(name).Owe(change.Mark{Path: change.Root, Since: time.Now(), Bits: change.Tree})
}

// tear prepares for what was sent last before a kill and is not in the journal.
func (s *Source) tear(l journal.Loaded) {
	s.torn.Store(true)
	settle := map[string]time.Duration{}
	for _, t := range s.options().Targets {
		s.journal.Open(t.Name).LookAgain()
		settle[t.Name] = t.Settle
	}
	start := time.Now()
	s.journal.Twice(func(target string) time.Time { return start.Add(settle[target]) })
	if l.Rebooted {
		// What the source itself lost with the power is on the targets, and leaves no trace here.
		s.log.Warn("the machine went down while sersync ran: every target is compared once")
		s.oweAll(change.Tree | change.Extras)
	}
}

// dropTargets forgets the targets that are no longer configured.
func (s *Source) dropTargets(opts Options) {
	for _, name := range s.journal.Targets() {
		if hasTarget(opts, name) {
			continue
		}
		c := s.journal.Open(name).Counts()
		s.log.Info("a target is no longer configured, what it was owed is forgotten", "target", name, "paths", c.Waiting+c.Dead)
		s.journal.Drop(name)
	}
}

// comeHome holds removals when the root is not the one that the journal is of.
func (s *Source) comeHome(sess *session, l journal.Loaded, now home) {
	var was home
	if !s.journal.Fact(homeFact, &was) {
		was = now
	}
	if l.Rebooted {
		was.Dev = now.Dev
	}
	if was == now {
		s.brake.moveHome(sess.root.Stat())
		s.journal.SetFact(homeFact, now)
		return
	}
	s.brake.moveHome(change.Stat{Dev: was.Dev, Ino: was.Ino})
	s.brake.engage(s.log, rootReplaced, scan.ErrRootReplaced.Error())
}

// moveDevices finds file systems by other numbers that were mounted anew since.
func (s *Source) moveDevices(sess *session) {
	moved := map[uint64]uint64{}
	for dev, top := range s.journal.Mounts() {
		seen, err := sess.root.Look(top)
		if err == nil && seen.At == top && seen.Stat.Dev != dev && seen.Stat.Ino == s.journal.Stat(top).Ino {
			moved[dev] = seen.Stat.Dev
		}
	}
	s.journal.Move(moved)
}

// oweAll owes every target a comparison of everything.
func (s *Source) oweAll(bits change.Bits) {
	for _, t := range s.options().Targets {
		s.journal.Open(t.Name).Owe(change.Mark{Path: change.Root, Since: time.Now(), Bits: bits})
	}
}

// keep writes the journal to its file, behind all that happens, until ctx ends.
func (s *Source) keep(ctx context.Context) {
	every := time.NewTicker(keepEvery)
	defer every.Stop()
	anew := time.NewTicker(keepAnewEvery)
	defer anew.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			s.lull(ctx)
			s.settleYoung(ctx)
		case <-s.journal.Full():
		case <-anew.C:
			s.keepAnew()
		}
		err := s.journal.Commit()
		switch {
		case err != nil && !failed:
			s.log.Error("the journal cannot be written; replication goes on, and the next start looks at the whole source; "+
				"removals of directories wait", "error", err, "hint", "make room in the state directory; 'sersync doctor' names it")
		case err == nil && failed:
			s.log.Info("the journal is written again")
		}
		failed = err != nil
	}
}

// lull waits for a moment in which nothing is recorded, for as long again as keepEvery at the most: what is on its way to the
// targets in a burst is acked after it, and need not be written.
func (s *Source) lull(ctx context.Context) {
	step := time.NewTicker(lullStep)
	defer step.Stop()
	for range int(keepEvery / lullStep) {
		if time.Since(s.journal.Recorded()) > lullTime {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.journal.Full():
			return
		case <-step.C:
		}
	}
}

// keepAnew tries again to keep a journal that is in memory alone because its directory could not be used.
func (s *Source) keepAnew() {
	if s.unkept() == nil {
		return
	}
	opts := s.options()
	err := s.journal.KeepAnew(journal.File(opts.StateDir, opts.Name, opts.Path), opts.Path)
	s.setUnkept(err)
	if err == nil {
		s.log.Info("the journal can be written by now, and is kept")
	}
}

// unkept is why the journal is in memory alone.
func (s *Source) unkept() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notKept
}

func (s *Source) setUnkept(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notKept = err
}

// settleYoung makes sure of rows whose files could have changed again without a trace: by now an event has said so.
func (s *Source) settleYoung(ctx context.Context) {
	if !s.journal.Young() {
		return
	}
	sess := s.session()
	if sess == nil {
		return
	}
	defer sess.users.Done()
	ctx, cancel := context.WithTimeout(ctx, barrierTime)
	defer cancel()
	// Before the barrier: what is named later is marked later.
	at := sess.unnamed.sure(time.Now().Add(-tick))
	if sess.barrier(ctx, false) == nil {
		s.journal.Sure(at)
	}
}

// closeJournal writes the journal for the last time.
func (s *Source) closeJournal() {
	if err := s.journal.Close(s.clean.Load()); err != nil {
		s.log.Error("the journal was not written at the end; the next start looks at the whole source", "error", err)
	}
}

// finish makes the journal one that can be closed as clean: all that happened until now is in it. It reports whether that
// is so.
func (s *Source) finish(ctx context.Context) bool {
	if s.flush(ctx) != nil {
		return false
	}
	s.walked(ctx)
	if s.journal.Young() {
		select {
		case <-ctx.Done():
		case <-time.After(tick + 5*time.Millisecond):
		}
		s.settleYoung(ctx)
	}
	for _, r := range s.running() {
		// What a comparison that goes on finds is in no index.
		if r.sender.sweeps.status() != nil {
			return false
		}
	}
	sess := s.session()
	if sess == nil {
		return false
	}
	defer sess.users.Done()
	_, walking := sess.walks.oldest()
	return ctx.Err() == nil && !walking
}

// journalStatus is what there is to say of the journal's file.
func (s *Source) journalStatus() JournalStatus {
	k := s.journal.Kept()
	st := JournalStatus{Path: k.Path, Bytes: k.Bytes, Unsaved: k.Unsaved}
	if !k.Saved.IsZero() {
		st.Saved = &k.Saved
	}
	switch {
	case k.Err != nil:
		st.Error, st.Since = k.Err.Error(), &k.Failed
	default:
		if err := s.unkept(); err != nil {
			st.Error = err.Error()
		}
	}
	return st
}
