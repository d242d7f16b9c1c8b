package replicate

import (
	"context"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/transport"
)

// runLarge sends large files, one after the other, beside the batches of everything else.
func (s *sender) runLarge(ctx context.Context) {
	for s.gate.wait(ctx) {
		m, ok := s.owed.TakeLarge()
		if !ok {
			select {
			case <-ctx.Done():
			case <-s.parked:
			}
			continue
		}
		s.sendLarge(ctx, m)
		poke(s.settled)
	}
}

// sendLarge sends one large file. It is cancelled when the path goes away.
func (s *sender) sendLarge(ctx context.Context, m change.Mark) {
	sess := s.src.session()
	if sess == nil {
		s.owed.PutBack(m)
		return
	}
	defer sess.users.Done()
	if !s.gate.enter() {
		s.owed.PutBack(m)
		return
	}
	defer s.gate.leave()
	s.begin(m.Path)
	defer s.largeDone()
	seen, err := sess.root.Look(m.Path)
	if err != nil || seen.At != m.Path || !seen.Stat.IsRegular() {
		s.owed.PutBack(m) // it is something else by now
		return
	}

	r := newRun(transport.UpdateLarge)
	if byContent(m, seen) {
		r.op = transport.UpdateLargeContent
	}
	r.add(m.Path, m)
	r.at[m.Path].stat = seen.Stat
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		watchLarge(ctx, cancel, sess.root, m.Path)
	}()
	s.sendInLane(ctx, sess, r)
}

// begin says which file is in the lane. What was planned before that is sent by then: it may
// remove a directory above the file.
func (s *sender) begin(p change.Path) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.large = &p
}

// sendInLane sends a run of the lane.
func (s *sender) sendInLane(ctx context.Context, sess *session, r *run) {
	b := s.batchOf(sess, r)
	report, took, err := s.apply(ctx, r, b)
	s.onBatch(b, r, report, took, err)
	if err != nil {
		s.failLarge(ctx, r, err)
		return
	}
	s.mu.Lock()
	if report.Files > 0 && len(report.Failed) == 0 {
		delete(s.cut, r.items[0].path)
	} else {
		s.cut[r.items[0].path] = time.Now() // it went or changed on the way, perhaps: the target may keep a part of it
	}
	s.mu.Unlock()
	s.report.sent(report, r)
	s.cameBack(sess, r)
	s.settle(r, report, b.Keep)
}

// partTime is how long a receiver that was cut off may take to keep what it has of a large file.
const partTime = 2 * time.Second

// failLarge settles a run of the lane that failed as a whole. While the target does not work the file is owed, and
// everything else of the target goes on for itself.
func (s *sender) failLarge(ctx context.Context, r *run, err error) {
	te := targetError(err)
	over := time.Now().Add(max(te.Settle, partTime))
	s.mu.Lock()
	s.cut[r.items[0].path] = over
	s.mu.Unlock()
	s.owed.Again(over, r.marks()...)
	if ctx.Err() != nil {
		s.owed.PutBack(r.marks()...)
		return
	}
	s.lookAgain(te)
	due := time.Now()
	for _, m := range r.marks() {
		if te.Kind == transport.Broken {
			s.fail(m, err)
			continue
		}
		due = time.Now().Add(jitter(exponential(time.Second, backoffMax, s.owed.Tries(m.Path)+1)))
		s.owed.Fail(m, err, due, false)
	}
	s.report.failed(te, due)
}

// leftover has the part of p removed that a cut left on the target: p is no large file any more.
func (s *sender) leftover(p *plan, path change.Path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, cut := s.cut[path]; cut {
		dir := path.Parent().Join(filter.PartialName)
		p.leftovers.add(dir.Join(path.Name()))
		p.leftovers.add(dir)
	}
}

// cleared forgets the cuts whose parts were removed, when no more of them can come.
func (s *sender) cleared(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, until := range s.cut {
		_, removed := r.at[path.Parent().Join(filter.PartialName).Join(path.Name())]
		if removed && !time.Now().Before(until) {
			delete(s.cut, path)
		}
	}
}

// watchLarge cancels the transfer when the path is gone or no longer a file.
func watchLarge(ctx context.Context, cancel context.CancelFunc, root *scan.Root, p change.Path) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if seen, err := root.Look(p); err == nil && (seen.At != p || !seen.Stat.IsRegular()) {
			cancel()
			return
		}
	}
}

// blocked reports whether what was seen is in the way of the large file that is being sent: the file
// itself, a directory above it that is gone or is none any more, or what a sweep saw of it on its way.
func (s *sender) blocked(seen scan.Seen) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.large == nil {
		return false
	}
	temporary := seen.At.Parent() == s.large.Parent() && strings.HasPrefix(seen.At.Name(), "."+s.large.Name()+".")
	return *s.large == seen.At || temporary && !seen.Stat.Exists() || s.large.Below(seen.At) && !seen.Stat.IsDir()
}

// postpone keeps a mark in flight until the large file is done, which it may be by now.
func (s *sender) postpone(m change.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.large == nil {
		s.owed.PutBack(m)
		return
	}
	s.deferred = append(s.deferred, m)
}

func (s *sender) largeDone() {
	s.mu.Lock()
	deferred := s.deferred
	s.large, s.deferred = nil, nil
	s.mu.Unlock()
	s.owed.PutBack(deferred...)
}
