package replicate_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/transport/local"
	"sersync/internal/treetest"
)

// While everything moves, nothing is taken for a difference that merely has not arrived yet; what somebody changed on the target
// is.
func TestVerificationOfALiveTreeFindsWhatDiffersAlone(t *testing.T) {
	t.Run("rsync", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, noBudget)
		verifyLive(t, r, r.daemon.Dir("one"), r.target("one", nil).Transport)
	})
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		to := func() transport.Transport { return local.New(local.Options{Dir: dir}) }
		r := newRig(t, func(r *rig) {
			noBudget(r)
			r.opts.Targets = []replicate.TargetOptions{{Name: "one", Identity: "one", Transport: to()}}
		})
		verifyLive(t, r, dir, to())
	})
}

func verifyLive(t *testing.T, r *rig, target string, there transport.Transport) {
	defer there.Close()
	r.write("kept/still", "still")
	r.start()
	r.wait()
	rot(r, filepath.Join(target, "kept/still"))
	stop := r.writers(3)
	defer stop()
	for complete, end := 0, time.Now().Add(time.Minute); complete < 5; {
		found, err := r.verifyOnce(there)
		for _, p := range found {
			if p != "kept/still" {
				t.Errorf("%q is taken for a difference", p)
			}
		}
		switch {
		case err == nil && len(found) == 0:
			t.Error("what rotted is not found")
			complete++
		case err == nil:
			complete++
		case time.Now().After(end):
			t.Fatalf("no comparison comes to its end: %v", err) // one fails when a directory goes while it is read
		}
	}
}

// rot changes the content of a file that is there, and nothing else of it.
func rot(r *rig, path string) {
	info, err := os.Stat(path)
	r.must(err)
	r.must(os.WriteFile(path, []byte("rotte"), 0o644))
	r.must(os.Chtimes(path, time.Time{}, info.ModTime()))
}

// writers change the tree at random, below a directory of their own, until stop.
func (r *rig) writers(n uint64) (stop func()) {
	var wg sync.WaitGroup
	var over atomic.Bool
	dir := filepath.Join(r.dir, "live")
	r.must(os.Mkdir(dir, 0o755))
	for i := range n {
		w := treetest.NewWriter(dir, 1, i)
		wg.Go(func() {
			for !over.Load() {
				if err := w.Step(); err != nil {
					r.t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		over.Store(true)
		wg.Wait()
	}
}

// verifyOnce is a verification by content, from outside of the source's own senders; it returns what counts.
func (r *rig) verifyOnce(there transport.Transport) (found []change.Path, err error) {
	root, err := scan.OpenRoot(r.dir)
	r.must(err)
	defer root.Close()
	rules, err := filter.New()
	r.must(err)
	v := replicate.Verification{
		Root: root, Filter: rules, Transport: there, Sweep: transport.Sweep{Extras: true, Content: true},
		OnItsWay: func(ctx context.Context, paths []change.Path) ([]bool, error) {
			return r.src.OnItsWay(ctx, "one", paths)
		},
	}
	err = v.Run(context.Background(), func(f replicate.Found) error {
		if !f.OnItsWay {
			found = append(found, f.Path)
		}
		return nil
	})
	return found, err
}
