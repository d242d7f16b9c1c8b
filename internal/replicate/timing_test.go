package replicate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

func failsWith(kind transport.Kind) func(context.Context, transport.Batch) (transport.Report, error) {
	return func(context.Context, transport.Batch) (transport.Report, error) {
		return transport.Report{}, &transport.Error{Kind: kind, Err: errors.New(kind.String())}
	}
}

// gaps are the times between the starts of calls.
func gaps(calls []call) []time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(calls); i++ {
		gaps = append(gaps, calls[i].at.Sub(calls[i-1].at))
	}
	return gaps
}

func TestFirstBatchAfterAPauseLeavesAtOnceAndTheNextOnesArePaced(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		one := f.targets["one"]
		start := time.Now()
		for i := range 1000 {
			f.write(fmt.Sprintf("f%d", i))
			f.rest(time.Millisecond)
		}
		calls := one.take()
		if late := calls[0].at.Sub(start); late > time.Millisecond {
			f.Errorf("the first batch left after %v", late)
		}
		for _, gap := range gaps(calls) {
			if gap > 200*time.Millisecond {
				f.Errorf("a batch left %v after the one before it", gap)
			}
		}
		// A few leave ahead of their pace of one each 40 ms, so that single changes are not delayed.
		if n := len(calls); n > 5+1000/40 {
			f.Errorf("%d batches in a second", n)
		}
		f.rest(time.Second)
		one.take()
		start = time.Now()
		f.write("alone")
		f.rest(time.Second)
		calls = one.take()
		if len(calls) != 1 || calls[0].at.Sub(start) > time.Millisecond {
			f.Errorf("after a pause: %v since %v", calls, start)
		}
	})
}

func TestTargetThatIsAwayIsTriedLaterAndLaterUntilItIsBack(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		one := f.targets["one"]
		one.set(failsWith(transport.Away))
		f.write("a")
		f.rest(20 * time.Minute)
		calls := one.take()
		want := 200 * time.Millisecond
		for i, gap := range gaps(calls) {
			if gap < want*3/4-time.Millisecond || gap > want*5/4+time.Millisecond {
				f.Errorf("try %d came after %v, want %v within a quarter", i+2, gap, want)
			}
			want = min(2*want, time.Minute)
		}
		if len(calls) < 20 {
			f.Errorf("%d tries in 20 minutes", len(calls))
		}
		s := f.src.Status().Targets[0]
		if s.State != "away" || s.Waiting != 1 || s.Dead != 0 || s.NextTry == nil || s.LastError.Count != len(calls) {
			f.Errorf("status: %+v", s)
		}
		one.set(nil)
		f.rest(90 * time.Second)
		if s := f.src.Status().Targets[0]; s.State != "idle" || s.Waiting != 0 || s.NextTry != nil {
			f.Errorf("status of a target that is back: %+v", s)
		}
		// What fails now is tried soon again.
		one.set(failsWith(transport.Busy))
		one.take()
		f.write("b")
		f.rest(time.Second)
		if calls := one.take(); len(calls) < 2 || gaps(calls)[0] > 300*time.Millisecond {
			f.Errorf("after it was back: %v", gaps(calls))
		}
		one.set(nil)
		f.rest(time.Minute)
	})
}

func TestPathThatFailsTooOftenIsADeadLetterTriedEveryHourAndAtEachMark(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		one := f.targets["one"]
		var good []change.Path
		one.set(func(_ context.Context, b transport.Batch) (r transport.Report, err error) {
			if slices.Contains(b.Paths, "bad") {
				r.Failed = []transport.Failure{{Path: "bad", Retry: true, Err: errors.New("permission denied")}}
			}
			good = append(good, b.Paths...)
			return r, nil
		})
		f.write("bad", "good")
		f.rest(time.Hour)
		calls := one.take()
		if len(calls) != 12 {
			f.Errorf("%d tries before it is dead", len(calls))
		}
		want := time.Second
		for _, gap := range gaps(calls) {
			if gap < want*3/4 || gap > want*5/4+time.Millisecond {
				f.Errorf("tried after %v, want %v within a quarter", gap, want)
			}
			want = min(2*want, 5*time.Minute)
		}
		s := f.src.Status().Targets[0]
		if s.Dead != 1 || s.Waiting != 0 || len(s.DeadLetters) != 1 || s.DeadLetters[0].Path != "bad" || s.DeadLetters[0].Tries != 12 || s.Lag == 0 {
			f.Errorf("status: %+v", s)
		}
		f.rest(10 * time.Hour)
		if n := len(one.take()); n < 8 || n > 13 {
			f.Errorf("%d tries in ten hours", n)
		}
		f.write("bad")
		f.rest(time.Second)
		if n := len(one.take()); n != 1 {
			f.Error("a new mark is no try")
		}
		one.set(nil)
		f.write("bad")
		f.rest(time.Second)
		if s := f.src.Status().Targets[0]; s.Dead != 0 || s.Oldest != nil {
			f.Errorf("status after it arrived: %+v", s)
		}
		if !slices.Contains(good, "good") {
			f.Error("the other path was not sent")
		}
	})
}

