package fanotify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// slow is a watcher that reads only when it is told to, so that what the kernel has queued and what is true by then
// can be set against each other.
type slow struct {
	t   *testing.T
	dir string
	w   *Watcher
	got []string
}

func newSlow(t *testing.T) *slow {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	must(t, os.Mkdir(dir, 0o755))
	return slowAt(t, dir)
}

func slowAt(t *testing.T, dir string) *slow {
	t.Helper()
	root, err := scan.OpenRoot(dir)
	must(t, err)
	w, err := New(root)
	must(t, err)
	s := &slow{t: t, dir: dir, w: w}
	w.sink = func(events []watch.Event) {
		for _, e := range events {
			s.got = append(s.got, e.Kind.String()+" "+e.Path.String())
		}
	}
	t.Cleanup(func() { w.Close(); root.Close() })
	must(t, s.cover(""))
	return s
}

func (s *slow) path(p string) string { return filepath.Join(s.dir, p) }

func (s *slow) cover(p change.Path) error {
	s.t.Helper()
	dir, err := s.w.root.OpenDir(p)
	must(s.t, err)
	defer dir.Close()
	return s.w.Cover(int(dir.Fd()), p)
}

func (s *slow) mkdir(p string) { s.t.Helper(); must(s.t, os.MkdirAll(s.path(p), 0o755)) }

func (s *slow) rename(p, q string) { s.t.Helper(); must(s.t, os.Rename(s.path(p), s.path(q))) }

// write makes p when there is none, and closes it.
func (s *slow) write(p string) { s.t.Helper(); touch(s.t, s.path(p)) }

func touch(t testing.TB, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	must(t, err)
	must(t, f.Close())
}

// drain reads all that is queued.
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

