package replicate_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A file system below the source that goes takes nothing along on the targets until a person says so.
func TestP7UnmountBelowTheRootHoldsRemovals(t *testing.T) {
	r := newRig(t, nil)
	at := filepath.Join(r.dir, "disk")
	r.must(os.Mkdir(at, 0o755))
	r.must(unix.Mount("tmpfs", at, "tmpfs", 0, "size=10m"))
	mounted := true
	t.Cleanup(func() {
		if mounted {
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	})
	r.write("disk/a/b", "x")
	r.write("other", "y")
	r.start()
	r.equal("one")
	r.must(unix.Unmount(at, 0))
	mounted = false
	r.eventually("the brake is on", func() bool { b := r.src.Status().Brake; return b != nil && b.Kind == "mount-changed" })
	r.must(os.Remove(filepath.Join(r.dir, "other")))
	r.write("new", "transfers go on")
	r.eventually("the new file arrives", func() bool { return r.exists("one", "new") })
	r.eventually("removals are held", func() bool { b := r.src.Status().Brake; return b != nil && b.Held > 0 })
	if !r.exists("one", "disk/a/b") || !r.exists("one", "other") {
		t.Fatal("something was removed")
	}
	r.src.Approve()
	r.equal("one")
}
