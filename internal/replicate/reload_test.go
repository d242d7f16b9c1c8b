package replicate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sersync/internal/replicate"
	"sersync/internal/transport/rsync"
	"sersync/internal/treetest"
)

// retarget reloads with these targets.
func (r *rig) retarget(targets ...replicate.TargetOptions) {
	r.t.Helper()
	opts := r.opts
	opts.Targets = targets
	r.must(r.src.Reload(opts))
}

// changed is a target whose configuration is another one.
func (r *rig) changed(module string, n int) replicate.TargetOptions {
	o := r.target(module, func(o *rsync.Options) { o.Bandwidth = 100_000 + n })
	o.Identity = fmt.Sprint(module, n)
	return o
}

func TestTargetsComeChangeAndGoWhileFilesAreWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, noBudget)
	r.start()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range uint64(2) {
		w := treetest.NewWriter(r.dir, 11, i)
		wg.Go(func() {
			for range 2000 {
				select {
				case <-stop:
					return
				default:
				}
				if err := w.Step(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 6 {
		two := r.changed("two", n/2) // the same again each second time
		r.retarget(r.changed("one", n), two)
		if n == 3 {
			r.retarget(r.changed("one", n))
		}
	}
	r.retarget(r.target("one", nil), r.target("three", nil))
	close(stop)
	wg.Wait()
	r.equal("one")
	r.equal("three")
	if n := len(r.src.Status().Targets); n != 2 {
		t.Errorf("%d targets", n)
	}
	// Nobody writes to a target that is gone.
	r.write("late", "x")
	r.wait()
	r.has(true, "late")
	if r.exists("two", "late") {
		t.Error("a target that was taken out got a change")
	}
}

// A wait that runs while its target is changed is not told that all is there.
func TestWaitHoldsWhileItsTargetIsChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("f", "x")
	r.start()
	r.equal("one")
	var waits sync.WaitGroup
	defer waits.Wait() // the source is stopped after that
	for n := range 20 {
		want := fmt.Sprint("content ", n)
		r.write("f", want)
		waits.Go(func() { r.wait() })
		r.retarget(r.changed("one", n))
		r.wait()
		if got := r.there("one", "f"); got != want {
			t.Fatalf("after a wait the target has %q, want %q", got, want)
		}
	}
}

func TestChangeOfATargetKeepsWhatItIsOwed(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("d/a", "x")
	r.write("b", "x")
	r.start()
	r.equal("one")
	r.daemon.Stop()
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.write("c", "x")
	r.eventually("the target is away", func() bool { return r.src.Status().Targets[0].State == "away" })
	r.retarget(r.changed("one", 1))
	r.daemon.Restart()
	r.equal("one")
}

func TestReloadKeepsABrake(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.put("one", "precious")
	r.start()
	r.eventually("the removal is held", func() bool { s := r.src.Status(); return s.Brake != nil && s.Brake.Held > 0 })
	r.retarget(r.changed("one", 1))
	r.write("new", "x")
	r.eventually("the new file arrives", func() bool { return r.exists("one", "new") })
	r.has(true, "precious")
	if s := r.src.Status(); s.Brake == nil || s.Brake.Held == 0 {
		t.Errorf("brake: %+v", s.Brake)
	}
	r.src.Approve()
	r.equal("one")
}

func TestReloadThatIsWrongChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	opts := r.opts
	opts.Path = t.TempDir()
	if err := r.src.Reload(opts); err == nil {
		t.Error("another path was taken")
	}
	opts = r.opts
	opts.Targets = nil
	if err := r.src.Reload(opts); err == nil {
		t.Error("no target was taken")
	}
	r.write("f", "x")
	r.equal("one")
	r.stop()
	opts.Targets = []replicate.TargetOptions{r.changed("one", 1)}
	if err := r.src.Reload(opts); err == nil {
		t.Error("a source that was stopped was reloaded")
	}
}

// A target that a reload brings gets everything that is there, and the others are left alone.
func TestTargetOfAReloadIsFilled(t *testing.T) {
	t.Parallel()
	r, sent := keptRig(t, nil)
	r.start()
	r.write("d/f", "x")
	r.equal("one")
	sent.reset()
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("two"), "its own"), []byte("x"), 0o644))
	opts := r.opts
	opts.Targets = []replicate.TargetOptions{r.target("one", nil), r.target("two", nil)}
	r.must(r.src.Reload(opts))
	r.wait()
	if r.there("two", "d/f") != "x" || !r.exists("two", "its own") {
		t.Errorf("the new target has d/f %q; its own file is there: %v", r.there("two", "d/f"), r.exists("two", "its own"))
	}
}