func TestPathThatBreaksEachRunIsFoundAndTheOthersArrive(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		one := f.targets["one"]
		arrived := map[change.Path]bool{}
		largest := 0
		one.set(func(_ context.Context, b transport.Batch) (transport.Report, error) {
			if slices.Contains(b.Paths, "poison") {
				return transport.Report{}, &transport.Error{Kind: transport.Broken, Err: errors.New("protocol error")}
			}
			largest = max(largest, len(b.Paths))
			for _, p := range b.Paths {
				arrived[p] = true
			}
			return transport.Report{}, nil
		})
		names := []string{"poison"}
		for i := range 63 {
			names = append(names, fmt.Sprintf("f%d", i))
		}
		f.write(names...)
		f.rest(3 * time.Minute)
		if len(arrived) != 63 {
			f.Errorf("%d of 63 arrived", len(arrived))
		}
		if s := f.src.Status().Targets[0]; s.Waiting+s.Dead != 1 {
			f.Errorf("status: %+v", s)
		}
		one.set(nil)
		f.rest(time.Hour)
		if s := f.src.Status().Targets[0]; s.Oldest != nil {
			f.Errorf("status once it works: %+v", s)
		}
	})
}

func TestP4TargetThatHangsDelaysNoOther(t *testing.T) {
	inBubble(t, func(f *fake) { f.target("two") }, func(f *fake) {
		f.targets["two"].set(func(ctx context.Context, _ transport.Batch) (transport.Report, error) {
			<-ctx.Done()
			return transport.Report{}, ctx.Err()
		})
		one := f.targets["one"]
		for i := range 100 {
			start := time.Now()
			f.write(fmt.Sprintf("f%d", i))
			f.rest(100 * time.Millisecond)
			if calls := one.take(); len(calls) != 1 || calls[0].at.Sub(start) > time.Millisecond {
				f.Fatalf("change %d: %v since %v", i, calls, start)
			}
		}
		if s := f.src.Status().Targets[1]; s.Waiting != 100 || s.Lag < 9 {
			f.Errorf("status of the one that hangs: %+v", s)
		}
	})
}

func TestRefusedRemovalsAreSaidWhileUpdatesGoOn(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		one := f.targets["one"]
		f.write("a", "b")
		f.rest(time.Second)
		one.set(func(_ context.Context, b transport.Batch) (transport.Report, error) {
			if b.Op == transport.Remove {
				return failsWith(transport.RemovalsRefused)(nil, b)
			}
			return transport.Report{Files: len(b.Paths)}, nil
		})
		f.remove("a")
		f.rest(time.Second)
		one.take()
		for i := range 10 {
			f.write(fmt.Sprintf("c%d", i))
			f.rest(time.Second)
		}
		calls := one.take()
		if len(calls) != 10 {
			f.Errorf("%d batches for ten updates: removals that are refused are not tried each time", len(calls))
		}
		s := f.src.Status().Targets[0]
		if s.State != "removals-refused" || s.Waiting != 1 || s.NextTry == nil || s.NextTry.Before(time.Now()) {
			f.Errorf("status: %+v", s)
		}
		one.set(nil)
		f.rest(10 * time.Minute)
		if s := f.src.Status().Targets[0]; s.State != "idle" || s.Oldest != nil {
			f.Errorf("status once they are taken: %+v", s)
		}
	})
}

