package replicate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sersync/internal/hook"
	"sersync/internal/replicate"
	"sersync/internal/transport/rsync"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// listener is a hook that keeps what it is told.
type listener struct {
	mu     sync.Mutex
	events []hook.Event
	// refuse, when not nil, says whether an event is taken.
	refuse func(context.Context, hook.Event) error
}

func (l *listener) Tell(ctx context.Context, e hook.Event) error {
	l.mu.Lock()
	refuse := l.refuse
	l.mu.Unlock()
	if refuse != nil {
		if err := refuse(ctx, e); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	return nil
}

func (l *listener) refusing(refuse func(context.Context, hook.Event) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

// heard are the events so far.
func (l *listener) heard() []hook.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// last is what was told of a path last; "" when nothing was.
func (l *listener) last(p string) (last hook.What) {
	for _, e := range l.heard() {
		for _, x := range e.Paths {
			if string(x.Path) == p {
				last = x.What
			}
		}
	}
	return last
}

// paths are all that was told, in its order.
func (l *listener) paths() (all []string) {
	for _, e := range l.heard() {
		for _, x := range e.Paths {
			all = append(all, string(x.Path)+" "+string(x.What))
		}
	}
	return all
}

// hooked is a rig with one hook.
func hooked(t *testing.T, o replicate.HookOptions, change func(*rig)) (*rig, *listener) {
	t.Helper()
	l := &listener{}
	o.Name, o.Hook = "test", l
	r := newRig(t, func(r *rig) {
		r.opts.Initial = false
		r.opts.Hooks = []replicate.HookOptions{o}
		if change != nil {
			change(r)
		}
	})
	return r, l
}

// A hook is told of what the target has, after it has it, and of what is gone there after it went.
func TestHookIsToldOfWhatTheTargetHas(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.Acked}, nil)
	var wrong []string
	l.refusing(func(_ context.Context, e hook.Event) error {
		for _, p := range e.Paths {
			if there := r.exists("one", string(p.Path)); there != (p.What == hook.Updated) {
				wrong = append(wrong, fmt.Sprintf("%s %s, there: %v", p.Path, p.What, there))
			}
		}
		return nil
	})
	r.write("before", "x")
	r.ticked("before")
	r.start()
	r.wait()
	r.write("d/f", "x")
	r.eventually("the file is told", func() bool { return l.last("d/f") == hook.Updated && l.last("d") == hook.Updated })
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.eventually("the removal is told", func() bool { return l.last("d") == hook.Removed })
	if len(wrong) > 0 {
		t.Errorf("told what is not so: %q", wrong)
	}
	// The time of the directory goes with it, which is nothing to tell.
	r.write("e/f", "x")
	r.write("e/g", "x")
	r.eventually("the directory is told when it is made", func() bool { return l.last("e") == hook.Updated && l.last("e/g") == hook.Updated })
	before := len(l.paths())
	r.must(os.Remove(filepath.Join(r.dir, "e/g")))
	r.wait()
	r.eventually("the second removal is told", func() bool { return l.last("e/g") == hook.Removed })
	r.write("e/h", "x")
	r.eventually("another file is told", func() bool { return l.last("e/h") == hook.Updated })
	if got := l.paths()[before:]; !slices.Equal(got, []string{"e/g removed", "e/h updated"}) {
		t.Errorf("told of %q", got)
	}
	for _, e := range l.heard() {
		if e.Target != "one" || e.Source != "test" || e.Root != r.dir || e.On != hook.Acked || e.ID == "" {
			t.Errorf("event %+v", e)
		}
		for _, p := range e.Paths {
			if p.Path == "before" {
				t.Errorf("told of what did not change: %+v", e)
			}
			if p.Dir != (p.Path == "d" || p.Path == "e") {
				t.Errorf("not of that type: %+v", p)
			}
		}
	}
}

