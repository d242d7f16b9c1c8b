package replicate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

// must ends the test on an error.
func (f *fake) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// sent are the paths that were handed to a target since the last call.
func (f *fake) sent(target string) []change.Path {
	var paths []change.Path
	for _, c := range f.targets[target].take() {
		paths = append(paths, c.paths...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// state is the state of a target.
func (f *fake) state(target string) string {
	for _, t := range f.src.Status().Targets {
		if t.Name == target {
			return t.State
		}
	}
	return ""
}

// sweeps makes a target note when it is compared, for as long as compare takes.
func (f *fake) sweeps(target string, compare func(context.Context) error) *[]time.Duration {
	start := time.Now()
	var at []time.Duration
	tr := f.targets[target]
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sweep = func(ctx context.Context, _ transport.Sweep, _ func(transport.Difference) error) error {
		at = append(at, time.Since(start))
		if compare == nil {
			return nil
		}
		return compare(ctx)
	}
	return &at
}

func two(f *fake) { f.target("two") }

func TestPausedTargetGetsNothingUntilItIsResumedAndThenAll(t *testing.T) {
	inBubble(t, two, func(f *fake) {
		f.must(f.src.Pause("one"))
		f.write("a", "d/b")
		f.rest(time.Hour)
		f.write("c")
		f.rest(time.Hour)
		if sent := f.sent("one"); len(sent) > 0 {
			f.Errorf("a paused target got %q", sent)
		}
		if sent := f.sent("two"); !slices.Contains(sent, "c") {
			f.Errorf("the other target got %q", sent)
		}
		s := f.src.Status().Targets[0]
		if s.State != "paused" || s.Waiting < 3 || s.NextTry != nil || f.state("two") != "idle" {
			f.Errorf("status %+v, the other one is %s", s, f.state("two"))
		}
		f.must(f.src.Resume())
		f.rest(time.Second)
		sent := f.sent("one")
		for _, p := range []change.Path{"a", "d/b", "c"} {
			if !slices.Contains(sent, p) {
				f.Errorf("%s did not arrive; %q did", p, sent)
			}
		}
		if f.state("one") != "idle" {
			f.Errorf("state %s", f.state("one"))
		}
	})
}

func TestPauseFinishesWhatIsInFlight(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		arrive := make(chan struct{})
		f.targets["one"].set(func(_ context.Context, b transport.Batch) (transport.Report, error) {
			<-arrive
			return transport.Report{Files: len(b.Paths)}, nil
		})
		f.write("a")
		f.rest(time.Second)
		f.must(f.src.Pause())
		f.write("b")
		f.rest(time.Minute)
		if got := f.state("one"); got != "pausing" {
			f.Errorf("state %s while a batch is in flight", got)
		}
		close(arrive)
		f.rest(time.Minute)
		if got := f.state("one"); got != "paused" {
			f.Errorf("state %s", got)
		}
		if sent := f.sent("one"); !slices.Equal(sent, []change.Path{"a"}) {
			f.Errorf("sent %q", sent)
		}
		if n := f.src.Status().Targets[0].Waiting; n != 1 {
			f.Errorf("%d paths wait, want that which came after the pause", n)
		}
		f.must(f.src.Resume("one"))
		f.rest(time.Second)
		if sent := f.sent("one"); !slices.Contains(sent, "b") {
			f.Errorf("sent %q", sent)
		}
	})
}

func TestPauseSurvivesAReload(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		f.must(f.src.Pause("one"))
		reload := func(identity string) {
			tr := &fakeTransport{}
			opts := f.opts
			opts.Targets = []replicate.TargetOptions{{Name: "one", Identity: identity, Transport: tr}}
			if identity != "one" {
				f.targets["one"] = tr
			}
			f.must(f.src.Reload(opts))
			f.rest(time.Minute)
		}
		reload("one")
		f.write("a")
		f.rest(time.Minute)
		if sent := f.sent("one"); len(sent) > 0 || f.state("one") != "paused" {
			f.Errorf("after a reload it is %s and got %q", f.state("one"), sent)
		}
		reload("another password")
		f.write("b")
		f.rest(time.Minute)
		if sent := f.sent("one"); len(sent) > 0 || f.state("one") != "paused" {
			f.Errorf("after a change of the target it is %s and got %q", f.state("one"), sent)
		}
		f.must(f.src.Resume())
		f.rest(time.Second)
		if sent := f.sent("one"); !slices.Contains(sent, "a") || !slices.Contains(sent, "b") {
			f.Errorf("sent %q", sent)
		}
	})
}

func TestPausedTargetDoesNotKeepAStopWaiting(t *testing.T) {
	inBubble(t, two, func(f *fake) {
		f.must(f.src.Pause("one"))
		f.must(f.src.Sweep())
		f.write("a")
		f.rest(time.Minute)
		start := time.Now()
		f.stop()
		if took := time.Since(start); took > time.Second {
			f.Errorf("the stop took %v", took)
		}
		if sent := f.sent("one"); len(sent) > 0 {
			f.Errorf("a paused target got %q", sent)
		}
	})
}

func TestPauseEndsAComparisonAndResumeBeginsItAnew(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		began := f.sweeps("one", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Hour):
				return nil
			}
		})
		f.must(f.src.Sweep())
		f.rest(time.Minute)
		f.must(f.src.Pause())
		f.rest(3 * time.Hour)
		s := f.src.Status().Targets[0]
		if s.Sweep != nil || s.Swept != nil || s.LastError != nil || len(*began) != 1 {
			f.Errorf("a paused target was compared %d times: %+v", len(*began), s)
		}
		f.must(f.src.Resume())
		f.rest(90 * time.Minute)
		if s := f.src.Status().Targets[0]; s.Swept == nil || s.Waiting != 0 || len(*began) != 2 {
			f.Errorf("it was compared %d times: %+v", len(*began), s)
		}
	})
}

