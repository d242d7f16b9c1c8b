package replicate

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sersync/internal/change"
	"sersync/internal/hook"
	"sersync/internal/journal"
)

// HookOptions are all that one hook needs to know. The zero value of a duration or bound is its default.
type HookOptions struct {
	// Name names the hook in logs, status and metrics; unique within the source.
	Name string
	On   hook.Kind
	// Target is the one whose events it is told of; empty for all, each by itself.
	Target string
	Hook   hook.Hook
	// Identity changes when anything of the hook's configuration changes, and with it the Hook must be another.
	Identity string
	// Wants reports whether a path is told to which that happened (change.Gone, change.WasDir); nil is every path. It is safe for
	// concurrent use.
	Wants func(p change.Path, what change.Bits) bool
	// Paths is how many paths one event may have. Default 1000.
	Paths int
	// Gather is for how long paths are gathered before they are told. Default 0.
	Gather time.Duration
	// Timeout bounds one call. Default 30 s.
	Timeout time.Duration
	// DeadAfter is how many times a path is told in vain before it is a dead letter of the hook. Default 12.
	DeadAfter int
	// Concurrency is how many calls may be under way at one time. Default 1.
	Concurrency int
	// MaxWait is how long hook.AllTargetsAcked waits for a target. Default 10 min.
	MaxWait time.Duration
	// After is for how long a state must last before it is told; of hook.Behind how old the oldest change must be.
	After time.Duration
	// Most bounds the queue, in paths. Default 100,000.
	Most int
}

func (o HookOptions) complete() HookOptions {
	o.Paths = orElse(o.Paths, 1000)
	o.Timeout = orElse(o.Timeout, 30*time.Second)
	o.DeadAfter = orElse(o.DeadAfter, 12)
	o.Concurrency = orElse(o.Concurrency, 1)
	o.Most = orElse(o.Most, 100_000)
	// What is in flight makes no room in the queue.
	o.Paths = min(o.Paths, max(1, o.Most/(2*o.Concurrency)))
	o.MaxWait = orElse(o.MaxWait, 10*time.Minute)
	return o
}

// completeHooks fills in the defaults of the hooks, and checks them.
func (o *Options) completeHooks() error {
	o.Hooks = slices.Clone(o.Hooks)
	seen := map[string]bool{}
	for i := range o.Hooks {
		h := &o.Hooks[i]
		*h = h.complete()
		switch {
		case h.Hook == nil || !slices.Contains(hook.Kinds(), h.On):
			return fmt.Errorf("replicate source %q: hook %q is about %q and does nothing", o.Path, h.Name, h.On)
		case seen[h.Name]:
			return fmt.Errorf("replicate source %q: two hooks are named %q", o.Path, h.Name)
		case len(o.Targets) == 0 && h.On != hook.AllTargetsAcked:
			return fmt.Errorf("replicate source %q: hook %q is about targets, and there is none", o.Path, h.Name)
		}
		seen[h.Name] = true
	}
	if len(o.Targets) == 0 && len(o.Hooks) == 0 {
		return fmt.Errorf("replicate source %q: no target", o.Path)
	}
	return nil
}

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

// HookStatus is what there is to say of one hook. Its JSON form is an interface: fields are added, never changed.
type HookStatus struct {
	Name string `json:"name"`
	// On is the kind of events that it is told of, Target whose; empty for those of the source.
	On     string `json:"on"`
	Target string `json:"target,omitempty"`
	// Waiting is how many paths it is to be told of, all but dead ones; Lag is for how many seconds the oldest waits.
	Waiting  int     `json:"waiting"`
	Retrying int     `json:"retrying"`
	Dead     int     `json:"dead"`
	Lag      float64 `json:"lag_seconds"`
	// Told and Failures count the calls since the start; ToldAt is when it was told last.
	Told     uint64     `json:"told"`
	Failures uint64     `json:"failures"`
	ToldAt   *time.Time `json:"told_at,omitempty"`
	// Calling is since when the oldest call is under way, Timeout how many seconds a call may take.
	Calling *time.Time `json:"calling,omitempty"`
	Timeout float64    `json:"timeout_seconds"`
	// Folded is how often the queue was full since the start, so that directories stand for the paths below them.
	Folded    int        `json:"folded"`
	LastError *LastError `json:"last_error,omitempty"`
}

func (t *teller) status() HookStatus {
	s := HookStatus{Name: t.Name, On: string(t.On), Target: t.target, Timeout: t.Timeout.Seconds()}
	if t.queue != nil {
		c := t.queue.Counts()
		s.Waiting, s.Retrying, s.Dead, s.Folded = c.Waiting, c.Retrying, c.Dead, t.queue.Folded()
		if !c.Oldest.IsZero() {
			s.Lag = time.Since(c.Oldest).Seconds()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Told, s.Failures, s.LastError = t.told, t.failures, t.last
	if at := t.at; !at.IsZero() {
		s.ToldAt = &at
	}
	for _, since := range t.calls {
		if s.Calling == nil || since.Before(*s.Calling) {
			s.Calling = &since
		}
	}
	return s
}

// RetryHooks tells again now what hooks could not be told, dead letters too. name is that of a hook, or empty for all. It
// returns how many paths that are, and an error when there is no such hook.
func (s *Source) RetryHooks(name string) (count int, err error) {
	known := name == ""
	for _, t := range s.hooks() {
		if name != "" && t.Name != name {
			continue
		}
		known = true
		if t.queue != nil {
			count += t.queue.Retry()
			poke(t.retried)
		}
	}
	if !known {
		return 0, s.noHook(name)
	}
	return count, nil
}

// ForgetHooks forgets the dead letters of hooks. name is that of a hook, or empty for all. It returns how many paths that are, and
// an error when there is no such hook.
func (s *Source) ForgetHooks(name string) (count int, err error) {
	known := name == ""
	for _, t := range s.hooks() {
		if name != "" && t.Name != name {
			continue
		}
		known = true
		if t.queue != nil {
			dead, _ := t.queue.List(PathsMax, journal.Dead)
			count += len(t.queue.Forget(dead...))
		}
	}
	if !known {
		return 0, s.noHook(name)
	}
	return count, nil
}

func (s *Source) noHook(name string) error {
	return fmt.Errorf("source %q has no hook %q", s.options().Name, name)
}

// TestHook calls a hook once with an event that says that it is a test, about a path when it is told of paths.
func (s *Source) TestHook(ctx context.Context, name string, about change.Path) error {
	for _, t := range s.hooks() {
		if t.Name != name {
			continue
		}
		e := t.event()
		e.Test = true
		if t.On.OfPaths() {
			e.Paths = []hook.Path{{Path: about, What: hook.Updated, Since: e.Time}}
		} else {
			e.State, e.Since = "test", e.Time
		}
		e.ID = idOf(t.key, nil)
		return t.once(ctx, e)
	}
	return s.noHook(name)
}