// A comparison that brings something tells of that, and of nothing else.
func TestHookIsToldOfWhatAComparisonBrings(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.Acked}, nil)
	for i := range 20 {
		r.write(fmt.Sprintf("d/f%02d", i), "x")
	}
	r.start()
	r.wait()
	r.must(r.src.Sweep())
	r.equal("one")
	r.eventually("all is told", func() bool { return len(l.paths()) >= 20 })
	r.must(os.Remove(filepath.Join(r.daemon.Dir("one"), "d/f07")))
	before := len(l.paths())
	r.must(r.src.Sweep())
	r.equal("one")
	r.eventually("the repair is told", func() bool { return len(l.paths()) > before })
	for _, p := range l.paths()[before:] {
		if !strings.HasPrefix(p, "d/f07 ") {
			t.Errorf("told of %q, which was there", p)
		}
	}
}

// A hook that hangs changes nothing for the target; its queue is bounded, and directories stand for what had no room.
func TestHangingHookIsInNobodysWay(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.Acked, Most: 1000, Timeout: time.Hour}, nil)
	hang := make(chan struct{})
	l.refusing(func(ctx context.Context, _ hook.Event) error {
		select {
		case <-hang:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	r.start()
	r.wait()
	const files = 10_000
	for i := range files {
		r.write(fmt.Sprintf("d%d/e%d/f%d", i%10, i%100/10, i), "x")
	}
	r.equal("one")
	s := r.src.Status()
	if h := s.Hooks[0]; h.Waiting > 1000+1000 || h.Folded == 0 || h.Calling == nil {
		t.Errorf("the hook's status: %+v", h)
	}
	if one := s.Targets[0]; one.Waiting != 0 || one.Lag != 0 {
		t.Errorf("the target's status: %+v", one)
	}
	close(hang)
	told := map[string]bool{}
	r.eventually("all is told, one way or the other", func() bool {
		clear(told)
		for _, e := range l.heard() {
			for _, p := range e.Paths {
				told[string(p.Path)] = told[string(p.Path)] || p.What == hook.Updated
				if p.What == hook.Many {
					told[string(p.Path)+"/"] = true
				}
			}
		}
		for i := range files {
			dir := fmt.Sprintf("d%d/e%d", i%10, i%100/10)
			if !told[fmt.Sprintf("%s/f%d", dir, i)] && !told[dir+"/"] && !told[dir[:2]+"/"] && !told["/"] {
				return false
			}
		}
		return true
	})
	r.eventually("nothing waits", func() bool { return r.src.Status().Hooks[0].Waiting == 0 })
}

// What all targets are to have is told when the last one has it; a target that is away is waited for until a limit, and named.
func TestHookOfAllTargetsNamesThoseThatLackIt(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.AllTargetsAcked, MaxWait: 3 * time.Second}, nil)
	other := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "two", Lines: []string{"use chroot = yes"}}}})
	r.opts.Targets = append(r.opts.Targets, r.target("two", func(o *rsync.Options) { o.Port, o.PasswordFile = other.Port(), other.PasswordFile() }))
	r.start()
	r.wait()
	r.write("both", "x")
	r.eventually("what both have is told", func() bool { return l.last("both") == hook.Updated })
	if e := l.heard()[0]; !slices.Equal(e.Targets, []string{"one", "two"}) || len(e.Missing) > 0 || e.Target != "" {
		t.Errorf("event %+v", e)
	}
	other.Stop()
	r.write("late", "x")
	r.wait("one")
	if l.last("late") != "" {
		t.Error("told before both have it")
	}
	r.eventually("it is told after the limit", func() bool { return l.last("late") == hook.Updated })
	events := l.heard()
	if e := events[len(events)-1]; !slices.Equal(e.Targets, []string{"one"}) || !slices.Equal(e.Missing, []string{"two"}) {
		t.Errorf("event %+v", e)
	}
	before := len(events)
	other.Restart()
	r.wait()
	r.eventually("it is told once more when it is there", func() bool { return len(l.heard()) > before })
}

