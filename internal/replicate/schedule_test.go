package replicate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

// everyDay is due at midnight.
type everyDay struct{}

func (everyDay) Next(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location())
}

// near fails the test unless the sweeps began when they should, to a minute.
func near(f *fake, got []time.Duration, want ...time.Duration) {
	f.Helper()
	same := func(a, b time.Duration) bool { return (a - b).Abs() < time.Minute }
	if !slices.EqualFunc(got, want, same) {
		f.Errorf("sweeps began after %v, want %v", got, want)
	}
}

func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestSweepsComeSoLongAfterTheEndOfTheLastOne(t *testing.T) {
	inBubble(t, func(f *fake) { two(f); f.opts.SweepEvery = 10 * time.Hour }, func(f *fake) {
		one, other := f.sweeps("one", takes(5*time.Hour)), f.sweeps("two", nil)
		f.rest(32 * time.Hour)
		near(f, *one, 10*time.Hour, 25*time.Hour)
		near(f, *other, 10*time.Hour, 20*time.Hour, 30*time.Hour)
	})
}

func TestSweepThatAPersonAsksForMovesTheNextOne(t *testing.T) {
	inBubble(t, func(f *fake) { f.opts.SweepEvery = 10 * time.Hour }, func(f *fake) {
		one := f.sweeps("one", nil)
		f.rest(4 * time.Hour)
		f.must(f.src.Sweep())
		f.rest(12 * time.Hour)
		near(f, *one, 4*time.Hour, 14*time.Hour)
	})
}

func TestSweepsComeWhenTheClockSaysSo(t *testing.T) {
	inBubble(t, func(f *fake) { f.opts.SweepAt = everyDay{} }, func(f *fake) {
		midnight := time.Until(everyDay{}.Next(time.Now()))
		one := f.sweeps("one", takes(30*time.Hour)) // so that the second one finds the first still at work
		f.rest(96 * time.Hour)
		near(f, *one, midnight, midnight+48*time.Hour)
	})
}

func TestTargetThatIsAwayIsSweptOnceWhenItIsBack(t *testing.T) {
	inBubble(t, func(f *fake) { two(f); f.opts.SweepEvery = time.Hour }, func(f *fake) {
		var away atomic.Bool
		away.Store(true)
		one := f.sweeps("one", func(context.Context) error {
			if away.Load() {
				return &transport.Error{Kind: transport.Away, Err: context.DeadlineExceeded}
			}
			return nil
		})
		other := f.sweeps("two", nil)
		f.rest(5*time.Hour + time.Minute)
		near(f, *other, time.Hour, 2*time.Hour, 3*time.Hour, 4*time.Hour, 5*time.Hour)
		away.Store(false)
		f.rest(2 * time.Minute)
		tries := len(*one)
		f.rest(50 * time.Minute)
		if len(*one) != tries {
			f.Errorf("it was compared %d times after it was back", len(*one)-tries)
		}
	})
}

func TestReloadChangesTheSchedule(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		one := f.sweeps("one", nil)
		every := func(d time.Duration) {
			opts := f.opts
			opts.SweepEvery = d
			opts.Targets = []replicate.TargetOptions{{Name: "one", Identity: "one", Transport: &fakeTransport{}}}
			f.must(f.src.Reload(opts))
		}
		f.rest(2 * time.Hour)
		every(3 * time.Hour)
		f.rest(2 * time.Hour)
		every(0)
		f.rest(20 * time.Hour)
		near(f, *one, 3*time.Hour)
	})
}

// Where directories are replaced all the time a comparison of many fails, and fewer of them are compared in one go.
func TestComparisonsThatFailAreMadeSmaller(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		const dirs, fit = 100, 4
		var events []watch.Event
		for i := range dirs {
			name := fmt.Sprintf("d%d", i)
			f.write(name + "/f")
			f.watcher.events <- []watch.Event{{Path: change.Path(name), Kind: watch.Created, Dir: true, At: time.Now()}}
			events = append(events, watch.Event{Path: change.Path(name), Kind: watch.MovedTo, Dir: true, At: time.Now()})
		}
		f.rest(time.Minute)
		compared := map[change.Path]bool{}
		f.targets["one"].sweep = func(_ context.Context, s transport.Sweep, _ func(transport.Difference) error) error {
			<-time.After(10 * time.Second)
			if len(s.Under) > fit {
				return &transport.Error{Kind: transport.Broken, Err: errors.New("one of them is no directory any more")}
			}
			for _, p := range s.Under {
				compared[p] = true
			}
			return nil
		}
		f.watcher.events <- events
		f.rest(20 * time.Minute)
		if len(compared) != dirs {
			t.Errorf("compared %d of %d", len(compared), dirs)
		}
	})
}
