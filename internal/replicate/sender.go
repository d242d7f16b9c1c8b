package replicate

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/transport"
)

// batchMax is how many marks go into one batch. Old rsyncs read longer lists slowly.
const batchMax = 4096

// batchBytes is how much content goes into one batch, so that a fresh change does not wait long.
const batchBytes = 64 << 20

// sender takes what one target is owed, looks, plans, hands batches to the transport, and acks. It is
// independent of all others.
type sender struct {
	src    *Source
	opts   TargetOptions
	owed   *journal.Target
	log    *slog.Logger
	report report
	// max is how many marks the next batch takes; it shrinks while batches fail for no reason that is known.
	max int
	// started is when the last batch started, seq the newest mark then, paced when the next batch would start
	// if they came at their pace.
	started, paced time.Time
	seq            uint64
	away           backoff
	drain          chan struct{}
	gate           *gate
	// asked: somebody wants to know whether the target works, though it may be owed nothing.
	asked atomic.Bool
	// replan and reverify get a value when a sweep, and when a verification, may be due at another time than before.
	replan, reverify chan struct{}
	verifier         verifier

	// syncing is held from the question what is on the target's disk until the journal knows.
	syncing sync.Mutex
	lost    int // guarded by syncing: how many losses were known then

	mu sync.Mutex
	// large is the path in the lane of large files, deferred what waits for its end.
	large    *change.Path
	deferred []change.Mark
	// cut are the large files of which a part may be on the target, with when it is there at the latest.
	cut    map[change.Path]time.Time
	sweeps sweeps
	// parked gets a value when a file was put in the lane of large files.
	parked chan struct{}
	// settled gets a value when a large file or a sweep is done: a stop may wait for it.
	settled chan struct{}
	// turn is held while a batch is looked at and sent, and for a moment when a large file or a sweep begins: what
	// either of them does is known to the other.
	turn sync.Mutex
}

// running is a sender with what it takes to stop it.
type running struct {
	sender *sender
	drain  chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

// start starts the sender of a target, behind its gate. The lock of the source is held.
func (s *Source) start(t TargetOptions, sweep bool, g *gate) {
	ctx, cancel := context.WithCancel(s.ctx)
	r := &running{cancel: cancel, drain: make(chan struct{}), done: make(chan struct{})}
	log := s.log.With("target", t.Name)
	r.sender = &sender{
		src: s, opts: t, owed: s.journal.Open(t.Name), log: log,
		report: newReport(log), max: batchMax, drain: r.drain,
		cut: map[change.Path]time.Time{}, sweeps: newSweeps(), parked: make(chan struct{}, 1), settled: make(chan struct{}, 1),
		gate: g, replan: make(chan struct{}, 1), reverify: make(chan struct{}, 1),
	}
	s.senders[t.Name] = r
	s.reads.DropAll() // nobody knows what the target was sent before
	if sweep {
		r.sender.sweepAll()
	}
	go func() {
		defer close(r.done)
		r.sender.run(ctx)
		t.Transport.Close()
	}()
}

// run sends until ctx ends, or until drain is closed and there is nothing left to send or nobody to take it.
func (s *sender) run(ctx context.Context) {
	if _, ok := s.opts.Transport.(transport.Syncer); ok {
		// Nobody has watched the target since it was last sent to: what was not on its disk then may be gone.
		s.owed.LookAgain()
		defer func() { s.synced(s.losses()) }()
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.runLarge(ctx) })
	wg.Go(func() { s.runSweeps(ctx) })
	wg.Go(func() { s.runSchedule(ctx) })
	wg.Go(func() { s.runVerify(ctx) })
	wg.Go(func() { s.runTrash(ctx) })
	for s.await(ctx) {
		s.batch(ctx)
	}
	cancel()
	wg.Wait()
	// Whoever sends to this target next compares what was not compared.
	for {
		c, ok := s.sweeps.take()
		if !ok {
			break
		}
		s.owed.PutBack(c.marks...)
	}
}

// await returns true when it is time to take a batch.
func (s *sender) await(ctx context.Context) bool {
	draining := false
	drain := s.drain
	// What was acked last may be gone with a connection, also when nothing more is to be sent.
	var lost <-chan struct{}
	if t, ok := s.opts.Transport.(transport.Syncer); ok {
		lost = t.Lost()
	}
	for ctx.Err() == nil {
		if since, inFlight := s.gate.paused(); !since.IsZero() {
			if draining && !inFlight {
				return false
			}
			select {
			case <-ctx.Done():
			case <-drain:
				draining, drain = true, nil
			case <-s.gate.opens():
			case <-s.settled:
			}
			continue
		}
		shut := s.gate.shuts()
		now := time.Now()
		ready := later(s.away.until, s.paced.Add(-paceBurst*s.opts.Pace))
		if ready.After(now) {
			if draining && s.away.until.After(now) {
				return false
			}
			select {
			case <-ctx.Done():
			case <-drain:
				draining, drain = true, nil
			case <-shut:
			case <-time.After(ready.Sub(now)):
			}
			continue
		}
		if s.owed.Pending() {
			s.gather(ctx)
			s.quiet(ctx)
			if since, _ := s.gate.paused(); since.IsZero() {
				return ctx.Err() == nil
			}
			continue
		}
		if draining && !s.owed.Busy() {
			return false
		}
		if !draining && s.unsure() {
			return true
		}
		var due <-chan time.Time
		if at, ok := s.owed.Next(); ok {
			due = time.After(max(0, time.Until(at)))
		}
		select {
		case <-ctx.Done():
		case <-drain:
			draining, drain = true, nil
		case <-shut:
		case <-s.owed.News():
		case <-s.settled:
		case <-lost:
			s.synced(s.losses())
		case <-due:
		}
	}
	return false
}