// A hook that fails is told again, later and later, at last as a dead letter; one path that fails does not keep the others back.
func TestPathThatFailsTheHookIsADeadLetterOfIt(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.Acked, DeadAfter: 2, Paths: 8}, nil)
	l.refusing(func(_ context.Context, e hook.Event) error {
		for _, p := range e.Paths {
			if p.Path == "poison" {
				return errors.New("it does not agree with me")
			}
		}
		return nil
	})
	r.start()
	r.wait()
	r.write("poison", "x")
	for i := range 5 {
		r.write(fmt.Sprintf("f%d", i), "x")
	}
	r.equal("one")
	r.eventually("the others are told", func() bool {
		for i := range 5 {
			if l.last(fmt.Sprintf("f%d", i)) == "" {
				return false
			}
		}
		return true
	})
	r.eventually("the path is a dead letter", func() bool { return r.src.Status().Hooks[0].Dead == 1 })
	s := r.src.Status()
	if h := s.Hooks[0]; h.Failures < 2 || h.LastError == nil || !strings.Contains(h.LastError.Text, "agree") {
		t.Errorf("the hook's status: %+v", h)
	}
	if s.Targets[0].State != "idle" || s.Targets[0].Dead != 0 {
		t.Errorf("the target's status: %+v", s.Targets[0])
	}
	l.refusing(nil)
	if n, err := r.src.RetryHooks("test"); n != 1 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	r.eventually("it is told in the end", func() bool { return l.last("poison") == hook.Updated })
	if _, err := r.src.RetryHooks("none"); err == nil {
		t.Error("a hook that is not there was retried")
	}
}

// P2 for hooks: what was acked and not told is told after a kill, and so is what was acked and is in no journal.
func TestHookIsToldAfterAKill(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.Acked}, func(r *rig) { r.opts.StateDir = r.t.TempDir() })
	l.refusing(func(context.Context, hook.Event) error { return errors.New("not now") })
	r.start()
	r.wait()
	r.write("acked/and/kept", "x")
	r.must(os.WriteFile(filepath.Join(r.dir, "goes"), []byte("x"), 0o644))
	r.equal("one")
	r.must(os.Remove(filepath.Join(r.dir, "goes")))
	r.equal("one")
	saved := r.saved()
	r.write("acked/only", "x")
	r.equal("one")
	r.stop()
	r.must(os.WriteFile(r.journalFile(), saved, 0o600))
	l.refusing(nil)
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
	r.start()
	r.eventually("all is told", func() bool {
		return l.last("acked/and/kept") == hook.Updated && l.last("goes") == hook.Removed && l.last("acked/only") == hook.Updated
	})
}

// A source without targets tells of what is marked: what -m of 2.5.4 was for.
func TestHookWithoutTargetsIsToldOfWhatIsMarked(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.AllTargetsAcked}, func(r *rig) { r.opts.Targets = nil })
	r.write("before", "x")
	r.ticked("before")
	r.start()
	r.wait()
	r.eventually("the source is read", func() bool { return r.src.Status().State == "watching" })
	r.write("d/f", "x")
	r.eventually("it is told", func() bool { return l.last("d/f") == hook.Updated && l.last("d") == hook.Updated })
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.eventually("the removal is told", func() bool { return l.last("d") == hook.Removed })
	if l.last("before") != "" {
		t.Errorf("told of what did not change: %q", l.paths())
	}
}

// States are told once when they begin, and target-up when it is over.
func TestHooksAreToldOfStates(t *testing.T) {
	t.Parallel()
	kinds := []hook.Kind{hook.TargetDown, hook.TargetUp, hook.Behind, hook.DeletesHeld, hook.Failed}
	all := map[hook.Kind]*listener{}
	r := newRig(t, func(r *rig) {
		for _, k := range kinds {
			all[k] = &listener{}
			o := replicate.HookOptions{Name: string(k), On: k, Hook: all[k]}
			if k == hook.Behind {
				o.After = time.Second
			}
			r.opts.Hooks = append(r.opts.Hooks, o)
		}
	})
	told := func(k hook.Kind) []hook.Event { return all[k].heard() }
	r.write("a", "x")
	r.write("b", "x")
	r.start()
	r.equal("one")
	r.daemon.Stop()
	r.write("c", "x")
	r.eventually("down and behind are told", func() bool { return len(told(hook.TargetDown)) == 1 && len(told(hook.Behind)) == 1 })
	if e := told(hook.TargetDown)[0]; e.State != "away" || e.Error == "" || e.Target != "one" || e.Since.IsZero() || len(e.Paths) > 0 {
		t.Errorf("event %+v", e)
	}
	if e := told(hook.Behind)[0]; e.Lag < time.Second || e.Waiting == 0 {
		t.Errorf("event %+v", e)
	}
	r.daemon.Restart()
	r.equal("one")
	r.eventually("up is told", func() bool { return len(told(hook.TargetUp)) == 1 })
	r.must(os.Rename(r.dir, r.dir+".away"))
	r.eventually("that removals are held is told", func() bool { return len(told(hook.DeletesHeld)) == 1 })
	if e := told(hook.DeletesHeld)[0]; e.State != "root-gone" || e.Hint == "" || e.Target != "" {
		t.Errorf("event %+v", e)
	}
	r.must(os.Rename(r.dir+".away", r.dir))
	if n := len(told(hook.TargetDown)); n != 1 {
		t.Errorf("down is told %d times", n)
	}
	for _, k := range kinds {
		if k != hook.Failed {
			continue
		}
		if n := len(told(k)); n != 0 {
			t.Errorf("told of %d failures, and no path failed", n)
		}
	}
}

