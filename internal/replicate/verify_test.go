package replicate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

const day = 24 * time.Hour

// daily verifies by content.
func daily(f *fake) { f.opts.Verify = replicate.VerifyOptions{Every: day, Content: true, Rate: 7} }

// verifies makes a target note when it is verified, and find what differs.
func (f *fake) verifies(target string, start time.Time, find func(context.Context) ([]transport.Difference, error)) *[]time.Duration {
	var at []time.Duration
	tr := f.targets[target]
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sweep = func(ctx context.Context, s transport.Sweep, yield func(transport.Difference) error) error {
		if !s.Content {
			return nil
		}
		if s.Rate != 7 || !s.Extras {
			f.Errorf("verified by %+v", s)
		}
		if !s.Shallow {
			at = append(at, time.Since(start))
		}
		found, err := find(ctx)
		for _, d := range found {
			if err := yield(d); err != nil {
				return err
			}
		}
		return err
	}
	return &at
}

func finds(all ...transport.Difference) func(context.Context) ([]transport.Difference, error) {
	return func(context.Context) ([]transport.Difference, error) { return all, nil }
}

func (f *fake) verified(target string) *replicate.VerifiedStatus {
	for _, t := range f.src.Status().Targets {
		if t.Name == target {
			return t.Verified
		}
	}
	return nil
}

// again is another process with the same state directory, until the test is over. before is called when the first one has stopped.
func (f *fake) again(before func(g *fake)) {
	f.Helper()
	f.stop()
	g := &fake{T: f.T, dir: f.dir, opts: f.opts, watcher: newFakeWatcher(), targets: map[string]*fakeTransport{}}
	g.opts.NewWatcher = func(*scan.Root) (watch.Watcher, error) { return g.watcher, nil }
	g.opts.Targets = nil
	g.target("one")
	before(g)
	src, err := replicate.New(g.opts)
	g.must(err)
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx) }()
	f.src, f.stop = src, func() {
		cancel()
		f.must(<-done)
	}
	f.rest(time.Minute)
}

func TestVerificationsComeWhenTheyAreDueAndRepairWhatTheyFind(t *testing.T) {
	inBubble(t, daily, func(f *fake) {
		f.write("rotten")
		f.rest(time.Minute)
		f.targets["one"].take()
		start := time.Now().Add(-time.Minute)
		at := f.verifies("one", start, finds(transport.Difference{Path: "rotten", Size: 1}, transport.Difference{Path: "extra", Extra: true}))
		f.rest(day)
		near(f, *at, day)
		calls := f.targets["one"].take()
		var ops []string
		for _, c := range calls {
			ops = append(ops, fmt.Sprint(c.op, " ", c.paths))
		}
		if want := []string{"update-content [rotten]", "remove [extra]", "update [.]"}; !slices.Equal(ops, want) {
			f.Errorf("sent %q, want %q", ops, want)
		}
		v := f.verified("one")
		if v == nil || v.Differences != 2 || !v.Repaired || !v.Content || v.AsOf.Before(start.Add(day-2*time.Minute)) {
			f.Errorf("verified %+v", v)
		}
		f.rest(day)
		near(f, *at, day, 2*day)
	})
}

// What the target has not got yet, because it is slow, is no difference; nor is what changes while it is looked at.
func TestVerificationDoesNotCountWhatIsOnItsWay(t *testing.T) {
	inBubble(t, daily, func(f *fake) {
		f.verifies("one", time.Now(), func(context.Context) ([]transport.Difference, error) {
			f.write("hot")
			return []transport.Difference{{Path: "slow", Missing: true}, {Path: "hot"}, {Path: "rotten"}}, nil
		})
		f.targets["one"].set(func(ctx context.Context, b transport.Batch) (transport.Report, error) {
			if slices.Contains(b.Paths, "slow") {
				return transport.Report{}, takes(2 * time.Hour)(ctx)
			}
			return transport.Report{}, nil
		})
		f.write("rotten")
		f.rest(day - time.Hour)
		f.write("slow")
		f.rest(6 * time.Hour)
		if v := f.verified("one"); v == nil || v.Differences != 1 || !v.Repaired {
			f.Errorf("verified %+v, want one difference", v)
		}
	})
}

func TestVerificationThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, daily, func(f *fake) {
		start, away := time.Now(), atomic.Bool{}
		away.Store(true)
		at := f.verifies("one", start, func(context.Context) ([]transport.Difference, error) {
			if away.Load() {
				return nil, &transport.Error{Kind: transport.Away, Err: errors.New("no route")}
			}
			return nil, nil
		})
		f.rest(day + 6*time.Hour)
		if len(*at) < 10 || f.verified("one") != nil || f.state("one") != "idle" {
			f.Errorf("%d tries, verified %+v, state %q", len(*at), f.verified("one"), f.state("one"))
		}
		away.Store(false)
		f.rest(time.Hour)
		if v := f.verified("one"); v == nil || v.Differences != 0 || !v.Repaired {
			f.Errorf("verified %+v", v)
		}
		tries := len(*at)
		f.rest(day - 2*time.Hour)
		if len(*at) != tries {
			f.Errorf("verified %d times more within a day", len(*at)-tries)
		}
	})
}

