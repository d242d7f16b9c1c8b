package fanotify

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

func mountAt(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	must(t, unix.Mount(source, target, kind, flags, data))
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

func TestNestedMountIsWatchedByAMarkOfItsOwn(t *testing.T) {
	rig := watchtest.NewRig(t, open)
	rig.Mkdir("p/m")
	rig.Write("p/m/under", "x")
	mountAt(t, "tmpfs", rig.Path("p/m"), "tmpfs", 0, "size=10m")
	rig.Mkdir("p/m/d/e")
	rig.Walk("")
	rig.Equal()
	if st := rig.Watcher.Status(); st.Watches != 2 || len(st.Gaps) > 0 {
		t.Errorf("status: %+v", st)
	}
	rig.Write("p/m/d/e/f", "x")
	rig.Rename("p/m/d", "p/m/z")
	rig.Write("p/m/z/e/f", "xx")
	rig.Equal()
	// What it is mounted in moves: the mount moves along.
	rig.Rename("p", "q")
	rig.Write("q/m/z/e/f", "xxx")
	rig.Equal()
	rig.Write("q/m/z/e/f", "xxxx")
	rig.Equal()
	// It is not kept busy, and when it goes, what was below it comes to light.
	must(t, unix.Unmount(rig.Path("q/m"), 0))
	rig.AwaitEvent(watch.Look, "q/m")
	rig.Equal()
	rig.Write("q/m/under", "seen again")
	rig.Equal()
	if st := rig.Watcher.Status(); st.Watches != 1 {
		t.Errorf("status: %+v", st)
	}
}

// Whatever is left of a file system that was mounted again, its ids too, it is marked again.
func TestMountedAgainIsMarkedAgain(t *testing.T) {
	s := newSlow(t)
	s.mkdir("m")
	for range 3 {
		must(t, unix.Mount("tmpfs", s.path("m"), "tmpfs", 0, "size=1m"))
		must(t, s.cover("m"))
		s.drain()
		s.write("m/f")
		s.read("created m/f", "closed m/f")
		must(t, unix.Unmount(s.path("m"), 0))
	}
	s.w.Tidy(time.Now())
	if st := s.w.Status(); st.Watches != 1 {
		t.Errorf("status: %+v", st)
	}
}

// One file system at two paths below the root: a change is told by both, whichever it was made by.
func TestBindMountWithinTheTreeIsToldByBothPaths(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a/sub")
	s.mkdir("b")
	mountAt(t, s.path("a"), s.path("b"), "", unix.MS_BIND, "")
	must(t, s.cover("b"))
	s.drain()
	s.write("a/sub/f")
	s.drain()
	slices.Sort(s.got)
	want := []string{"closed a/sub/f", "closed b/sub/f", "created a/sub/f", "created b/sub/f"}
	if !slices.Equal(s.got, want) {
		t.Errorf("events: %v", s.got)
	}
	if st := s.w.Status(); st.Watches != 1 || len(st.Gaps) > 0 {
		t.Errorf("status: %+v", st)
	}
}

// The root is a directory of a file system, mounted elsewhere: what happens on the rest of the file system is outside, though
// it has paths like those of the root for the kernel.
func TestBindMountAsTheRoot(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "root")
	data := filepath.Join(base, "data")
	for _, dir := range []string{root + "/hidden", data + "/hidden", data + "/in", base + "/other"} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	hidden, err := os.Open(root + "/hidden")
	must(t, err)
	defer hidden.Close()
	mountAt(t, data, root, "", unix.MS_BIND, "")
	s := slowAt(t, root)
	touch(t, base+"/other/f")
	touch(t, data+"/f") // by the other path
	touch(t, root+"/in/f")
	must(t, hidden.Chmod(0o700)) // below the mount
	s.read("created f", "closed f", "created in/f", "closed in/f")
	must(t, os.Rename(data+"/in", base+"/other/in"))
	touch(t, base+"/other/in/g")
	s.read("moved-from in")
	must(t, os.Rename(base+"/other/in", data+"/back"))
	touch(t, data+"/back/g")
	s.read("moved-to back", "closed back/g")
}

func TestFileSystemWithoutHandlesIsAGapOnce(t *testing.T) {
	s := newSlow(t)
	s.mkdir("m")
	layers := t.TempDir()
	for _, name := range []string{"lower/d", "upper", "work"} {
		must(t, os.MkdirAll(filepath.Join(layers, name), 0o755))
	}
	mountAt(t, "overlay", s.path("m"), "overlay", 0, "lowerdir="+layers+"/lower,upperdir="+layers+"/upper,workdir="+layers+"/work")
	for _, p := range []change.Path{"m", "m/d"} {
		if err := s.cover(p); err == nil {
			t.Errorf("cover %v: no error", p)
		}
	}
	gaps := s.w.Status().Gaps
	if len(gaps) != 1 || gaps[0].Path != "m" || !strings.Contains(gaps[0].Err.Error(), "handles") {
		t.Fatalf("gaps: %+v", gaps)
	}
	must(t, unix.Unmount(s.path("m"), 0))
	must(t, s.cover("m"))
	if gaps := s.w.Status().Gaps; len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
}

// Copies of one image have one id: of two that are mounted at the same time, one is watched, and no event is taken for one of the other.
func TestFileSystemsOfTheSameIdAreToldApart(t *testing.T) {
	s := newSlow(t)
	images := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("truncate", "-s", "16M", images+"/one")
	run("mkfs.ext4", "-q", images+"/one")
	run("cp", images+"/one", images+"/two")
	for _, name := range []string{"one", "two"} {
		s.mkdir(name)
		run("mount", "-o", "loop", images+"/"+name, s.path(name))
		t.Cleanup(func() { _ = unix.Unmount(s.path(name), unix.MNT_DETACH) })
	}
	must(t, s.cover("one"))
	if err := s.cover("two"); err == nil || !strings.Contains(err.Error(), "same id") {
		t.Errorf("cover the second one: %v", err)
	}
	s.drain()
	s.write("one/f")
	s.write("two/f")
	s.read("created one/f", "closed one/f")
	must(t, unix.Unmount(s.path("one"), 0))
	must(t, s.cover("two"))
	s.write("two/g")
	s.read("created two/g", "closed two/g")
}
