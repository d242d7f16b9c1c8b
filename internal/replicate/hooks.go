package replicate

import (
	"context"
	"fmt"
	"slices"
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
	return s.eachQueue(name, func(t *teller) int {
		defer poke(t.retried)
		return t.queue.Retry()
	})
}

// ForgetHooks forgets the dead letters of hooks. name is that of a hook, or empty for all. It returns how many paths that are, and
// an error when there is no such hook.
func (s *Source) ForgetHooks(name string) (count int, err error) {
	return s.eachQueue(name, func(t *teller) int {
		dead, _ := t.queue.List(PathsMax, journal.Dead)
		return len(t.queue.Forget(dead...))
	})
}

// eachQueue does something with the queues of a hook, or of all when the name is empty, and sums up.
func (s *Source) eachQueue(name string, do func(*teller) int) (count int, err error) {
	known := name == ""
	for _, t := range s.hooks() {
		if name != "" && t.Name != name {
			continue
		}
		known = true
		if t.queue != nil {
			count += do(t)
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
