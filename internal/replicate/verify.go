package replicate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/transport"
)

// VerifyOptions say when all targets are verified in the background.
type VerifyOptions struct {
	// Every is the time from the end of one to the start of the next; 0 is never.
	Every time.Duration
	// At is when further ones are due; nil is never.
	At Schedule
	// Content compares what is equal in size and time by content, too.
	Content bool
	// Rate bounds how much of that is read here, as in transport.Sweep.
	Rate int64
}

func (o VerifyOptions) wanted() bool { return o.Every > 0 || o.At != nil }

// verifiedFact begins the name of a fact of each target.
const verifiedFact = "verified "

// verified is what is kept of the verifications of a target.
type verified struct {
	// From is what the next one is due after: the end of the last one, or when the first was asked for.
	From time.Time `json:"from"`
	// AsOf is the start of the last one that came to its end; zero when there was none. What follows is of that one.
	AsOf        time.Time `json:"as_of"`
	Content     bool      `json:"content"`
	Differences int       `json:"differences"`
}

// verifier verifies one target when it is due: one more producer of marks, of low priority. It has a goroutine of its own, as a
// comparison by content may take days, and those that changes at the source ask for cannot wait for it.
type verifier struct {
	mu    sync.Mutex
	doing *SweepStatus // guarded by mu: nil while none is under way
}

func (v *verifier) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doing = &SweepStatus{Since: time.Now()}
}

func (v *verifier) found() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doing.Found++
}

func (v *verifier) over() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doing = nil
}

func (v *verifier) status() *SweepStatus {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.doing == nil {
		return nil
	}
	doing := *v.doing
	return &doing
}

// verifyRetryMax is the longest time between two tries of a verification that fails.
const verifyRetryMax = 10 * time.Minute

// runVerify verifies the target each time that it is due, and again until it came to its end.
func (s *sender) runVerify(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.src.primed:
	}
	var a agenda
	tries := 0
	for s.gate.wait(ctx) {
		opts := s.src.options().Verify
		if opts.wanted() && a.from.IsZero() {
			a = s.verifyAgenda(opts)
		}
		isDue, wait := a.due(opts.At, opts.Every, time.Now())
		if a.asked = opts.wanted() && (a.asked || isDue); a.asked {
			wait = verifyRetryMax
			if s.verify(ctx, opts) {
				a.from, a.asked, tries = time.Now(), false, 0
				continue
			}
			tries++
			wait = jitter(exponential(time.Second, verifyRetryMax, tries))
		}
		var late <-chan time.Time
		if wait >= 0 {
			late = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-s.reverify:
		case <-late:
		}
	}
}

// verifyAgenda goes on where an earlier process stopped: one that was missed, or was not done, is due at once.
func (s *sender) verifyAgenda(opts VerifyOptions) agenda {
	v := s.verified()
	if v.From.IsZero() {
		v.From = time.Now()
		s.src.journal.SetFact(verifiedFact+s.opts.Name, v)
	}
	a := agenda{at: opts.At, from: v.From}
	a.schedule(v.From)
	return a
}

func (s *sender) verified() (v verified) {
	s.src.journal.Fact(verifiedFact+s.opts.Name, &v)
	return v
}

// verify reports whether it came to its end.
func (s *sender) verify(ctx context.Context, opts VerifyOptions) bool {
	ctx, done := s.gate.within(ctx)
	defer done()
	s.verifier.begin()
	defer s.verifier.over()
	start := time.Now()
	s.log.Info("verification began", "content", opts.Content)
	n, err := s.verifyOnce(ctx, opts)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		te := targetError(err)
		s.lookAgain(te)
		s.report.incomplete(te)
		return false
	}
	s.log.Info("verification done", "differences", n, "took", time.Since(start).Round(time.Millisecond))
	s.src.journal.SetFact(verifiedFact+s.opts.Name, verified{From: time.Now(), AsOf: start, Content: opts.Content, Differences: n})
	return true
}

// verifyOnce owes what differs, and counts what of it was not on its way.
func (s *sender) verifyOnce(ctx context.Context, opts VerifyOptions) (count int, err error) {
	sess := s.src.session()
	if sess == nil {
		return 0, &transport.Error{Kind: transport.SourceGone, Err: errors.New("the source root is gone")}
	}
	defer sess.users.Done()
	f := findings{sender: s, whole: true, byContent: opts.Content}
	empty := sess.empty()
	v := s.verification(sess.root, opts)
	err = v.Run(ctx, func(d Found) error {
		if !d.OnItsWay {
			s.verifier.found()
			count++
		}
		if empty {
			s.emptiness(sess, d.Difference)
		}
		f.since = time.Now() // a difference is not older than its finding: nobody knows
		return f.add(ctx, d.Difference)
	})
	return count, errors.Join(err, f.flush(ctx))
}

func (s *sender) verification(root *scan.Root, opts VerifyOptions) *Verification {
	all := s.src.options()
	return &Verification{
		Root: root, Filter: all.Filter, Transport: s.opts.Transport,
		Sweep:    transport.Sweep{Extras: !all.NoRemovals, Content: opts.Content, Rate: opts.Rate, Exclude: s.opts.SweepExclude},
		OnItsWay: s.onItsWay,
	}
}

// onItsWay says which of the paths are on their way, once all that happened before the call is marked.
func (s *sender) onItsWay(ctx context.Context, paths []change.Path) ([]bool, error) {
	now := time.Now()
	if err := s.src.flush(ctx); err != nil {
		return nil, err
	}
	for {
		sess := s.src.session()
		if sess == nil {
			return nil, &transport.Error{Kind: transport.SourceGone, Err: errors.New("the source root is gone")}
		}
		since, walking := sess.walks.oldest()
		sess.users.Done()
		if !walking || since.After(now) {
			return s.owed.OnItsWay(paths), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.src.stopped:
			return nil, errStopped
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// OnItsWay says which of the paths a target is about to get, or to lose, once all that happened at the source before the call is
// known. Paths that failed or are held are not among them.
func (s *Source) OnItsWay(ctx context.Context, target string, paths []change.Path) ([]bool, error) {
	r := s.sender(target)
	if r == nil {
		return nil, fmt.Errorf("ask about target %q: source %q has no such target", target, s.options().Name)
	}
	return r.onItsWay(ctx, paths)
}

// Repair owes a target what somebody found to differ, as a sweep does: with low priority, through filter and brakes. What seems
// equal is compared by content when that was how the differences were found. It waits while more is owed than there is room for.
func (s *Source) Repair(ctx context.Context, target string, content bool, differences []transport.Difference) error {
	r := s.sender(target)
	if r == nil {
		return fmt.Errorf("repair target %q: source %q has no such target", target, s.options().Name)
	}
	sess := s.session()
	if sess == nil {
		return fmt.Errorf("repair target %q: the root of source %q is gone", target, s.options().Name)
	}
	defer sess.users.Done()
	f := findings{sender: r, since: time.Now(), whole: true, byContent: content}
	for _, d := range differences {
		r.emptiness(sess, d)
		if err := f.add(ctx, d); err != nil {
			return err
		}
	}
	return f.flush(ctx)
}

// verifiedStatus is nil for a target that was never verified.
func (s *sender) verifiedStatus(oldest time.Time) *VerifiedStatus {
	v := s.verified()
	if v.AsOf.IsZero() {
		return nil
	}
	return &VerifiedStatus{
		AsOf: v.AsOf, Content: v.Content, Differences: v.Differences,
		Repaired: oldest.IsZero() || oldest.After(v.From),
	}
}