// A comparison by content may take days.
func TestSweepDoesNotWaitForAVerification(t *testing.T) {
	inBubble(t, daily, func(f *fake) {
		f.verifies("one", time.Now(), func(ctx context.Context) ([]transport.Difference, error) { return nil, takes(10 * time.Hour)(ctx) })
		f.rest(day + time.Hour)
		if s := f.src.Status().Targets[0]; s.Verifying == nil {
			f.Fatal("it is not verified")
		}
		f.must(f.src.Sweep())
		f.rest(time.Minute)
		if s := f.src.Status().Targets[0]; s.Swept == nil || s.Verifying == nil || s.Waiting > 0 {
			f.Errorf("swept %v, verifying %v, waiting %d", s.Swept, s.Verifying, s.Waiting)
		}
		// A pause ends it, and it begins anew.
		f.must(f.src.Pause())
		f.rest(time.Minute)
		if s := f.src.Status().Targets[0]; s.Verifying != nil {
			f.Error("it is verified while it is paused")
		}
		f.must(f.src.Resume())
		f.rest(11 * time.Hour)
		if f.verified("one") == nil {
			f.Error("it was not verified after the pause")
		}
	})
}

func TestRestartKeepsWhenATargetWasVerified(t *testing.T) {
	inBubble(t, func(f *fake) { daily(f); f.opts.StateDir = f.TempDir() }, func(f *fake) {
		start := time.Now()
		f.write("kept")
		f.rest(10 * time.Hour)
		// Restarts do not put off the first one.
		f.again(func(g *fake) {
			g.verifies("one", start, finds(transport.Difference{Path: "extra", Extra: true}))
			f.rest(20 * time.Hour)
		})
		before := f.verified("one")
		if before == nil || before.Differences != 1 {
			f.Fatalf("verified %+v: what was missed while it was down", before)
		}
		var at *[]time.Duration
		f.again(func(g *fake) { at = g.verifies("one", before.AsOf, finds()) })
		if diff := cmp.Diff(before, f.verified("one")); diff != "" {
			f.Errorf("after a restart (-before +after):\n%s", diff)
		}
		f.rest(day)
		near(f, *at, day)
	})
}

func TestVerificationThatWasMissedIsMadeUpFor(t *testing.T) {
	inBubble(t, func(f *fake) { daily(f); f.opts.StateDir = f.TempDir() }, func(f *fake) {
		nightly := func(g *fake) { g.opts.Verify.Every, g.opts.Verify.At = 0, everyDay{} }
		f.again(func(g *fake) { nightly(g); g.verifies("one", time.Now(), finds()) })
		if v := f.verified("one"); v != nil {
			f.Fatalf("verified %+v before it was due", v)
		}
		f.again(func(g *fake) {
			nightly(g)
			g.verifies("one", time.Now(), finds())
			f.rest(30 * time.Hour)
		})
		if v := f.verified("one"); v == nil {
			f.Error("what was due while it was down is not made up for")
		}
	})
}

// A removal that a verification finds necessary passes the brakes as any other.
func TestRepairIsHeldByTheRemovalBudget(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		f.write("kept")
		f.rest(time.Minute)
		f.targets["one"].take()
		var all []transport.Difference
		for i := range 2000 {
			all = append(all, transport.Difference{Path: change.Path(fmt.Sprint("extra", i)), Extra: true})
		}
		f.must(f.src.Repair(f.Context(), "one", false, all))
		f.rest(time.Minute)
		s := f.src.Status()
		if s.Brake == nil || s.Brake.Kind != "removal-budget" || s.Brake.Held != 2000 {
			f.Errorf("the brake is %+v", s.Brake)
		}
		if sent := f.sent("one"); len(sent) > 0 {
			f.Errorf("sent %d paths", len(sent))
		}
	})
}

// lookTwice is a verification of an empty target whose two looks find what the test says.
func lookTwice(t *testing.T, dir string, looks [2][]transport.Difference, moving map[change.Path]bool, between func()) []string {
	t.Helper()
	root, err := scan.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	keepAll, err := filter.New()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	tr := &fakeTransport{sweep: func(_ context.Context, s transport.Sweep, yield func(transport.Difference) error) error {
		if s.Shallow != (n == 1) {
			t.Errorf("look %d: %+v", n, s)
		}
		for _, d := range looks[n] {
			if err := yield(d); err != nil {
				return err
			}
		}
		n++
		between()
		return nil
	}}
	var got []string
	v := replicate.Verification{
		Root: root, Filter: keepAll, Transport: tr,
		OnItsWay: func(_ context.Context, paths []change.Path) ([]bool, error) {
			way := make([]bool, len(paths))
			for i, p := range paths {
				way[i] = moving[p]
			}
			return way, nil
		},
	}
	err = v.Run(t.Context(), func(d replicate.Found) error {
		text := d.Path.String()
		if d.OnItsWay {
			text += " moves"
		}
		got = append(got, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func TestDifferenceCountsWhenItIsThereTwiceAndNobodyMovesIt(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"rotten", "hot", "arrived", "new/sub/file"} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	first := []transport.Difference{
		{Path: "rotten"},
		{Path: "hot"},
		{Path: "arrived"},
		{Path: "sent", Extra: true},
		{Path: "new", Missing: true, Dir: true},
		{Path: "new/sub", Missing: true, Dir: true},
		{Path: "new/sub/file", Missing: true},
		{Path: "old", Extra: true, Dir: true},
		{Path: "old/file", Extra: true},
	}
	// The second look is one at single directories: it tells of the topmost of what one side lacks.
	second := []transport.Difference{{Path: "rotten"}, {Path: "hot"}, {Path: "new", Missing: true, Dir: true}, {Path: "old", Extra: true, Dir: true}}
	touch := func() {
		if err := os.Chmod(filepath.Join(dir, "hot"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	looked := 0
	got := lookTwice(t, dir, [2][]transport.Difference{first, second}, map[change.Path]bool{"sent": true}, func() {
		if looked++; looked == 2 {
			touch()
		}
	})
	want := []string{"hot moves", "new", "new/sub", "new/sub/file", "old", "old/file", "rotten", "sent moves"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
}