// A path that fails is told with why, and as a dead letter once more.
func TestHookIsToldOfPathsThatFail(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.Failed}, func(r *rig) {
		o := r.target("one", nil)
		o.DeadAfter = 2
		r.opts.Targets = []replicate.TargetOptions{o}
	})
	r.start()
	r.wait()
	r.must(os.Mkdir(filepath.Join(r.daemon.Dir("one"), "d"), 0o755))
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "d/f"), nil, 0o644))
	immutable(t, filepath.Join(r.daemon.Dir("one"), "d"), true)
	t.Cleanup(func() { immutable(t, filepath.Join(r.daemon.Dir("one"), "d"), false) })
	r.write("d/g", "x")
	r.eventually("it is told as a dead letter", func() bool {
		for _, e := range l.heard() {
			for _, p := range e.Paths {
				if p.Path == "d/g" && p.What == hook.NotTaken && p.Dead && p.Tries == 2 && p.Error != "" {
					return true
				}
			}
		}
		return false
	})
}

// A reload ends hooks, starts hooks, and leaves alone what did not change; what a hook was not told yet stays.
func TestReloadOfHooksKeepsWhatIsToBeTold(t *testing.T) {
	t.Parallel()
	r, l := hooked(t, replicate.HookOptions{On: hook.Acked, Identity: "first"}, nil)
	l.refusing(func(context.Context, hook.Event) error { return errors.New("not now") })
	r.start()
	r.wait()
	r.write("f", "x")
	r.equal("one")
	r.eventually("it cannot be told", func() bool { return r.src.Status().Hooks[0].Failures > 0 })
	second := &listener{}
	r.opts.Hooks = []replicate.HookOptions{{Name: "test", On: hook.Acked, Hook: second, Identity: "second"}}
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
	r.must(r.src.Reload(r.opts))
	r.eventually("the changed hook is told", func() bool { return second.last("f") == hook.Updated })
	r.opts.Hooks = nil
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
	r.must(r.src.Reload(r.opts))
	r.write("g", "x")
	r.equal("one")
	if s := r.src.Status(); len(s.Hooks) != 0 || second.last("g") != "" {
		t.Errorf("hooks %+v, told %q", s.Hooks, second.paths())
	}
}

// What a hook was told last is known after a restart: a target that is back is told, though it is owed nothing.
func TestTargetThatIsBackAfterARestartIsTold(t *testing.T) {
	t.Parallel()
	down, up := &listener{}, &listener{}
	r := newRig(t, func(r *rig) {
		r.opts.Initial = false
		r.opts.StateDir = t.TempDir()
		r.opts.Hooks = []replicate.HookOptions{
			{Name: "down", On: hook.TargetDown, Hook: down}, {Name: "up", On: hook.TargetUp, Hook: up},
		}
	})
	r.start()
	r.wait()
	r.daemon.Stop()
	r.write("f", "x")
	r.eventually("that it is down is told and kept", func() bool {
		k := r.src.Status().Journal
		return len(down.heard()) == 1 && k.Saved != nil && k.Unsaved == 0
	})
	r.stop()
	r.daemon.Restart()
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
	r.start()
	r.eventually("that it is up is told", func() bool { return len(up.heard()) == 1 })
	if n := len(down.heard()); n != 1 {
		t.Errorf("that it is down was told %d times", n)
	}
}
