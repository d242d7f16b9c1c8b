package replicate_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// before calls do right before each batch of a transport; that is after the sender has looked.
type before struct {
	transport.Transport
	do func(transport.Batch)
}

func (b before) Apply(ctx context.Context, batch transport.Batch) (transport.Report, error) {
	b.do(batch)
	return b.Transport.Apply(ctx, batch)
}

// mounted mounts a file system of its own on the source; unmount is as when somebody does it by force.
func (r *rig) mounted() (unmount func()) {
	r.t.Helper()
	r.must(unix.Mount("tmpfs", r.dir, "tmpfs", 0, "size=10m"))
	unmount = sync.OnceFunc(func() { _ = unix.Unmount(r.dir, unix.MNT_DETACH) })
	r.t.Cleanup(unmount)
	return unmount
}

func TestP7UnmountBetweenTheLookAndTheRunRemovesNothingElse(t *testing.T) {
	for _, op := range []transport.Op{transport.Update, transport.Remove} {
		t.Run(op.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			unmount := r.mounted()
			armed := make(chan struct{})
			one := r.opts.Targets[0]
			one.Transport = before{one.Transport, func(b transport.Batch) {
				select {
				case <-armed:
					if b.Op == op {
						unmount()
					}
				default:
				}
			}}
			r.opts.Targets = []replicate.TargetOptions{one}
			for _, p := range []string{"a", "b/c", "b/d", "gone"} {
				r.write(p, "x")
			}
			r.start()
			r.equal("one")
			close(armed)
			// An update and a removal in one step: the unmount follows at once.
			r.must(os.Rename(filepath.Join(r.dir, "gone"), filepath.Join(r.dir, "a")))
			r.eventually("the brake is on", func() bool { b := r.src.Status().Brake; return b != nil && b.Kind == "root-replaced" })
			r.write("new", "on the directory below")
			r.eventually("the new file arrives", func() bool { return r.exists("one", "new") })
			r.eventually("the removals are held", func() bool { return r.src.Status().Brake.Held >= 3 })
			r.has(true, "a", "b/c", "b/d")
		})
	}
}

// A root that was found empty is not what it was because it is back.
func TestP7EmptyRootThatIsMovedAwayAndBackIsStillHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.put("one", "precious")
	r.start()
	r.eventually("the removal is held", func() bool { s := r.src.Status(); return s.Brake != nil && s.Brake.Held > 0 })
	away := r.dir + "-away"
	for range 3 {
		r.must(os.Rename(r.dir, away))
		r.eventually("the root is gone", func() bool { return r.src.Status().State == "root-gone" })
		r.must(os.Rename(away, r.dir))
		r.eventually("the root is watched again", func() bool { return r.src.Status().State == "watching" })
		r.write("new", time.Now().String())
		r.wants("new")
		if b := r.src.Status().Brake; b == nil || b.Kind != "root-empty" {
			t.Errorf("brake: %+v", b)
		}
	}
	r.has(true, "precious")
}

// wants waits until a file is on the target as it is at the source.
func (r *rig) wants(rel string) {
	r.t.Helper()
	want, err := os.ReadFile(filepath.Join(r.dir, rel))
	r.must(err)
	r.eventually(rel+" arrives", func() bool { return r.there("one", rel) == string(want) })
}

// What happened to the root while it was away is known once Wait returns.
func TestWaitKnowsWhatHappenedWhileTheRootWasAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("a/b", "x")
	r.write("a/c", "x")
	r.start()
	r.equal("one")
	away := r.dir + "-away"
	r.must(os.Rename(r.dir, away))
	r.must(os.Remove(filepath.Join(away, "a/b")))
	r.must(os.WriteFile(filepath.Join(away, "a/c"), []byte("changed"), 0o644))
	r.must(os.WriteFile(filepath.Join(away, "d"), []byte("new"), 0o644))
	r.eventually("the root is gone", func() bool { return r.src.Status().State == "root-gone" })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := r.src.Wait(ctx); err == nil {
		t.Error("a wait ended while nobody knew what is at the source")
	}
	r.must(os.Rename(away, r.dir))
	r.equal("one")
}

// A source that was emptied while it was away: nobody saw it.
func TestP7EmptiedWhileNobodyWatchedIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, p := range []string{"a", "c"} {
		r.write(p, "x")
	}
	r.start()
	r.equal("one")
	away := r.dir + "-away"
	r.must(os.Rename(r.dir, away))
	r.eventually("the root is gone", func() bool { return r.src.Status().State == "root-gone" })
	r.must(os.Remove(filepath.Join(away, "c")))
	r.must(os.Remove(filepath.Join(away, "a")))
	r.must(os.Rename(away, r.dir))
	r.eventually("the removals are held", func() bool {
		s := r.src.Status()
		return s.State == "watching" && s.Brake != nil && s.Brake.Kind == "root-empty" && s.Brake.Held > 0
	})
	r.has(true, "a", "c")
	// It is as it was again.
	r.write("a", "x")
	r.write("c", "x")
	r.eventually("the brake is released", func() bool { return r.src.Status().Brake == nil })
	r.equal("one")
}
