package inotify

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
)

// slow is a watcher that reads only when it is told to, so that what the kernel has queued
// and what is covered can be set against each other.
type slow struct {
	t   *testing.T
	dir string
	w   *Watcher
	got []string
}

func newSlow(t *testing.T) *slow {
	t.Helper()
	s := &slow{t: t, dir: filepath.Join(t.TempDir(), "root")}
	must(t, os.Mkdir(s.dir, 0o755))
	root, err := scan.OpenRoot(s.dir)
	must(t, err)
	s.w, err = New(root, Options{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { s.w.Close(); root.Close() })
	s.w.sink = s.sink
	must(t, s.cover(""))
	return s
}

func (s *slow) sink(events []watch.Event) {
	for _, e := range events {
		s.got = append(s.got, e.Kind.String()+" "+e.Path.String())
	}
}

func (s *slow) path(p string) string { return filepath.Join(s.dir, p) }

func (s *slow) cover(p change.Path) error {
	s.t.Helper()
	dir, err := s.w.root.OpenDir(p)
	must(s.t, err)
	defer dir.Close()
	return s.w.Cover(int(dir.Fd()), p)
}

func (s *slow) mkdir(paths ...string) {
	s.t.Helper()
	for _, p := range paths {
		must(s.t, os.Mkdir(s.path(p), 0o755))
		must(s.t, s.cover(change.Path(p)))
	}
}

// write makes p when there is none, and closes it.
func (s *slow) write(p string) {
	s.t.Helper()
	f, err := os.OpenFile(s.path(p), os.O_WRONLY|os.O_CREATE, 0o644)
	must(s.t, err)
	must(s.t, f.Close())
}

func (s *slow) rename(p, q string) { must(s.t, os.Rename(s.path(p), s.path(q))) }

// read reads all that is queued and asserts what comes of it.
func (s *slow) read(want ...string) {
	s.t.Helper()
	s.drain()
	if diff := cmp.Diff(want, s.got); diff != "" {
		s.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func (s *slow) drain() {
	s.t.Helper()
	s.got = nil
	for {
		n, err := unix.IoctlGetInt(s.w.queue.FD, unix.TIOCINQ)
		must(s.t, err)
		if n == 0 {
			return
		}
		must(s.t, s.w.queue.ReadOnce(s.w))
	}
}

func (s *slow) watches(want int) {
	s.t.Helper()
	if got := s.w.Status().Watches; got != want {
		s.t.Errorf("%d watches, not %d", got, want)
	}
}

func TestMovedOutIsSilentAndLetGo(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a", "a/b")
	s.drain()
	must(t, os.Rename(s.path("a"), s.dir+".out"))
	must(t, os.WriteFile(s.dir+".out/b/f", nil, 0o644))
	s.read("moved-from a")
	now := time.Now()
	s.w.Tidy(now)
	s.watches(3)
	s.w.Tidy(now.Add(strayTime + time.Second))
	s.watches(1)
	s.read() // the kernel's IN_IGNORED, late
	// And back: it is watched anew.
	must(t, os.Rename(s.dir+".out", s.path("c")))
	must(t, s.cover("c"))
	must(t, s.cover("c/b"))
	s.write("c/b/f")
	s.read("moved-to c", "closed c/b/f")
	s.watches(3)
}

func TestLargeTreeMovedOutIsLetGoInSteps(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a", "b")
	for i := range removals {
		s.mkdir("a/" + strconv.Itoa(i))
	}
	s.mkdir("a/sub")
	s.drain()
	must(t, os.Rename(s.path("a"), s.dir+".out"))
	s.read("moved-from a")
	s.w.Tidy(time.Now().Add(strayTime + time.Second))
	queued, err := unix.IoctlGetInt(s.w.queue.FD, unix.TIOCINQ)
	must(t, err)
	if queued != removals*unix.SizeofInotifyEvent || len(s.w.leaving) != 2 {
		t.Errorf("%d bytes are queued, %d watches are to leave", queued, len(s.w.leaving))
	}
	s.drain()
	// Some come back just now: what the kernel still watches stays watched.
	must(t, os.Rename(s.dir+".out", s.path("a")))
	must(t, s.cover("a"))
	for i := range removals {
		must(t, s.cover(change.Path("a/"+strconv.Itoa(i))))
	}
	must(t, s.cover("a/sub"))
	s.w.Tidy(time.Now())
	s.read("moved-to a")
	s.watches(removals + 4)
	s.write("a/f")
	s.write("a/0/f")
	s.write("a/sub/f")
	s.read("created a/f", "closed a/f", "created a/0/f", "closed a/0/f", "created a/sub/f", "closed a/sub/f")
}

func TestCoverMovesWhatIsBelowAlong(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a", "a/b")
	s.drain()
	s.rename("a", "c")
	s.write("c/b/f")
	s.read("moved-from a", "moved-to c") // below c nothing is known yet
	must(t, s.cover("c"))
	s.write("c/b/f")
	s.read("closed c/b/f")
	s.watches(3)
}

// TestCoveredBeforeTheEventIsRead: a walk is ahead of the events. What they take away from it, they name.
func TestCoveredBeforeTheEventIsRead(t *testing.T) {
	t.Run("removed and made again", func(t *testing.T) {
		s := newSlow(t)
		s.mkdir("d")
		s.drain()
		must(t, os.Remove(s.path("d")))
		s.mkdir("d")
		s.write("d/f")
		s.read("removed d", "created d")
		must(t, s.cover("d"))
		s.write("d/f")
		s.read("closed d/f")
		s.watches(2)
	})
	t.Run("renamed and back", func(t *testing.T) {
		s := newSlow(t)
		s.mkdir("d")
		s.drain()
		s.rename("d", "e")
		must(t, s.cover("e"))
		s.rename("e", "d")
		must(t, s.cover("d"))
		s.write("d/f")
		s.read("moved-from d", "look d", "moved-to e", "moved-from e", "moved-to d")
	})
	t.Run("exchanged", func(t *testing.T) {
		s := newSlow(t)
		s.mkdir("a", "b")
		s.drain()
		must(t, unix.Renameat2(unix.AT_FDCWD, s.path("a"), unix.AT_FDCWD, s.path("b"), unix.RENAME_EXCHANGE))
		must(t, s.cover("a"))
		must(t, s.cover("b"))
		// The last event of b says that it was left: b must be looked at again.
		s.read("moved-from a", "look a", "moved-to b", "moved-from b", "look b", "moved-to a")
		must(t, s.cover("a"))
		must(t, s.cover("b"))
		s.write("a/f")
		s.write("b/f")
		s.read("created a/f", "closed a/f", "created b/f", "closed b/f")
	})
}

func TestCoverByAPathThatIsNoLongerTrue(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a")
	dir, err := s.w.root.OpenDir("a")
	must(t, err)
	defer dir.Close()
	s.rename("a", "b")
	must(t, s.cover("b"))
	if err := s.w.Cover(int(dir.Fd()), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cover: %v", err)
	}
	s.drain()
	s.write("b/f")
	s.read("created b/f", "closed b/f")

	// One that was never covered and left the tree is not kept.
	must(t, os.Mkdir(s.path("c"), 0o755))
	gone, err := s.w.root.OpenDir("c")
	must(t, err)
	defer gone.Close()
	must(t, os.Rename(s.path("c"), s.dir+".out"))
	if err := s.w.Cover(int(gone.Fd()), "c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cover: %v", err)
	}
	s.watches(3)
	s.w.Tidy(time.Now().Add(strayTime + time.Second))
	s.watches(2)
	if gaps := s.w.Status().Gaps; len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
}

func TestMoveBelowAnUnwatchedParentIsALookThere(t *testing.T) {
	s := newSlow(t)
	must(t, os.MkdirAll(s.path("p/d"), 0o755))
	must(t, s.cover("p/d"))
	s.drain()
	s.rename("p/d", "p/e")
	s.read("look p")
	must(t, s.cover("p/e"))
	must(t, os.Remove(s.path("p/e")))
	s.read("look p")
	s.watches(1)
}

func TestRemovedDirectoriesLeaveTheTable(t *testing.T) {
	s := newSlow(t)
	for i := range 100 {
		s.mkdir("d"+strconv.Itoa(i), "d"+strconv.Itoa(i)+"/sub")
	}
	s.watches(201)
	for i := range 100 {
		must(t, os.RemoveAll(s.path("d"+strconv.Itoa(i))))
	}
	s.drain()
	s.watches(1)
	s.w.Tidy(time.Now().Add(strayTime + time.Second))
	if p := &s.w.places; len(p.nodes) > 0 || len(p.strays) > 0 || len(p.gaps) > 0 {
		t.Errorf("%d nodes, %d strays, %d gaps are left", len(p.nodes), len(p.strays), len(p.gaps))
	}
}

func TestEqualEventsAreMerged(t *testing.T) {
	s := newSlow(t)
	s.mkdir("d")
	s.drain()
	// The kernel says it twice: to the parent, and to the directory itself.
	must(t, os.Chmod(s.path("d"), 0o700))
	must(t, os.Chmod(s.path("d"), 0o750))
	s.read("attrib d")
}

func TestGapOfWhatIsGoneEnds(t *testing.T) {
	s := newSlow(t)
	must(t, os.MkdirAll(s.path("p/d"), 0o755))
	// No directory: the add fails, as it does when the limit is hit.
	s.write("file")
	file, err := os.Open(s.path("file"))
	must(t, err)
	defer file.Close()
	if err := s.w.Cover(int(file.Fd()), "p/d"); !errors.Is(err, unix.ENOTDIR) {
		t.Fatalf("cover: %v", err)
	}
	s.w.Tidy(time.Now())
	if gaps := s.w.Status().Gaps; len(gaps) != 1 || gaps[0].Path != "p/d" {
		t.Fatalf("gaps: %v", gaps)
	}
	must(t, os.Remove(s.path("p/d"))) // nobody says so: p is not watched
	s.w.Tidy(time.Now())
	if gaps := s.w.Status().Gaps; len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
}