func TestSweepComparesTheNamedTargetsAndWaitWaitsForWhatItFinds(t *testing.T) {
	inBubble(t, two, func(f *fake) {
		f.write("a")
		f.rest(time.Minute)
		f.sent("one")
		f.targets["one"].sweep = func(_ context.Context, s transport.Sweep, yield func(transport.Difference) error) error {
			if !slices.Equal(s.Under, []change.Path{change.Root}) || !s.Extras {
				f.Errorf("sweep %+v", s)
			}
			<-time.After(time.Hour)
			return errors.Join(yield(transport.Difference{Path: "a"}), yield(transport.Difference{Path: "old", Extra: true}))
		}
		other := f.sweeps("two", nil)
		f.must(f.src.Sweep("one"))
		start := time.Now()
		f.must(f.src.Wait(f.Context(), "one"))
		if took := time.Since(start); took < time.Hour {
			f.Errorf("the wait ended after %v", took)
		}
		if sent := f.sent("one"); !slices.Contains(sent, "a") || !slices.Contains(sent, "old") {
			f.Errorf("sent %q", sent)
		}
		if len(*other) > 0 {
			f.Error("a target that was not named was compared")
		}
		for what, err := range map[string]error{
			"sweep": f.src.Sweep("one", "nobody"), "pause": f.src.Pause("nobody"), "resume": f.src.Resume("nobody"),
		} {
			if err == nil || !strings.Contains(err.Error(), what+` target "nobody"`) {
				f.Errorf("%s of an unknown target: %v", what, err)
			}
		}
	})
}

// crontabfilter must not keep a directory from being compared in which something happened.
func TestExceptionsOfSweepsBindComparisonsOfEverythingOnly(t *testing.T) {
	inBubble(t, func(f *fake) { f.opts.Targets[0].SweepExclude = []string{"*.php"} }, func(f *fake) {
		var got []transport.Sweep
		f.targets["one"].sweep = func(_ context.Context, s transport.Sweep, _ func(transport.Difference) error) error {
			got = append(got, s)
			return nil
		}
		f.write("d/x")
		f.rest(time.Minute)
		f.must(f.src.Pause())
		f.must(f.src.Sweep())
		// It went and was made again: the target may have kept something of it.
		f.watcher.events <- []watch.Event{{Path: "d", Kind: watch.Removed, Dir: true, At: time.Now()}}
		f.rest(time.Minute)
		f.must(f.src.Resume())
		f.rest(time.Minute)
		whole, part := false, false
		for _, s := range got {
			root := slices.Contains(s.Under, change.Root)
			if root != (len(s.Exclude) > 0) || root && len(s.Under) > 1 {
				f.Errorf("sweep of %q without %q", s.Under, s.Exclude)
			}
			whole, part = whole || root, part || !root
		}
		if !whole || !part {
			f.Errorf("sweeps %+v", got)
		}
	})
}

func TestRetryAllTriesWhatFailedAtOnce(t *testing.T) {
	inBubble(t, func(f *fake) { f.opts.Targets[0].DeadAfter = 2 }, func(f *fake) {
		bad := true
		f.targets["one"].set(func(_ context.Context, b transport.Batch) (r transport.Report, err error) {
			if bad && slices.Contains(b.Paths, "bad") {
				r.Failed = []transport.Failure{{Path: "bad", Retry: true, Err: errors.New("permission denied")}}
			}
			return r, nil
		})
		f.write("bad", "good")
		f.rest(time.Minute)
		if s := f.src.Status().Targets[0]; s.Dead != 1 {
			f.Fatalf("status %+v", s)
		}
		failing := f.src.Failing(10)
		if len(failing) != 1 || len(failing[0].Paths) != 1 || failing[0].Paths[0].Path != "bad" || failing[0].Paths[0].Err != "permission denied" {
			f.Errorf("failing %+v", failing)
		}
		bad = false
		f.sent("one")
		f.src.RetryAll()
		f.rest(time.Second)
		if sent := f.sent("one"); !slices.Equal(sent, []change.Path{"bad"}) {
			f.Errorf("sent %q", sent)
		}
		if failing := f.src.Failing(10); len(failing) > 0 {
			f.Errorf("failing %+v", failing)
		}
	})
}

func TestWhatATargetThatIsAwayLacksIsFailingWithinItsBound(t *testing.T) {
	inBubble(t, two, func(f *fake) {
		f.write("a", "b", "c", "gone")
		f.rest(time.Minute)
		f.targets["one"].set(failsWith(transport.Full))
		f.write("a")
		f.rest(time.Minute)
		f.write("b", "c")
		f.remove("gone")
		f.rest(time.Minute)
		all := f.src.Failing(10)
		if len(all) != 1 || all[0].Target != "one" || all[0].More != 0 {
			f.Fatalf("failing %+v", all)
		}
		if first := all[0].Paths[0]; first.Path != "a" || first.Err != "full" || first.Gone {
			f.Errorf("the oldest is %+v", first)
		}
		for _, p := range all[0].Paths {
			if p.Gone != (p.Path == "gone") {
				f.Errorf("%+v", p)
			}
		}
		if some := f.src.Failing(2); len(some[0].Paths) != 2 || some[0].More != len(all[0].Paths)-2 {
			f.Errorf("two of %d: %+v", len(all[0].Paths), some)
		}
		f.must(f.src.Pause("one"))
		if all := f.src.Failing(10); len(all) > 0 {
			f.Errorf("a paused target fails: %+v", all)
		}
	})
}
