package replicate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/transport"
	"sersync/internal/transport/local"
	"sersync/internal/transport/rsync"
	"sersync/internal/treetest"
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

// keepsTrash gives the target of a rig a trash.
func keepsTrash(r *rig) {
	noBudget(r)
	r.opts.Targets = []replicate.TargetOptions{r.target("one", func(o *rsync.Options) { o.Trash = true })}
}

// keepsOwnTrash does so for a target that our own code writes.
func keepsOwnTrash(r *rig) {
	keepsTrash(r)
	o := &r.opts.Targets[0]
	r.must(o.Transport.Close())
	o.Transport = local.New(local.Options{Dir: r.daemon.Dir("one"), Trash: true, Log: r.opts.Log})
}

// keepers are both.
var keepers = map[string]func(*rig){"rsync": keepsTrash, "own": keepsOwnTrash}

// besideTrash waits, and compares the module with the source.
func (r *rig) besideTrash() {
	r.t.Helper()
	r.wait("one")
	treetest.Equal(r.t, r.dir, r.daemon.Dir("one"), func(rel string) bool {
		return rel == filter.TrashName || strings.HasPrefix(filepath.Base(rel), filter.TempPrefix)
	})
}

func TestP1ConvergeWithATrash(t *testing.T) {
	for _, seed := range []uint64{4, 5, 6, 7} {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, keepers[[]string{"rsync", "own"}[seed%2]])
			r.start()
			var wg sync.WaitGroup
			for i := range uint64(4) {
				w := treetest.NewWriter(r.dir, seed, i)
				wg.Go(func() {
					for range *steps {
						if err := w.Step(); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			r.besideTrash()
		})
	}
}

// What a comparison finds goes to the trash as well, with a filter name by name, and a link of the source by the name of the
// trash does not reach the target.
func TestEveryWayInWhichATargetLosesSomethingLeadsToTheTrash(t *testing.T) {
	for name, rules := range map[string][]filter.Rule{"no filter": nil, "filter": {filter.Glob("", "*.log")}} {
		for by, keeps := range keepers {
			t.Run(name+" "+by, func(t *testing.T) {
				t.Parallel()
				leadsToTheTrash(t, keeps, rules)
			})
		}
	}
}

func leadsToTheTrash(t *testing.T, keeps func(*rig), rules []filter.Rule) {
	f, err := filter.New(rules...)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(r *rig) {
		keeps(r)
		r.opts.Filter = f
	})
	dst := r.daemon.Dir("one")
	extra := func(name string) {
		r.must(os.MkdirAll(filepath.Join(dst, filepath.Dir(name)), 0o755))
		r.must(os.WriteFile(filepath.Join(dst, name), []byte(name), 0o644))
	}
	extra("extra/deep/f")
	extra("type/f")
	extra("kind")
	r.write("type", "a file")
	r.write("kind/f", "in a directory")
	r.must(os.Symlink(t.TempDir(), filepath.Join(r.dir, filter.TrashName)))
	r.start()
	r.wait()
	r.write("live/sub/f", "live")
	r.write("live/g", "live")
	r.write("swap", "file first")
	r.wait()
	r.must(os.RemoveAll(filepath.Join(r.dir, "live")))
	r.must(os.Remove(filepath.Join(r.dir, "swap")))
	r.write("swap/f", "a directory now")
	r.wait()
	today := filter.TrashName + "/" + transport.Day(time.Now()) + "/"
	for name, content := range map[string]string{
		"extra/deep/f": "extra/deep/f", "type/f": "type/f", "kind": "kind", "live/sub/f": "live", "live/g": "live", "swap": "file first",
	} {
		if got := r.there("one", today+name); got != content {
			t.Errorf("%q in the trash is %q, want %q", name, got, content)
		}
	}
	for name, want := range map[string]string{"type": "a file", "kind/f": "in a directory", "swap/f": "a directory now"} {
		if got := r.there("one", name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if r.exists("one", "extra") || r.exists("one", "live") {
		t.Error("what went is still in its place")
	}
}