func TestRunWithoutACleanEndIsOwedTwice(t *testing.T) {
	for _, large := range []bool{false, true} {
		t.Run(fmt.Sprintf("large=%v", large), func(t *testing.T) {
			inBubble(t, func(f *fake) {
				if large {
					f.opts.Targets[0].Large = 1
				}
			}, func(f *fake) {
				one := f.targets["one"]
				tries := 0
				one.set(func(context.Context, transport.Batch) (transport.Report, error) {
					if tries++; tries == 1 {
						return transport.Report{}, &transport.Error{Kind: transport.Away, Unclean: true, Settle: time.Minute, Err: errors.New("cut")}
					}
					return transport.Report{}, nil
				})
				f.write("a")
				f.rest(10 * time.Second)
				if calls := one.take(); len(calls) != 2 {
					f.Errorf("%d tries in ten seconds", len(calls))
				}
				if s := f.src.Status().Targets[0]; s.State != "idle" || s.Waiting != 0 {
					f.Errorf("status: %+v", s)
				}
				f.rest(time.Minute)
				if calls := one.take(); len(calls) != 1 || calls[0].paths[0] != "a" {
					f.Errorf("after it has settled: %v", calls)
				}
			})
		})
	}
}

func TestQuietPeriodHoldsBatchesBackButNotForever(t *testing.T) {
	inBubble(t, func(f *fake) { f.opts.Targets[0].Quiet = 5 * time.Second }, func(f *fake) {
		one := f.targets["one"]
		start := time.Now()
		for range 8 {
			f.write("a")
			f.rest(time.Second)
		}
		f.rest(10 * time.Second)
		if calls := one.take(); len(calls) != 1 || calls[0].at.Sub(start) != 12*time.Second {
			f.Errorf("batches: %v since %v", calls, start)
		}
		start = time.Now()
		for range 70 {
			f.write("a")
			f.rest(time.Second)
		}
		if calls := one.take(); len(calls) == 0 || calls[0].at.Sub(start) > 51*time.Second {
			f.Errorf("what is never quiet: %v since %v", calls, start)
		}
		f.rest(time.Minute)
	})
}

// A sweep that finds more than may wait is held back until batches have made room; that takes a run.
func TestSweepThatWaitsHoldsNoRun(t *testing.T) {
	inBubble(t, func(f *fake) {
		f.opts.Initial = true
		f.opts.Runs = make(chan struct{}, 1)
		f.targets["one"].sweep = func(_ context.Context, _ transport.Sweep, yield func(transport.Difference) error) error {
			for i := range 25_000 {
				if err := yield(transport.Difference{Path: change.Path(fmt.Sprintf("f%d", i))}); err != nil {
					return err
				}
			}
			return nil
		}
	}, func(f *fake) {
		f.rest(time.Minute)
		if s := f.src.Status().Targets[0]; s.Waiting != 0 || s.Sweep != nil {
			f.Errorf("status: %+v", s)
		}
	})
}

func TestSweepThatWasNotOverIsDoneByTheSenderThatFollows(t *testing.T) {
	hang := func(ctx context.Context, _ transport.Sweep, _ func(transport.Difference) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
	inBubble(t, func(f *fake) {
		f.opts.Initial = true
		f.targets["one"].sweep = hang
	}, func(f *fake) {
		// A second directory waits for its comparison behind the first.
		if err := os.Mkdir(filepath.Join(f.dir, "d"), 0o755); err != nil {
			f.Fatal(err)
		}
		f.write("d/x")
		f.watcher.events <- []watch.Event{{Path: "d", Kind: watch.Created, Dir: true, At: time.Now()}}
		f.rest(time.Second)
		if err := os.Rename(filepath.Join(f.dir, "d"), filepath.Join(f.TempDir(), "away")); err != nil {
			f.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(f.dir, "d"), 0o755); err != nil {
			f.Fatal(err)
		}
		f.watcher.events <- []watch.Event{{Path: "d", Kind: watch.MovedTo, Dir: true, At: time.Now()}}
		f.rest(time.Second)
		next := &fakeTransport{}
		swept := map[change.Path]bool{}
		next.sweep = func(_ context.Context, s transport.Sweep, _ func(transport.Difference) error) error {
			for _, p := range s.Under {
				swept[p] = true
			}
			return nil
		}
		opts := f.opts
		opts.Targets = []replicate.TargetOptions{{Name: "one", Identity: "another", Transport: next}}
		if err := f.src.Reload(opts); err != nil {
			f.Fatal(err)
		}
		f.targets["new"] = next
		f.rest(time.Minute)
		if !swept[change.Root] {
			f.Errorf("compared by the second sender: %v", swept)
		}
		if s := f.src.Status().Targets[0]; s.Waiting != 0 {
			f.Errorf("status: %+v", s)
		}
	})
}

func TestWaitEndsWithAnErrorWhenTheSourceIsStopped(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		f.targets["one"].set(failsWith(transport.Refused))
		f.write("a")
		f.rest(time.Second)
		waited := make(chan error, 1)
		go func() { waited <- f.src.Wait(context.Background()) }()
		f.rest(time.Second)
		select {
		case err := <-waited:
			f.Fatalf("the wait ended while a change is owed: %v", err)
		default:
		}
		f.stop()
		if err := <-waited; err == nil {
			f.Error("the wait says that all is acked")
		}
		if err := f.src.Wait(context.Background()); err == nil {
			f.Error("a wait after the stop says that all is acked")
		}
	})
}

