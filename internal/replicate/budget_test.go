package replicate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

// files writes n files below dir, with a directory for each hundred. What is as young as the start of a source counts as made after it: they are not.
func (r *rig) files(dir string, n int) {
	r.t.Helper()
	last := ""
	for i := range n {
		last = fmt.Sprintf("%s/%02d/f%d", dir, i/100, i)
		r.write(last, "x")
	}
	r.ticked(last)
}

// count is how many files a module has below dir.
func (r *rig) count(module, dir string) int {
	n := 0
	_ = filepath.WalkDir(filepath.Join(r.daemon.Dir(module), dir), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}

func (r *rig) brakeIs(kind string) func() bool {
	return func() bool { b := r.src.Status().Brake; return b != nil && b.Kind == kind }
}

// noBrake says that removals were never held.
func (r *rig) noBrake() {
	r.t.Helper()
	if strings.Contains(r.logged.String(), "removals are held") {
		r.t.Errorf("removals were held: %s", r.logged)
	}
}

func TestP7MoreRemovalsThanTheBudgetAreHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("big", 1200)
	r.files("rest", 800)
	r.start()
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "big")))
	r.eventually("the budget holds", r.brakeIs("removal-budget"))
	r.eventually("what is held is listed", func() bool { return r.src.Status().Brake.Held > 0 })
	r.write("new", "transfers go on")
	r.wants("new")
	if n := r.count("one", "big"); n < 200 {
		t.Errorf("%d of 1200 files are left", n)
	}
	if n := strings.Count(r.logged.String(), "removals are held"); n != 1 {
		t.Errorf("said %d times that removals are held", n)
	}
	r.src.Approve()
	r.equal("one")
	if b := r.src.Status().Brake; b != nil {
		t.Errorf("brake after the approval: %+v", b)
	}
	// What is left is small in number, and a budget of its own from now on.
	r.must(os.RemoveAll(filepath.Join(r.dir, "rest/00")))
	r.equal("one")
}

func TestP7RenameOfMostOfTheTreeIsWithinTheBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("big", 1200)
	r.files("rest", 800)
	r.start()
	r.equal("one")
	for i := range 3 {
		from, to := "big", fmt.Sprintf("big%d", i)
		if i > 0 {
			from = fmt.Sprintf("big%d", i-1)
		}
		r.must(os.Rename(filepath.Join(r.dir, from), filepath.Join(r.dir, to)))
		r.equal("one")
	}
	r.noBrake()
}

// gatedWatcher waits before it covers a directory.
type gatedWatcher struct {
	watch.Watcher
	gate func(change.Path)
}

func (w gatedWatcher) Cover(fd int, p change.Path) error {
	w.gate(p)
	return w.Watcher.Cover(fd, p)
}

// A directory that was renamed, and that the index did not follow, is in it when it was walked, and that may take long.
func TestP7RenameIsJudgedWhenItWasWalked(t *testing.T) {
	t.Parallel()
	walked := make(chan struct{})
	open := sync.OnceFunc(func() { close(walked) })
	t.Cleanup(open)
	r := newRig(t, func(r *rig) {
		r.opts.MoveLeast = 1 << 40
		inner := r.opts.NewWatcher
		r.opts.NewWatcher = func(root *scan.Root) (watch.Watcher, error) {
			w, err := inner(root)
			return gatedWatcher{w, func(p change.Path) {
				if p == "moved" {
					<-walked
				}
			}}, err
		}
	})
	r.files("big", 1200)
	r.files("rest", 300)
	r.start()
	r.equal("one")
	r.must(os.Rename(filepath.Join(r.dir, "big"), filepath.Join(r.dir, "moved")))
	r.eventually("the index shrinks", func() bool { return r.src.Status().Indexed < 500 })
	// The guard judges every second, too.
	judged := time.Now().Add(1500 * time.Millisecond)
	r.eventually("it was judged several times", func() bool { return time.Now().After(judged) })
	r.write("new", "transfers go on")
	r.wants("new")
	r.noBrake()
	if n := r.count("one", "big"); n != 1200 {
		t.Errorf("%d of 1200 files are left", n)
	}
	open()
	r.equal("one")
	r.noBrake()
}

func TestSmallTreesHaveNoBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("few", 60)
	r.start()
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "few")))
	r.write("other", "x")
	r.equal("one")
	r.noBrake()
}

