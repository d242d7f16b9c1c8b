package replicate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/scan"
	"sersync/internal/transport"
)

// drainTime bounds what a stop waits for: what is in flight, and what is owed to targets that answer.
const drainTime = 10 * time.Second

// flushTime bounds the marking of what was written before a stop: events, and what is below new directories.
const flushTime = 3 * time.Second

// Source replicates one directory tree to its targets.
type Source struct {
	log     *slog.Logger
	journal *journal.Journal
	brake   brake
	ready   chan struct{}
	// primed is closed when the index has seen the whole tree once. Sweeps wait for it, so that
	// what changes while they compare is watched.
	primed chan struct{}
	prime  sync.Once
	marks  atomic.Uint64
	reads  *transport.Reads

	mu      sync.Mutex
	opts    Options
	senders map[string]*running
	tellers map[string]*teller
	// exchanging is held while tellers are ended and started.
	exchanging sync.Mutex
	// current is nil before the root was opened and while it is gone.
	current *session
	state   string
	// unopened is why a root that went cannot be opened and watched again.
	unopened string
	// closing are the sessions that are over and still in use.
	closing sync.WaitGroup
	// stopping: Run is about to end and starts no sender any more.
	stopping bool
	// stopped is closed when Run has returned.
	stopped chan struct{}
	// ctx is that of the senders: it outlives the one of Run while they drain. Nil before Run.
	ctx context.Context
	// notKept is why the journal is in memory alone.
	notKept error
	// clean: all that happened before the stop is in the journal.
	clean atomic.Bool
	// torn: the targets may have more than the index tells of.
	torn atomic.Bool
}

// New checks the options. It opens and starts nothing.
func New(opts Options) (*Source, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	return &Source{
		log:     opts.Log.With("source", opts.Name),
		journal: journal.New(0),
		ready:   make(chan struct{}),
		stopped: make(chan struct{}),
		primed:  make(chan struct{}),
		opts:    opts,
		senders: map[string]*running{},
		reads:   transport.NewReads(),
		state:   "starting",
	}, nil
}

// complete fills in the defaults.
func (o Options) complete() (Options, error) {
	if !filepath.IsAbs(o.Path) {
		return o, fmt.Errorf("replicate source %q: the path is not absolute", o.Path)
	}
	if o.NewWatcher == nil {
		return o, fmt.Errorf("replicate source %q: no watcher", o.Path)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name = o.Path
	}
	o.GapEvery = orElse(o.GapEvery, 30*time.Second)
	o.MoveLeast = orElse(o.MoveLeast, 1<<20)
	o.MoveFileLeast = orElse(o.MoveFileLeast, 128<<10)
	o.RemovalBudget = o.RemovalBudget.complete()
	seen := map[string]bool{}
	o.Targets = append([]TargetOptions(nil), o.Targets...)
	for i := range o.Targets {
		t := &o.Targets[i]
		if seen[t.Name] {
			return o, fmt.Errorf("replicate source %q: two targets are named %q", o.Path, t.Name)
		}
		seen[t.Name] = true
		if t.Transport == nil {
			return o, fmt.Errorf("replicate source %q: target %q has no transport", o.Path, t.Name)
		}
		t.Pace = orElse(t.Pace, 40*time.Millisecond)
		t.Large = orElse(t.Large, 64<<20)
		t.DeadAfter = orElse(t.DeadAfter, 12)
		t.Settle = orElse(t.Settle, 200*time.Second)
	}
	return o, o.completeHooks()
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Run replicates until ctx ends; then what is in flight is finished and what is owed to targets that answer is
// sent, for at most ten seconds, and nil is returned. It returns an error when the root cannot be opened or
// watched at the start, or when watching breaks for good. The transports of the targets are closed when it returns.
func (s *Source) Run(ctx context.Context) error {
	defer close(s.stopped)
	first, err := s.open()
	if err != nil {
		s.closeTransports()
		return err
	}
	if err := s.recall(first); err != nil {
		first.close()
		s.closeTransports()
		return err
	}
	defer s.closeJournal()
	s.begin()
	senders, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(senders)
	}()
	defer func() {
		stop()
		<-kept
	}()
	s.exchanging.Lock()
	s.mu.Lock()
	s.ctx = senders
	s.state = "scanning"
	x := s.planTellers(s.opts)
	for _, t := range s.opts.Targets {
		s.start(t, false, newGate())
	}
	s.mu.Unlock()
	s.exchangeTellers(x)
	s.exchanging.Unlock()
	defer s.stopTellers()

	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	flushed := make(chan struct{})
	running := context.AfterFunc(ctx, func() {
		defer close(flushed)
		defer unwatch()
		// What was written before the stop is marked, so that it can still be sent.
		ctx, cancel := context.WithTimeout(watching, flushTime)
		defer cancel()
		s.clean.Store(s.finish(ctx))
	})
	err = s.watch(watching, first)
	if !running() {
		<-flushed
	}
	s.drain()
	s.leave()
	s.closing.Wait()
	return err
}