// Two batches at one time never touch each other: what goes above a file that is in the lane waits.
func TestDirectoryAboveALargeFileThatIsSentGoesAfterIt(t *testing.T) {
	inBubble(t, func(f *fake) { f.opts.Targets[0].Large = 5 }, func(f *fake) {
		one := f.targets["one"]
		f.write("d/s")
		f.rest(time.Second)
		busy := false
		one.set(func(ctx context.Context, b transport.Batch) (transport.Report, error) {
			switch {
			case b.Op == transport.UpdateLarge:
				busy = true
				defer func() { busy = false }()
				<-ctx.Done()
				<-time.After(3 * time.Second) // it takes a while to end
				return transport.Report{}, &transport.Error{Kind: transport.Away, Err: ctx.Err()}
			case b.Op == transport.Remove && busy:
				t.Errorf("%v is removed while a file below it is sent", b.Paths)
			}
			return transport.Report{}, nil
		})
		f.write("d/large")
		f.rest(time.Second)
		if !busy {
			f.Fatal("the large file is not sent")
		}
		f.write("o")
		f.rest(100 * time.Millisecond)
		if err := os.RemoveAll(filepath.Join(f.dir, "d")); err != nil {
			f.Fatal(err)
		}
		f.watcher.events <- []watch.Event{{Path: "d", Kind: watch.Removed, Dir: true, At: time.Now()}}
		f.rest(time.Minute)
		calls := one.take()
		if last := calls[len(calls)-1]; !slices.ContainsFunc(calls, func(c call) bool { return c.op == transport.Remove && c.paths[0] == "d" }) {
			f.Errorf("the directory was not removed; last call %v", last)
		}
		if s := f.src.Status().Targets[0]; s.Waiting != 0 || s.Oldest != nil {
			f.Errorf("status: %+v", s)
		}
	})
}

func TestMarkBelowWhatBecameALargeFileIsSettled(t *testing.T) {
	inBubble(t, func(f *fake) { f.opts.Targets[0].Large = 5 }, func(f *fake) {
		one := f.targets["one"]
		f.write("large")
		f.rest(time.Second)
		one.take()
		f.happened(watch.Closed, "large/x") // it was a directory a moment ago
		f.rest(time.Minute)
		if calls := one.take(); len(calls) > 3 {
			f.Errorf("%d batches for one change", len(calls))
		}
		if s := f.src.Status().Targets[0]; s.Waiting != 0 || s.Oldest != nil {
			f.Errorf("status: %+v", s)
		}
	})
}

func TestStopWaitsForALargeFileAndNoLonger(t *testing.T) {
	for _, takes := range []time.Duration{3 * time.Second, time.Hour} {
		t.Run(takes.String(), func(t *testing.T) {
			inBubble(t, func(f *fake) { f.opts.Targets[0].Large = 1 }, func(f *fake) {
				f.targets["one"].set(func(ctx context.Context, _ transport.Batch) (transport.Report, error) {
					select {
					case <-time.After(takes):
						return transport.Report{}, nil
					case <-ctx.Done():
						return transport.Report{}, ctx.Err()
					}
				})
				f.write("a")
				f.rest(time.Second)
				start := time.Now()
				f.stop()
				if took, want := time.Since(start), min(takes-time.Second, 10*time.Second); took.Round(100*time.Millisecond) != want {
					f.Errorf("the stop took %v, want %v", took, want)
				}
			})
		})
	}
}
