package fanotify

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

// forgotten is a watched tree with the file d/f and the link g of it, of whose paths the kernel knows nothing.
type forgotten struct {
	*slow
	files []watch.Event
	// f and d are handles; ino is that of f.
	f, d unix.FileHandle
	ino  change.Inode
}

func newForgotten(t *testing.T) *forgotten {
	t.Helper()
	disk := watchtest.NewDisk(t)
	dir := filepath.Join(disk.Dir, "root")
	must(t, os.MkdirAll(dir+"/d", 0o755))
	touch(t, dir+"/d/f")
	must(t, os.Link(dir+"/d/f", dir+"/g"))
	s := &forgotten{f: disk.Handle("root/d/f"), d: disk.Handle("root/d")}
	disk.Forget()
	s.slow = slowAt(t, dir)
	s.w.sink = func(events []watch.Event) {
		for _, e := range events {
			if e.File != (change.Inode{}) {
				s.files = append(s.files, e)
			} else {
				s.got = append(s.got, e.Kind.String()+" "+e.Path.String())
			}
		}
	}
	fd := s.open(s.f, unix.O_PATH)
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
	s.ino = change.StatOf(&st).Inode()
	return s
}

// open opens what a handle leads to, as an NFS server does; it is closed when the test ends.
func (s *forgotten) open(h unix.FileHandle, flags int) int {
	s.t.Helper()
	fd, err := unix.OpenByHandleAt(int(s.w.root.File().Fd()), h, flags|unix.O_CLOEXEC)
	must(s.t, err)
	s.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// told reads all that is queued and asserts what is told of the file d/f alone.
func (s *forgotten) told(want ...watch.Kind) {
	s.t.Helper()
	s.files = nil
	s.drain()
	var got []watch.Kind
	for _, e := range s.files {
		if e.File != s.ino || e.Path != change.Root {
			s.t.Errorf("event %+v is not of %+v", e, s.ino)
		}
		got = append(got, e.Kind)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("of the file (-want +got):\n%s", diff)
	}
}

// An NFS server that was restarted writes to files that its clients have open: it has their handles and nothing else.
func TestFileChangedByItsHandleIsToldByItsInode(t *testing.T) {
	s := newForgotten(t)
	fd := s.open(s.f, unix.O_WRONLY)
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
	s.told(watch.Wrote)
	must(t, unix.Ftruncate(fd, 0))
	s.told(watch.Wrote)
	must(t, unix.Fchmod(fd, 0o600))
	s.told(watch.Attrib)
	must(t, unix.Close(fd))
	s.told(watch.Closed)
	if len(s.got) > 0 {
		t.Errorf("told by path: %v", s.got)
	}
}

// What comes, goes or is renamed in a directory has a name, also when the directory was reached by its handle.
func TestEntriesOfADirectoryThatWasOpenedByItsHandleAreToldByPath(t *testing.T) {
	s := newForgotten(t)
	d := s.open(s.d, unix.O_RDONLY|unix.O_DIRECTORY)
	n, err := unix.Openat(d, "n", unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err)
	must(t, unix.Close(n))
	must(t, unix.Mkdirat(d, "e", 0o755))
	must(t, unix.Renameat(d, "n", d, "e/m"))
	must(t, unix.Unlinkat(d, "f", 0))
	s.drain()
	for _, want := range []string{"created d/n", "closed d/n", "created d/e", "moved-from d/n", "moved-to d/e/m", "removed d/f"} {
		if !slices.Contains(s.got, want) {
			t.Errorf("%v has no %q", s.got, want)
		}
	}
}

// That the number of a file's names changed is not told twice: each would be looked up in the whole index. Only where a read
// ends between the two may it be; this is less than one read.
func TestNamesThatComeAndGoAreToldByNameAlone(t *testing.T) {
	s := newForgotten(t)
	for i := range 100 {
		name := s.path(strconv.Itoa(i))
		must(t, os.Link(s.path("g"), name))
		touch(t, name+".new")
		must(t, os.Rename(name+".new", s.path("replaced")))
		if i%2 == 0 {
			must(t, os.Remove(name))
		}
	}
	s.told()
}

func TestFileThatIsGoneIsNotToldByItsInode(t *testing.T) {
	s := newForgotten(t)
	fd := s.open(s.f, unix.O_WRONLY)
	must(t, os.Remove(s.path("d/f")))
	must(t, os.Remove(s.path("g")))
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
	must(t, unix.Close(fd))
	s.told()
}
