package replicate_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/watch"
	"sersync/internal/watch/mixed"
	"sersync/internal/watch/watchtest"
)

// byHandle is a source on a file system of its own, whose files are changed as an NFS server does it after a restart: by their
// handles, while the kernel does not know where they are.
type byHandle struct {
	*rig
	disk *watchtest.Disk
}

func newByHandle(t *testing.T) *byHandle {
	t.Helper()
	r := &byHandle{disk: watchtest.NewDisk(t)}
	r.rig = newRig(t, func(r2 *rig) {
		r2.dir = filepath.Join(r.disk.Dir, "root")
		r2.opts.Path = r2.dir
		r2.watchedBy(mixed.Options{Method: watch.Fanotify})
		r2.must(os.Mkdir(r2.dir, 0o755))
	})
	return r
}

// open opens the file by its handle once the kernel has forgotten its path.
func (r *byHandle) open(rel string, flags int) int {
	r.t.Helper()
	h := r.disk.Handle("root/" + rel)
	disk, err := unix.Open(r.disk.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	r.must(err)
	defer unix.Close(disk)
	fd := -1
	r.eventually("the path is forgotten", func() bool {
		r.must(os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0))
		fd, err = unix.OpenByHandleAt(disk, h, flags|unix.O_CLOEXEC)
		r.must(err)
		// A directory that is opened finds back to its place.
		if watchtest.Forgotten(fd) || flags&unix.O_DIRECTORY != 0 {
			return true
		}
		r.must(unix.Close(fd))
		return false
	})
	return fd
}

func TestP2WriteThroughAForgottenHandleArrives(t *testing.T) {
	r := newByHandle(t)
	r.write("d/written", "before")
	r.write("d/cut", "before")
	r.write("d/mode", "before")
	r.must(os.Link(filepath.Join(r.dir, "d/written"), filepath.Join(r.dir, "another name")))
	r.start()
	r.equal("one")
	written := r.open("d/written", unix.O_WRONLY)
	_, err := unix.Write(written, []byte("by its handle"))
	r.must(err)
	r.must(unix.Close(written))
	cut := r.open("d/cut", unix.O_WRONLY)
	r.must(unix.Ftruncate(cut, 3))
	mode := r.open("d/mode", unix.O_RDONLY)
	r.must(unix.Fchmod(mode, 0o600))
	r.equal("one")
	for _, rel := range []string{"d/written", "another name"} {
		if got := r.there("one", rel); got != "by its handle" {
			t.Errorf("%s is %q", rel, got)
		}
	}
	if got := r.there("one", "d/cut"); got != "bef" {
		t.Errorf("d/cut is %q", got)
	}
	r.must(unix.Close(cut))
	r.must(unix.Close(mode))
	d := r.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
	defer unix.Close(d)
	r.must(unix.Mkdirat(d, "made", 0o755))
	r.must(unix.Renameat(d, "cut", d, "made/renamed"))
	r.equal("one")
}

// Nobody need wait for it: it arrives by itself.
func TestWriteThroughAForgottenHandleIsNoticedWithoutAWait(t *testing.T) {
	r := newByHandle(t)
	r.write("f", "before")
	r.start()
	r.equal("one")
	fd := r.open("f", unix.O_WRONLY)
	_, err := unix.Write(fd, []byte("by its handle"))
	r.must(err)
	r.must(unix.Close(fd))
	r.eventually("the content arrives", func() bool { return r.there("one", "f") == "by its handle" })
}

// A name that goes says nothing of the other names of the file, though the kernel may.
func TestFileThatLosesANameIsNotMarkedByItsInode(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		f.write("a")
		for _, name := range []string{"b", "c"} {
			if err := os.Link(filepath.Join(f.dir, "a"), filepath.Join(f.dir, name)); err != nil {
				f.Fatal(err)
			}
			f.happened(watch.Created, name)
		}
		f.rest(time.Minute)
		f.targets["one"].take()
		changed := func() []change.Path {
			f.watcher.events <- []watch.Event{{Kind: watch.Attrib, File: f.inode("a"), At: time.Now()}}
			f.rest(time.Minute)
			var paths []change.Path
			for _, c := range f.targets["one"].take() {
				paths = append(paths, c.paths...)
			}
			// A directory's times go with what went from it.
			paths = slices.DeleteFunc(paths, func(p change.Path) bool { return p == change.Root })
			slices.Sort(paths)
			return slices.Compact(paths)
		}
		f.remove("c")
		if got := changed(); !slices.Equal(got, []change.Path{"c"}) {
			t.Errorf("a name went: sent %v", got)
		}
		if err := os.Chmod(filepath.Join(f.dir, "a"), 0o600); err != nil {
			f.Fatal(err)
		}
		if got := changed(); !slices.Equal(got, []change.Path{"a", "b"}) {
			t.Errorf("the mode changed: sent %v", got)
		}
	})
}

// A file of which the index has no name is outside, or left out; but if it is neither, a look at the tree finds it.
func TestFileThatTheIndexDoesNotKnowIsSoughtOnce(t *testing.T) {
	inBubble(t, nil, func(f *fake) {
		silently := func(name string) {
			if err := os.WriteFile(filepath.Join(f.dir, name), []byte("x"), 0o644); err != nil {
				f.Fatal(err)
			}
		}
		stranger := func(ino uint64) {
			f.watcher.events <- []watch.Event{{Kind: watch.Wrote, File: change.Inode{Dev: 1, Ino: ino}, At: time.Now()}}
		}
		sent := func() int { return len(f.targets["one"].take()) }
		silently("a")
		stranger(1)
		f.rest(5 * time.Second)
		if sent() > 0 {
			t.Error("the tree was looked at before the file could get its name")
		}
		f.rest(time.Minute)
		if sent() == 0 {
			t.Error("the file was not sought")
		}
		silently("b")
		for range 100 {
			stranger(1)
			f.rest(10 * time.Second)
		}
		if sent() > 0 {
			t.Error("one file was sought twice")
		}
		stranger(2)
		f.rest(time.Minute)
		if sent() == 0 {
			t.Error("another file was not sought")
		}
	})
}

func (f *fake) inode(name string) change.Inode {
	f.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(f.dir, name), &st); err != nil {
		f.Fatal(err)
	}
	return change.StatOf(&st).Inode()
}

// A file is moved as well when something happened somewhere on the file system to another one of which nobody knows the name.
func TestFileIsMovedThoughAnotherOneHasNoName(t *testing.T) {
	r := newByHandle(t)
	var sent atomic.Int64
	r.opts.MoveFileLeast = 1
	r.opts.OnBatch = func(b replicate.BatchDone) {
		if b.Target == "one" {
			sent.Add(int64(b.Files))
		}
	}
	r.opts.Targets = []replicate.TargetOptions{r.local("one"), r.local("two")}
	r.write("a", "a 1")
	r.write("b", "b 22")
	r.write("../outside", "x")
	r.start()
	r.must(r.src.Sweep())
	r.equal("one")
	r.must(unix.Fchmod(r.open("../outside", unix.O_RDONLY), 0o600))
	r.equal("two")
	before := sent.Load()
	r.must(r.src.Pause("one"))
	r.rename("a", "tmp")
	r.rename("b", "a")
	r.rename("tmp", "b")
	r.equal("two")
	r.must(r.src.Resume("one"))
	r.equal("one")
	if n := sent.Load() - before; n > 0 {
		t.Errorf("%d files were sent", n)
	}
}
