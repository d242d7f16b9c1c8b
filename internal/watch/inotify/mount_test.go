package inotify

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

func mount(t *testing.T, source, target, kind string, flags uintptr) {
	t.Helper()
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount(source, target, kind, flags, ""))
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

func TestBindMountWithinTheTreeIsAGap(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	rig := watchtest.NewRig(t, open)
	rig.Mkdir("a")
	rig.Mkdir("b")
	rig.Equal()
	mount(t, rig.Path("a"), rig.Path("b"), "", unix.MS_BIND)
	rig.Walk("")
	gaps := rig.Watcher.Status().Gaps
	if len(gaps) != 1 || gaps[0].Path != "b" || !strings.Contains(gaps[0].Err.Error(), `also mounted at "a"`) {
		t.Fatalf("gaps: %+v", gaps)
	}
	rig.Write("a/f", "x")
	rig.AwaitEvent(watch.Closed, "a/f")
}

func TestUnmountBelowTheRootIsALook(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	rig := watchtest.NewRig(t, open)
	rig.Mkdir("m")
	rig.Write("m/under", "x")
	mount(t, "tmpfs", rig.Path("m"), "tmpfs", 0)
	rig.Mkdir("m/d")
	rig.Walk("")
	rig.Equal()
	must(t, unix.Unmount(rig.Path("m"), 0))
	rig.Equal()
	rig.Write("m/under", "seen again")
	rig.Equal()
}

func TestLazyUnmountOfTheRootIsSeen(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir, err := os.MkdirTemp("", "mount")
	must(t, err)
	t.Cleanup(func() { _ = os.Remove(dir) })
	mount(t, "tmpfs", dir, "tmpfs", 0)
	t.Setenv("TMPDIR", dir)
	rig := watchtest.NewRig(t, open)
	if !strings.HasPrefix(rig.Dir, dir) {
		t.Fatalf("the tree is at %s", rig.Dir)
	}
	must(t, unix.Unmount(dir, unix.MNT_DETACH))
	if _, err := os.Stat(rig.Dir); err == nil {
		t.Fatal("the root is still there")
	}
	rig.AwaitEvent(watch.RootGone, change.Root)
}