// What is put back needs nobody's approval.
func TestBudgetIsReleasedWhenMostIsBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("old", 1200)
	r.files("rest", 100)
	r.start()
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "old")))
	r.eventually("the budget holds", r.brakeIs("removal-budget"))
	r.files("new", 1200)
	r.eventually("the brake is released", func() bool { return r.src.Status().Brake == nil })
	r.equal("one")
}

// Switched off, everything goes.
func TestBudgetThatIsOffHoldsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.opts.RemovalBudget = replicate.RemovalBudget{Off: true} })
	r.files("big", 300)
	r.write("rest", "x")
	r.start()
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "big")))
	r.equal("one")
	r.noBrake()
}

// A target that was away when it happened does not lose what the others were spared.
func TestP7BudgetHoldsForATargetThatWasAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("big", 300)
	r.write("rest", "x")
	r.start()
	r.equal("one")
	r.daemon.Stop()
	r.must(os.RemoveAll(filepath.Join(r.dir, "big")))
	r.eventually("the budget holds", r.brakeIs("removal-budget"))
	r.daemon.Restart()
	r.eventually("the removals are held", func() bool { b := r.src.Status().Brake; return b != nil && b.Held > 0 })
	if n := r.count("one", "big"); n != 300 {
		t.Errorf("%d of 300 files are left", n)
	}
	r.src.Approve()
	r.equal("one")
}

// What a comparison at the start finds too much counts as well, less what it finds missing.
func TestP7ExtrasOfAComparisonCountAgainstTheBudget(t *testing.T) {
	t.Parallel()
	t.Run("too many", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		r.write("a", "x")
		for i := range 200 {
			r.put("one", fmt.Sprintf("extra%d", i))
		}
		r.start()
		r.eventually("the extras are held", func() bool { b := r.src.Status().Brake; return b != nil && b.Kind == "removal-budget" && b.Held == 200 })
		r.wants("a")
		if n := r.count("one", "."); n != 201 {
			t.Errorf("%d of 201 files are there", n)
		}
		r.src.Approve()
		r.equal("one")
	})
	t.Run("as many came", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		r.files("new", 200)
		for i := range 200 {
			r.put("one", fmt.Sprintf("extra%d", i))
		}
		r.start()
		r.equal("one")
		r.noBrake()
	})
}

// A directory that a file took the place of is lost by an update, not by a removal.
func TestP7FileInPlaceOfMostOfTheTreeIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("big", 300)
	r.write("rest", "x")
	armed := make(chan struct{})
	r.opts.Targets[0].Transport = before{r.opts.Targets[0].Transport, func(b transport.Batch) {
		select {
		case <-armed:
			if !b.Keep {
				t.Errorf("a batch may remove: %+v", b.Paths)
			}
		default:
		}
	}}
	r.start()
	r.equal("one")
	// In one step, so that no removal is allowed before it.
	r.must(os.Rename(filepath.Join(r.dir, "big"), r.dir+"-big"))
	r.must(os.WriteFile(filepath.Join(r.dir, "big"), nil, 0o644))
	close(armed)
	r.eventually("the budget holds", r.brakeIs("removal-budget"))
	r.write("new", "x")
	r.wants("new")
	if n := r.count("one", "big"); n != 300 {
		t.Errorf("%d of 300 files are left", n)
	}
}

// A stop while it is not decided yet sends nothing that would have been held.
func TestP7StopWhileTooMuchIsGoneRemovesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("big", 300)
	r.write("rest", "x")
	r.start()
	r.equal("one")
	r.must(os.Rename(filepath.Join(r.dir, "big"), r.dir+"-big"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_ = r.src.Wait(ctx)
	r.stop()
	if n := r.count("one", "big"); n != 300 {
		t.Errorf("%d of 300 files are left", n)
	}
}

// A build, or an archive that was unpacked to look at it: what is that young is no loss.
func TestTreeThatIsRemovedSoonAfterItsMakingIsWithinTheBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.files("kept", 100)
	r.start()
	r.equal("one")
	r.files("built", 1500)
	r.equal("one")
	r.must(os.Rename(filepath.Join(r.dir, "built"), filepath.Join(r.dir, "moved")))
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "moved")))
	r.equal("one")
	r.noBrake()
}
