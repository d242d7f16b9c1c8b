package replicate_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// fakeKeeper is a target in memory with a trash.
type fakeKeeper struct {
	*fakeTransport
	// asked are the days before which the trash was to be emptied, fails how often that does not work.
	asked []string
	fails int
}

func (f *fakeKeeper) Expire(_ context.Context, before time.Time) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, transport.Day(before))
	if f.fails > 0 {
		f.fails--
		return nil, &transport.Error{Kind: transport.Away, Err: errors.New("away")}
	}
	return nil, nil
}

func (f *fakeKeeper) Removed(context.Context, string, []change.Path, func(transport.Removed) error) error {
	return nil
}

func (f *fakeKeeper) Fetch(context.Context, *os.File, string, []change.Path) (transport.Report, error) {
	return transport.Report{}, nil
}

// withTrash gives the target a trash.
func withTrash(f *fake, days, fails int) *fakeKeeper {
	keeper := &fakeKeeper{fakeTransport: f.targets["one"], fails: fails}
	f.opts.Targets[0].Transport = keeper
	f.opts.Targets[0].TrashDays = days
	return keeper
}

func TestTrashIsEmptiedAtTheStartAndOnceADay(t *testing.T) {
	var keeper *fakeKeeper
	inBubble(t, func(f *fake) { keeper = withTrash(f, 30, 0) }, func(f *fake) {
		start := time.Now()
		f.rest(71 * time.Hour)
		// The days of the bubble begin at some hour, so there may be one more.
		if n := len(keeper.asked); n < 3 || n > 4 {
			t.Errorf("emptied %d times: %v", n, keeper.asked)
		}
		if want := transport.Day(start.AddDate(0, 0, -30)); keeper.asked[0] != want {
			t.Errorf("emptied of what was before %s, want %s", keeper.asked[0], want)
		}
	})
}

func TestTrashIsTriedAgainWithinTheDayAndNotWhilePaused(t *testing.T) {
	var keeper *fakeKeeper
	inBubble(t, func(f *fake) { keeper = withTrash(f, 1, 2) }, func(f *fake) {
		f.rest(90 * time.Minute)
		f.must(f.src.Pause("one"))
		f.rest(10 * time.Hour)
		if n := len(keeper.asked); n != 2 {
			t.Errorf("asked %d times while paused: %v", n, keeper.asked)
		}
		f.must(f.src.Resume("one"))
		f.rest(2 * time.Hour)
		if n := len(keeper.asked); n < 3 {
			t.Errorf("asked %d times after the pause: %v", n, keeper.asked)
		}
	})
}

func TestNoTrashIsEmptiedWhereNoneIsWanted(t *testing.T) {
	var keeper *fakeKeeper
	inBubble(t, func(f *fake) { keeper = withTrash(f, 0, 0) }, func(f *fake) {
		f.rest(48 * time.Hour)
		if len(keeper.asked) > 0 {
			t.Errorf("emptied: %v", keeper.asked)
		}
	})
}