// ask has the target tried also when it is owed nothing.
func (s *sender) ask() {
	s.asked.Store(true)
	poke(s.settled)
}

// unsure reports whether the target did not work when it was last tried, or somebody asks, and nothing is left that would be tried
// again: the attributes of its directory are sent, to see whether it works by now.
func (s *sender) unsure() bool {
	if !s.report.down() && !s.asked.Load() || s.owed.Busy() {
		return false
	}
	c := s.owed.Counts()
	return c.Waiting == c.Braked
}

// paceBurst is how many batches leave ahead of their pace after a pause, so that single changes are not delayed.
const paceBurst = 4

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// While hail marks or more come in each hailGap, they are waited for, until gatherMax after the start of the last batch.
const (
	hail      = 6
	hailGap   = 6 * time.Millisecond
	gatherMax = 100 * time.Millisecond
)

// gather waits while marks hail down: one batch of all is cheaper than two of a half each. A few marks, and the first
// batch after a pause, do not wait.
func (s *sender) gather(ctx context.Context) {
	end := s.started.Add(gatherMax)
	seq := s.src.journal.Seq()
	fast := time.Duration(seq-s.seq)*hailGap >= hail*time.Since(s.started)
	if s.opts.Pace < 0 || !fast {
		return
	}
	for time.Now().Before(end) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(hailGap):
		}
		now := s.src.journal.Seq()
		if now-seq < hail {
			return
		}
		seq = now
	}
}

// quiet waits until nothing was marked for the quiet period, for ten of them at the most.
func (s *sender) quiet(ctx context.Context) {
	if s.opts.Quiet <= 0 {
		return
	}
	limit := time.After(10 * s.opts.Quiet)
	for {
		select {
		case <-ctx.Done():
			return
		case <-limit:
			return
		case <-s.gate.shuts():
			return
		case <-s.drain:
			return
		case <-time.After(s.opts.Quiet):
			return
		case <-s.owed.News():
		}
	}
}

// batch takes what is owed and sends it: updates first, then what goes.
func (s *sender) batch(ctx context.Context) {
	sess := s.src.session()
	if sess == nil {
		// The root is gone. What is owed stays owed.
		s.away.until = time.Now().Add(200 * time.Millisecond)
		return
	}
	defer sess.users.Done()
	s.turn.Lock()
	defer s.turn.Unlock()
	s.started, s.seq = time.Now(), s.src.journal.Seq()
	s.paced = later(s.paced, s.started).Add(s.opts.Pace)
	marks := s.owed.Take(s.max)
	s.secure()
	if !s.follow(ctx, sess) {
		s.owed.PutBack(marks...)
		return
	}
	p := s.plan(ctx, sess, marks)
	if p.short != nil {
		s.away.fail()
		s.report.failed(p.short, s.away.until)
	}
	if len(p.runs()) == 0 && s.unsure() {
		p.updates.add(change.Root)
	}
	on := true
	for _, run := range p.runs() {
		// What follows a run that was not sent is not sent either.
		on = on && ctx.Err() == nil && !s.away.until.After(time.Now()) && s.gate.enter()
		if !on {
			s.owed.PutBack(run.marks()...)
			continue
		}
		if run.removes() && len(s.owed.Moved()) > 0 {
			// What would go may be what was renamed since the look: the next batch moves it first.
			s.owed.PutBack(run.marks()...)
			s.gate.leave()
			continue
		}
		s.send(ctx, sess, run)
		s.gate.leave()
	}
}

// backoff spaces the tries of a target that does not work.
type backoff struct {
	until time.Time
	tries int
}

const (
	backoffFirst = 200 * time.Millisecond
	backoffMax   = time.Minute
)

func (b *backoff) fail() {
	b.tries++
	b.until = time.Now().Add(jitter(exponential(backoffFirst, backoffMax, b.tries)))
}

func (b *backoff) ok() { *b = backoff{} }

func exponential(first, most time.Duration, tries int) time.Duration {
	d := first << min(tries-1, 20)
	if d <= 0 || d > most {
		return most
	}
	return d
}

// jitter spreads d by a quarter each way, so that many targets do not come at once.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.5*float64(d))
}

// onBatch tells who wants to know.
func (s *sender) onBatch(b transport.Batch, run *run, r transport.Report, took time.Duration, err error) {
	tell := s.src.options().OnBatch
	if tell == nil {
		return
	}
	done := BatchDone{
		Source: s.src.options().Name, Target: s.opts.Name, Op: b.Op, Paths: b.Paths,
		Files: r.Files, Bytes: r.Bytes, Failed: r.Failed, Took: took, Err: err,
	}
	for _, it := range run.items {
		for _, m := range it.marks {
			if done.Oldest.IsZero() || m.Since.Before(done.Oldest) {
				done.Oldest = m.Since
			}
		}
	}
	tell(done)
}
