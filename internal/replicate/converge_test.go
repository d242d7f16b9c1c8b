package replicate_test

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/treetest"
	"sersync/internal/watch/mixed"
)

var (
	seed  = flag.Uint64("seed", 0, "seed of the random operations; 0 runs the usual ones")
	steps = flag.Int("steps", 400, "random operations of each writer")
)

// P1 and P2: whatever four writers do to the source, its target equals it in the end. A failing seed
// is run again by: go test ./internal/replicate -run Converge -seed N
func TestP1ConvergeAfterRandomOperations(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	byEach(t, func(t *testing.T, by mixed.Options) {
		for _, seed := range seeds {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				converge(t, seed, by)
			})
		}
	})
}

func converge(t *testing.T, seed uint64, by mixed.Options) {
	r := newRig(t, func(r *rig) { noBudget(r); r.watchedBy(by) })
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
	r.equal("one")
}

func TestInitialSweepBringsWhatIsThereAndRemovesWhatIsNot(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("a/b/c", "one")
	r.write("d", "two")
	r.must(os.MkdirAll(filepath.Join(r.daemon.Dir("one"), "extra/deep"), 0o755))
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "extra/deep/x"), nil, 0o644))
	r.start()
	r.equal("one")
}

func TestStartWithoutInitialOnlyWatches(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.opts.Initial = false })
	r.write("old", "old")
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "extra"), nil, 0o644))
	written := time.Now()
	// What is as young as the tick of the clock may have changed after the start.
	r.eventually("the clock of the file system ticks", func() bool { return scan.Now().After(written) })
	r.start()
	r.wait()
	r.write("new", "new")
	r.wait()
	if got := r.there("one", "new"); got != "new" {
		t.Errorf("the new file is %q on the target", got)
	}
	if r.exists("one", "old") || !r.exists("one", "extra") {
		t.Errorf("what did not change was touched: old is there: %v, extra is there: %v", r.exists("one", "old"), r.exists("one", "extra"))
	}
}

func TestNoRemovalsNeverRemoves(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.opts.NoRemovals = true })
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "extra"), nil, 0o644))
	r.write("a", "a")
	r.write("d/b", "b")
	r.start()
	r.wait()
	r.must(os.Remove(filepath.Join(r.dir, "a")))
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.must(os.Mkdir(filepath.Join(r.dir, "d"), 0o755))
	r.wait()
	for _, p := range []string{"extra", "a", "d/b"} {
		if !r.exists("one", p) {
			t.Errorf("%q was removed", p)
		}
	}
}

func TestChangesDuringTheInitialSweepArrive(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for i := range 300 {
		r.write("d"+strconv.Itoa(i%30)+"/f"+strconv.Itoa(i), "first")
	}
	r.start()
	for i := range 300 {
		r.write("d"+strconv.Itoa(i%30)+"/f"+strconv.Itoa(i), "second version")
		if i%3 == 0 {
			r.must(os.Remove(filepath.Join(r.dir, "d"+strconv.Itoa(i%30)+"/f"+strconv.Itoa(i))))
		}
	}
	r.equal("one")
}

func TestEachOfSeveralTargetsGetsAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Targets = []replicate.TargetOptions{r.target("one", nil), r.target("two", nil), r.target("three", nil)}
	})
	r.start()
	for i := range 100 {
		r.write("d"+strconv.Itoa(i%7)+"/f"+strconv.Itoa(i), "content "+strconv.Itoa(i))
	}
	for _, module := range []string{"one", "two", "three"} {
		r.equal(module)
	}
}

// A new tree is found by a walk, not by events: a stop waits for it.
func TestStopRightAfterANewTreeSendsAllOfIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	r.wait()
	for i := range 300 {
		r.write("new/a"+strconv.Itoa(i%10)+"/b/c"+strconv.Itoa(i%7)+"/f"+strconv.Itoa(i), "x")
	}
	r.stop()
	treetest.Equal(t, r.dir, r.daemon.Dir("one"), nil)
}
