package replicate

import (
	"context"
	"errors"
	"slices"
	"time"

	"sersync/internal/filter"
	"sersync/internal/journal"
	"sersync/internal/watch"
)

func kindOf(dir bool) filter.Kind {
	if dir {
		return filter.Dir
	}
	return filter.File
}

// Wait returns when every change that was made at the source before the call is acked by
// the named targets, all when none is named. While the source root is gone nobody knows, and it waits. It ends
// with ctx, and with an error when the source was stopped before.
func (s *Source) Wait(ctx context.Context, targets ...string) error {
	if err := s.know("wait for", targets); err != nil {
		return err
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	now := time.Now()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopped:
			return errStopped
		case <-pause.C:
		}
		start := time.Now()
		if !s.lacks(now, targets) {
			return nil
		}
		// Looking costs with what is owed: it may not cost more than a few percent of the time.
		pause.Reset(max(2*time.Millisecond, 20*time.Since(start)))
	}
}

var errStopped = errors.New("the source was stopped")

// flush has everything that the kernel knows marked, also what waits for its close.
func (s *Source) flush(ctx context.Context) error {
	select {
	case <-s.primed:
	case <-s.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	sess := s.session()
	if sess == nil {
		return nil
	}
	defer sess.users.Done()
	return sess.barrier(ctx, true)
}

// barrier returns when all that happened before the call is marked, or nothing will be any more. With all that is also
// what waits for its close.
func (s *session) barrier(ctx context.Context, all bool) error {
	if err := s.sync(ctx); err != nil {
		return err
	}
	if err := s.marked(ctx, all); err != nil || !all {
		return err
	}
	if !s.unnamed.any() {
		return nil
	}
	s.name(true)
	return s.marked(ctx, all)
}

// marked returns when the intake has marked what it was told of.
func (s *session) marked(ctx context.Context, all bool) error {
	b := barrier{done: make(chan struct{}), all: all}
	select {
	case s.flush <- b:
	case <-s.over:
		return nil // the root is gone: what it was is marked
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sync returns when all events that the kernel has were read, or none will be read any more.
func (s *session) sync(ctx context.Context) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	synced := make(chan error, 1)
	go func() { synced <- s.watcher.Sync(reading) }()
	select {
	case err := <-synced:
		return err
	case <-s.over:
		cancel()
		<-synced
		return nil
	}
}

// lacks reports whether any of the targets lacks a change from before at.
func (s *Source) lacks(at time.Time, targets []string) bool {
	sess := s.session()
	if sess == nil {
		return true
	}
	since, walking := sess.walks.oldest()
	sess.users.Done()
	if walking && !since.After(at) {
		return true
	}
	for _, r := range s.running() {
		if len(targets) > 0 && !slices.Contains(targets, r.sender.opts.Name) {
			continue
		}
		if since, ok := r.sender.owed.Oldest(); ok && !since.After(at) {
			return true
		}
	}
	return false
}

// Status is what there is to say now.
func (s *Source) Status() Status {
	opts := s.options()
	st := Status{
		Name: opts.Name, Path: opts.Path, Parts: []Part{},
		Marks: s.marks.Load(), Indexed: s.journal.Indexed(),
		Brake: s.brake.shown(), Journal: s.journalStatus(), Gaps: []Gap{}, Targets: []TargetStatus{}, Hooks: []HookStatus{},
	}
	s.mu.Lock()
	st.State, st.Error = s.state, s.unopened
	s.mu.Unlock()
	if sess := s.session(); sess != nil {
		w := sess.watcher.Status()
		st.Watches, st.Overflows = w.Watches, w.Overflows
		st.parts(w.Parts)
		for _, g := range sess.gaps() {
			st.Gaps = append(st.Gaps, Gap{Path: g.Path.String(), Since: g.Since, Reason: g.Err.Error()})
		}
		st.Open = int(sess.open.Load())
		sess.users.Done()
	}
	for _, r := range s.running() {
		t := r.sender.status()
		if st.Brake != nil {
			st.Brake.Held += t.Held
		}
		st.Targets = append(st.Targets, t)
	}
	for _, t := range s.hooks() {
		st.Hooks = append(st.Hooks, t.status())
	}
	return st
}

// parts takes how the source is watched; the root's part is the first.
func (st *Status) parts(all []watch.Part) {
	for i, p := range all {
		if i == 0 {
			st.Watcher = p.Method
		}
		if p.Reason != "" || p.Method != st.Watcher {
			st.Parts = append(st.Parts, Part{Path: p.Path.String(), Method: p.Method, Reason: p.Reason})
		}
	}
}

// status is what there is to say of one target.
func (s *sender) status() TargetStatus {
	t := s.report.status()
	t.Name = s.opts.Name
	c := s.owed.Counts()
	t.Waiting, t.Retrying, t.Held, t.Dead, t.WaitingBytes = c.Waiting, c.Retrying, c.Braked, c.Dead, c.Bytes
	if !c.Oldest.IsZero() {
		t.Oldest, t.Lag = &c.Oldest, time.Since(c.Oldest).Seconds()
	}
	t.Sweep = s.sweeps.status()
	if n, end := s.sweeps.whole(); n > 0 {
		t.Swept = &end
	}
	t.Verifying, t.Verified = s.verifier.status(), s.verifiedStatus(c.Oldest)
	if since, inFlight := s.gate.paused(); !since.IsZero() {
		t.State, t.Since, t.NextTry = "paused", since, nil
		if inFlight {
			t.State = "pausing"
		}
	}
	t.DeadLetters = []DeadLetter{}
	dead, _ := s.owed.List(100, journal.Dead)
	for _, o := range dead {
		t.DeadLetters = append(t.DeadLetters, DeadLetter{Path: o.Path.String(), Since: o.Since, Tries: o.Tries, Error: o.Err})
	}
	return t
}
