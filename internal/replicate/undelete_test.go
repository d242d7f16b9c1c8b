package replicate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/undelete"
)

// sameRootTime waits until the root of the target has the time of that of the source, which is quiet.
func (r *rig) sameRootTime() {
	r.t.Helper()
	var here, there time.Time
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		is, err := os.Stat(r.dir)
		r.must(err)
		at, err := os.Stat(r.daemon.Dir("one"))
		r.must(err)
		if here, there = is.ModTime(), at.ModTime(); here.Equal(there) {
			return
		}
	}
	r.t.Errorf("the root has the time %v at the source and %v on the target", here, there)
}

// What comes back is sent before the directory is gone in which it was staged, and that changes the time of the root once more.
func TestTimeOfTheRootArrivesAfterAnUndelete(t *testing.T) {
	f, err := filter.New()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(r *rig) {
		noBudget(r)
		r.opts.Filter = f
	})
	r.write("d/f", "x")
	r.start()
	r.wait()
	root, err := scan.OpenRoot(r.dir)
	r.must(err)
	defer root.Close()
	staging, err := undelete.Stage(root, "d/g")
	r.must(err)
	into, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", staging.Dir().Fd()))
	r.must(err)
	r.must(os.Mkdir(filepath.Join(into, "d"), 0o755))
	r.must(os.WriteFile(filepath.Join(into, "d/g"), []byte("back"), 0o644))
	r.must(staging.PutBack(false, func(change.Path, undelete.Outcome) {}))
	r.wait()
	r.must(staging.Close())
	r.sameRootTime()
}

// The trash is made in the root of the target by a removal that is further down.
func TestTimeOfTheRootIsThatOfTheSourceBesideATrash(t *testing.T) {
	r := newRig(t, keepsTrash)
	r.write("d/f", "x")
	r.write("d/g", "x")
	r.start()
	r.wait()
	r.sameRootTime()
	r.must(os.Remove(filepath.Join(r.dir, "d/f")))
	r.wait()
	r.sameRootTime()
}