// open opens root and watcher, and watches the root itself.
func (s *Source) open() (*session, error) {
	opts := s.options()
	root, err := scan.OpenRoot(opts.Path)
	if err != nil {
		return nil, err
	}
	watcher, err := opts.NewWatcher(root)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("watch source root %q: %w", opts.Path, err)
	}
	opened := scan.Now()
	if err := watcher.Cover(int(root.File().Fd()), change.Root); err != nil {
		return nil, errors.Join(fmt.Errorf("watch source root %q: %w", opts.Path, err), watcher.Close(), root.Close())
	}
	sess := newSession(s, root, watcher, opts)
	sess.opened = opened
	return sess, nil
}

// watch runs one session after the other: a new one each time the root is there again.
func (s *Source) watch(ctx context.Context, first *session) error {
	for sess := first; ; {
		s.mu.Lock()
		s.current = sess
		filter := s.opts.Filter
		s.mu.Unlock()
		// It may have changed while the root was being opened.
		sess.observer.SetFilter(filter)
		if sess == first {
			close(s.ready)
		}
		if err := sess.run(ctx); err != nil || ctx.Err() != nil {
			return err // the senders still drain from this session
		}
		s.leave()
		if sess = s.reopen(ctx, sess.there); sess == nil {
			return nil
		}
	}
}

// leave ends the use of the current session.
func (s *Source) leave() {
	s.mu.Lock()
	sess := s.current
	s.current = nil
	s.mu.Unlock()
	if sess != nil {
		s.closing.Go(sess.close)
	}
}

// reopen waits until the root can be opened again; nil when ctx ends. Removals are held unless it is the one that
// was there at the start. What happened to it since then was not watched.
func (s *Source) reopen(ctx context.Context, since time.Time) *session {
	s.setState("root-gone")
	s.brake.engage(s.log, rootGone, "the source root is not there any more: "+scan.ErrRootGone.Error())
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		sess, err := s.open()
		s.cannotOpen(err)
		if err != nil {
			continue
		}
		sess.heal(since)
		s.back(sess)
		s.setState("scanning")
		return sess
	}
}

// cannotOpen keeps why the root cannot be opened and watched again, once it is back, and says it once.
func (s *Source) cannotOpen(err error) {
	why := ""
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		why = err.Error()
	}
	s.mu.Lock()
	news := why != s.unopened
	s.unopened = why
	s.mu.Unlock()
	if news && why != "" {
		s.log.Error("the source root cannot be watched again yet", "error", err)
	}
}

// back says that the root of sess is the one that its name leads to. Removals that wait for a root are
// released when it is the one that was there before.
func (s *Source) back(sess *session) {
	if s.brake.isHome(sess.root.Stat()) {
		s.release("the source root is as it was", rootGone, rootReplaced)
		return
	}
	s.brake.engage(s.log, rootReplaced, scan.ErrRootReplaced.Error())
}

// drain stops the senders: those whose target answers have a while to send what is owed.
func (s *Source) drain() {
	s.mu.Lock()
	s.stopping = true
	senders := slices.Collect(maps.Values(s.senders))
	s.mu.Unlock()
	for _, r := range senders {
		close(r.drain)
	}
	late := time.AfterFunc(drainTime, func() {
		for _, r := range senders {
			r.cancel()
		}
	})
	defer late.Stop()
	for _, r := range senders {
		<-r.done
		r.cancel()
	}
}

// Ready is closed once the root is open and watched; the scan may still be under way.
func (s *Source) Ready() <-chan struct{} { return s.ready }

func (s *Source) setState(state string) {
	s.mu.Lock()
	changed := s.state != state
	s.state = state
	s.mu.Unlock()
	if changed {
		s.log.Info("source state", "state", state)
	}
}

// session is the root that is open now, nil while it is gone. It stays open until users.Done is called.
func (s *Source) session() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.users.Add(1)
	}
	return s.current
}

func (s *Source) options() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts
}

func (s *Source) closeTransports() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.opts.Targets {
		t.Transport.Close()
	}
}

// Approve releases the removals that a brake holds: what the source looks like now is meant. The removal budget
// is counted from now on.
func (s *Source) Approve() {
	if sess := s.session(); sess != nil {
		s.brake.moveHome(sess.root.Stat())
		s.journal.SetFact(homeFact, homeOf(sess.root))
		// What is mounted again is watched again.
		sess.walks.add(change.Root, time.Now())
		sess.users.Done()
	}
	s.release("approved", rootGone, rootReplaced, rootEmpty, mountChanged, removalBudget, journalLost)
}

func (s *Source) release(why string, kinds ...string) {
	if !s.brake.release(s.log, why, kinds...) {
		return
	}
	for _, r := range s.running() {
		r.sender.owed.Release()
	}
}

func (s *Source) running() []*running {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*running, 0, len(s.senders))
	for _, t := range s.opts.Targets {
		if r := s.senders[t.Name]; r != nil {
			all = append(all, r)
		}
	}
	return all
}
