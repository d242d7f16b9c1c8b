package replicate_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/transport/rsync"
	"sersync/internal/treetest"
	"sersync/internal/watch/mixed"
)

// A file system below the source that goes takes nothing along on the targets until a person says so.
func TestP7UnmountBelowTheRootHoldsRemovals(t *testing.T) {
	byEach(t, unmountHoldsRemovals)
}

func unmountHoldsRemovals(t *testing.T, by mixed.Options) {
	r := newRig(t, func(r *rig) { r.watchedBy(by) })
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
	r.eventually("what is elsewhere is removed", func() bool { return !r.exists("one", "other") })
	if !r.exists("one", "disk/a/b") {
		t.Fatal("something was removed that was below the mount")
	}
	r.src.Approve()
	r.equal("one")
}

// A file system that is mounted again as it was releases what was held because of it, without anybody's help.
func TestP7FileSystemThatIsBackReleasesWhatItHeld(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		r := newRig(t, func(r *rig) { r.watchedBy(by) })
		at, elsewhere := filepath.Join(r.dir, "disk"), t.TempDir()
		r.must(os.Mkdir(at, 0o755))
		r.must(unix.Mount("tmpfs", elsewhere, "tmpfs", 0, "size=10m"))
		t.Cleanup(func() { _ = unix.Unmount(elsewhere, unix.MNT_DETACH) })
		r.must(unix.Mount(elsewhere, at, "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
		r.write("disk/a/b", "x")
		r.write("disk/c", "x")
		r.start()
		r.equal("one")
		r.must(unix.Unmount(at, 0))
		r.eventually("the removals are held", func() bool {
			b := r.src.Status().Brake
			return b != nil && b.Kind == "mount-changed" && b.Held > 0
		})
		r.must(os.Remove(filepath.Join(elsewhere, "c")))
		r.must(unix.Mount(elsewhere, at, "", unix.MS_BIND, ""))
		r.eventually("nothing is held", func() bool { return r.src.Status().Brake == nil })
		r.eventually("what went meanwhile is removed", func() bool { return !r.exists("one", "disk/c") })
		r.equal("one")
	})
}

// With one_file_system nothing is sent of what is mounted below the source, and nothing is removed because of it: not of
// what was there before it was mounted, nor when it goes; and what was hidden by it goes on as before.
func TestP7OneFileSystemLeavesTargetsAloneBelowMounts(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		r := newRig(t, nil)
		var err error
		r.opts.Filter, err = filter.New(filter.OneFileSystem(r.dir))
		r.must(err)
		by.OneFileSystem = true
		r.watchedBy(by)
		r.opts.Targets = []replicate.TargetOptions{r.target("one", func(o *rsync.Options) { o.Params = []string{"-a", "-x"} })}
		at := filepath.Join(r.dir, "disk")
		r.write("disk/hidden/f", "x")
		r.write("other", "y")
		r.must(os.MkdirAll(filepath.Join(r.daemon.Dir("one"), "disk/only/there"), 0o755))
		r.opts.Initial = false
		r.start()
		r.wait() // until all is watched
		r.write("disk/hidden/f", "xx")
		r.wait()
		if got := r.there("one", "disk/hidden/f"); got != "xx" {
			t.Fatalf("before the mount: %q", got)
		}
		r.must(unix.Mount("tmpfs", at, "tmpfs", 0, "size=10m"))
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
		r.must(os.Chmod(at, 0o711))
		r.write("disk/in/f", "never sent")
		r.write("new", "z")
		r.wait()
		r.must(r.src.Sweep())
		r.eventually("a comparison is over", func() bool { s := r.src.Status().Targets[0]; return s.Swept != nil && s.Sweep == nil })
		r.wait()
		untouched := func(when string) {
			t.Helper()
			if got := r.there("one", "disk/hidden/f"); got != "xx" || !r.exists("one", "disk/only/there") || r.exists("one", "disk/in") {
				t.Errorf("%s: what was hidden is %q; the target has %v", when, got, treetest.Snapshot(t, r.daemon.Dir("one"), nil))
			}
			if b := r.src.Status().Brake; b != nil {
				t.Errorf("%s: brake %+v", when, b)
			}
		}
		untouched("mounted")
		if r.there("one", "new") != "z" {
			t.Error("what is beside the mount was not sent")
		}
		r.must(unix.Unmount(at, 0))
		r.wait()
		r.write("disk/hidden/g", "seen again")
		r.eventually("it is watched again", func() bool { return r.there("one", "disk/hidden/g") != "" })
		untouched("unmounted")
	})
}

// An empty file system that is mounted where another one was releases nothing, also when it has got the number of that.
func TestP7AnotherFileSystemInItsPlaceReleasesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	at := filepath.Join(r.dir, "disk")
	r.must(os.Mkdir(at, 0o755))
	r.must(unix.Mount("tmpfs", at, "tmpfs", 0, "size=10m"))
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	r.write("disk/a/b", "x")
	r.start()
	r.equal("one")
	held := func() bool { b := r.src.Status().Brake; return b != nil && b.Kind == "mount-changed" && b.Held > 0 }
	r.must(unix.Unmount(at, 0))
	r.eventually("the removals are held", held)
	r.must(unix.Mount("tmpfs", at, "tmpfs", 0, "size=10m"))
	looks := time.NewTicker(100 * time.Millisecond)
	defer looks.Stop()
	for range 25 { // the mounts are looked at each second
		<-looks.C
		if !held() || !r.exists("one", "disk/a/b") {
			t.Fatalf("it was released: %+v", r.src.Status())
		}
	}
}
