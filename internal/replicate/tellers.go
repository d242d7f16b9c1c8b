package replicate

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sersync/internal/hook"
	"sersync/internal/journal"
)

// teller tells one hook of one target, or of the source.
type teller struct {
	src *Source
	HookOptions
	// key names it in the journal, target whom it is about; empty for the source.
	key, target string
	// queue holds what is to be told; nil for a kind without paths.
	queue  *journal.Target
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	// retried gets a value when what failed is to be told now.
	retried chan struct{}
	// dying: paths became dead letters since something was told.
	dying atomic.Bool

	mu sync.Mutex
	// calls are those under way, each by a number of its own, with its begin.
	calls  map[uint64]time.Time
	called uint64
	// secured is up to which sequence number the journal is on disk.
	secured        uint64
	told, failures uint64
	at             time.Time
	last           *LastError
}

// ofSource reports whether a kind is about the source, and not about one target.
func ofSource(k hook.Kind) bool { return k == hook.AllTargetsAcked || k == hook.DeletesHeld }

// tellers are those that the options ask for.
func (s *Source) newTellers(o Options) map[string]*teller {
	all := map[string]*teller{}
	add := func(h HookOptions, key, target string) {
		all[key] = &teller{
			src: s, HookOptions: h, key: key, target: target,
			log: s.log.With("hook", h.Name), done: make(chan struct{}), retried: make(chan struct{}, 1), calls: map[uint64]time.Time{},
		}
	}
	for _, h := range o.Hooks {
		if ofSource(h.On) {
			add(h, h.Name, "")
			continue
		}
		for _, t := range o.Targets {
			if h.Target == "" || h.Target == t.Name {
				add(h, h.Name+" "+t.Name, t.Name)
			}
		}
	}
	return all
}

// exchange is what a change of the options does to tellers. The zero exchange does nothing.
type exchange struct {
	ended, fresh []*teller
	planned      bool
}

// planTellers puts those in place that the options ask for, so that they hear of what is acked from now on. A hook that did not
// change is not disturbed; one that did keeps what it is to be told. The source is locked.
func (s *Source) planTellers(o Options) exchange {
	x := exchange{planned: true}
	wanted := s.newTellers(o)
	for key, t := range s.tellers {
		if n := wanted[key]; n != nil && n.Identity == t.Identity {
			wanted[key] = t
		} else {
			x.ended = append(x.ended, t)
		}
	}
	for key, t := range wanted {
		if s.tellers[key] == t {
			continue
		}
		if t.On.OfPaths() {
			q := journal.HookOptions{Wants: t.Wants, Max: t.Most}
			if t.On == hook.AllTargetsAcked {
				q.Together = t.MaxWait
			}
			t.queue = s.journal.OpenHook(key, q)
		}
		t.ctx, t.cancel = context.WithCancel(s.ctx)
		x.fresh = append(x.fresh, t)
	}
	s.tellers = wanted
	return x
}

// exchangeTellers ends tellers, and starts those that take their place. It is not called twice at the same time.
func (s *Source) exchangeTellers(x exchange) {
	if !x.planned {
		return
	}
	s.endTellers(x.ended)
	queues, facts := map[string]bool{}, map[string]bool{}
	for _, t := range s.hooks() {
		queues[t.key] = t.queue != nil
		facts[t.fact()] = t.queue == nil
	}
	for _, name := range s.journal.Hooks() {
		if !queues[name] {
			s.log.Info("a hook is no longer configured, what it was not told is forgotten", "hook", name)
			s.journal.DropHook(name)
		}
	}
	s.journal.DropFacts(func(name string) bool { return strings.HasPrefix(name, levelFact) && !facts[name] })
	for _, t := range x.fresh {
		go func() {
			defer close(t.done)
			if t.queue != nil {
				t.run(t.ctx)
			} else {
				t.watch(t.ctx)
			}
		}()
	}
}

// endTime bounds the wait for calls that do not end though they are told to.
const endTime = 10 * time.Second

// endTellers ends tellers. What they were not told stays in the journal.
func (s *Source) endTellers(all []*teller) {
	for _, t := range all {
		t.cancel()
	}
	late := time.After(endTime)
	for _, t := range all {
		select {
		case <-t.done:
		case <-late:
			t.log.Error("a hook does not end, it is left behind")
			late = time.After(0)
		}
	}
}

// stopTellers ends all tellers for good.
func (s *Source) stopTellers() {
	s.exchanging.Lock()
	defer s.exchanging.Unlock()
	s.endTellers(s.hooks())
}

// hooks are all tellers, in the order of their keys.
func (s *Source) hooks() []*teller {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*teller, 0, len(s.tellers))
	for _, t := range s.tellers {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *teller) int { return cmp.Compare(a.key, b.key) })
	return all
}

// hearing are the tellers that are told of a kind of event of a target.
func (s *Source) hearing(target string, kinds ...hook.Kind) (all []*teller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tellers {
		if slices.Contains(kinds, t.On) && (t.target == "" || t.target == target) {
			all = append(all, t)
		}
	}
	return all
}