// read reads all that is queued and asserts what comes of it.
func (s *slow) read(want ...string) {
	s.t.Helper()
	s.drain()
	if diff := cmp.Diff(want, s.got); diff != "" {
		s.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestEventsBeforeAndAfterARenameOfAnAncestorHaveItsNewPath(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a/b/c")
	s.drain()
	s.write("a/b/c/before")
	s.rename("a", "z")
	s.write("z/b/c/after")
	s.read("created z/b/c/before", "closed z/b/c/before", "moved-from a", "moved-to z", "created z/b/c/after", "closed z/b/c/after")
}

func TestKnownPathIsForgottenWhenAnAncestorIsRenamed(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a/b/c")
	s.write("a/b/c/f")
	s.drain() // the path of c is known from here on
	s.write("a/b/c/f")
	s.rename("a", "z")
	s.write("z/b/c/g")
	// What was queued before is named by what is known: the walk of z finds it.
	s.read("closed a/b/c/f", "moved-from a", "moved-to z", "created z/b/c/g", "closed z/b/c/g")
	s.rename("z/b", "b")
	s.write("b/c/f")
	s.read("moved-from z/b", "moved-to b", "closed b/c/f")
}

// A rename may be told before something that happened before it: it is merged with an older event of the name.
func TestMergedRenameIsForgottenInTimeAllTheSame(t *testing.T) {
	s := newSlow(t)
	s.mkdir("d")
	s.write("d/f")
	s.drain()
	s.mkdir("x")
	s.write("d/f")
	must(t, os.Remove(s.path("x")))
	s.rename("d", "x")
	s.drain()
	if want := "moved-to x"; !slices.Contains(s.got, want) {
		t.Errorf("%v has no %q", s.got, want)
	}
	s.write("x/f")
	s.read("closed x/f")
}

func TestSubtreeMovedOutIsSilentAndIsSeenAgainWhenItIsBack(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a/b")
	s.write("a/b/f")
	s.drain()
	out := s.dir + ".out"
	s.write("a/b/f")
	must(t, os.Rename(s.path("a"), out))
	touch(t, out+"/b/f")
	touch(t, out+"/b/g")
	s.drain()
	if !slices.Contains(s.got, "moved-from a") || slices.ContainsFunc(s.got, func(e string) bool { return strings.Contains(e, "g") }) {
		t.Errorf("moved out: %v", s.got)
	}
	touch(t, out+"/b/g")
	s.read()
	must(t, os.Rename(out, s.path("c")))
	s.write("c/b/g")
	s.read("moved-to c", "closed c/b/g")
}

// All that was in a tree that is gone is told by who is still there.
func TestRemovedTreeIsToldByItsParent(t *testing.T) {
	s := newSlow(t)
	s.mkdir("p/a/b/c")
	s.write("p/a/b/c/f")
	s.drain()
	s.w.known.clear()
	must(t, os.RemoveAll(s.path("p/a")))
	s.read("removed p/a")
	s.mkdir("p/a")
	s.rename("p/a", "p/z")
	must(t, os.Remove(s.path("p/z")))
	must(t, os.Remove(s.path("p")))
	s.w.known.clear()
	s.read("removed p")
}

func TestNothingFromElsewhereOnTheFileSystem(t *testing.T) {
	s := newSlow(t)
	s.mkdir("in")
	// Names that look like the root's, for a comparison of prefixes.
	for _, name := range []string{s.dir + "2", s.dir + " (deleted)", filepath.Dir(s.dir) + "/other/in"} {
		must(t, os.MkdirAll(name+"/in", 0o755))
		touch(t, name+"/in/f")
		must(t, os.Rename(name+"/in", name+"/out"))
		must(t, os.RemoveAll(name))
	}
	s.read("created in")
}

func TestOpenDirectoryThatWasRemovedIsNotTakenForAnother(t *testing.T) {
	s := newSlow(t)
	s.mkdir("d")
	gone, err := os.Open(s.path("d"))
	must(t, err)
	defer gone.Close()
	s.drain()
	must(t, os.Remove(s.path("d")))
	s.mkdir("d (deleted)")
	must(t, gone.Chmod(0o700)) // its path is "d (deleted)" for the kernel
	s.drain()
	if slices.Contains(s.got, `attrib "d (deleted)"`) {
		t.Errorf("events: %v", s.got)
	}
}

func TestCoverByAPathThatIsNoLongerTrue(t *testing.T) {
	s := newSlow(t)
	s.mkdir("a")
	dir, err := s.w.root.OpenDir("a")
	must(t, err)
	defer dir.Close()
	s.rename("a", "b")
	if err := s.w.Cover(int(dir.Fd()), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cover: %v", err)
	}
	must(t, s.cover("b"))
	if st := s.w.Status(); st.Watches != 1 || len(st.Gaps) > 0 {
		t.Errorf("status: %+v", st)
	}
}

func TestKnownPathsAreBounded(t *testing.T) {
	c := newPaths(8)
	for i := range 100 {
		c.put([]byte{byte(i)}, nil)
		if _, ok := c.get([]byte{0}); !ok {
			t.Fatalf("what is used was lost after %d others", i)
		}
	}
	if n := len(c.young) + len(c.old); n > 8 {
		t.Errorf("%d are kept", n)
	}
	c.clear()
	if _, ok := c.get([]byte{99}); ok {
		t.Error("one is left")
	}
}

// What cannot be resolved for want of a descriptor is looked for everywhere.
func TestHandleThatCannotBeResolvedIsALookOfTheRoot(t *testing.T) {
	s := newSlow(t)
	s.mkdir("d")
	s.drain()
	s.write("d/f")
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}))
	s.drain()
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	s.w.Tidy(time.Now())
	if !slices.Contains(s.got, "look .") {
		t.Errorf("events: %v", s.got)
	}
}

// The kernel tells no path of more than 4096 bytes. Whoever waits for all that happened so far is told of it all the same.
func TestWhatHappensAtAPathThatIsTooLongIsKnownAfterASync(t *testing.T) {
	rig := watchtest.NewRig(t, open)
	at, err := unix.Open(rig.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range 25 {
		name := strings.Repeat("x", 200)
		must(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, errors.Join(err, unix.Close(at)))
		at = next
	}
	rig.Settle()
	rig.Seen()
	fd, err := unix.Openat(at, "f", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	must(t, errors.Join(err, unix.Close(fd), unix.Close(at)))
	rig.Settle()
	seen := rig.Seen()
	if !slices.ContainsFunc(seen, func(e watch.Event) bool { return e.Kind == watch.Look && e.Path == change.Root }) {
		t.Errorf("events: %v", seen)
	}
}

// Nobody reads while fifty thousand files are written, three times what a queue held by default holds: each is told.
func TestNothingIsLostWhileNobodyReads(t *testing.T) {
	const files = 50_000
	s := newSlow(t)
	for i := range files {
		s.write(strconv.Itoa(i))
	}
	s.drain()
	told := map[string]bool{}
	for _, e := range s.got {
		if name, ok := strings.CutPrefix(e, "closed "); ok {
			told[name] = true
		}
	}
	if len(told) != files || s.w.Status().Overflows != 0 {
		t.Errorf("%d of %d were told; status %+v", len(told), files, s.w.Status())
	}
}
