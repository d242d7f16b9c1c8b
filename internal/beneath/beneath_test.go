package beneath

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

func root(t *testing.T) (dir string, fd int) {
	t.Helper()
	dir = t.TempDir()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return dir, fd
}

// deep makes directories in each other, with the names that name gives, and returns the path of the last one.
func deep(t *testing.T, fd, n int, name func(i int) string) change.Path {
	t.Helper()
	at, p := fd, change.Root
	for i := range n {
		if err := unix.Mkdirat(at, name(i), 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, name(i), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if at != fd {
			unix.Close(at)
		}
		at, p = next, p.Join(name(i))
	}
	unix.Close(at)
	return p
}

func TestPathsThatAreLongerThanTheKernelTakesAreOpened(t *testing.T) {
	for _, length := range []int{1, 200, 255} {
		_, fd := root(t)
		p := deep(t, fd, 3*unix.PathMax/(length+1)+2, func(i int) string { return strings.Repeat(string(rune('a'+i%26)), length) })
		for _, of := range []change.Path{p, p.Parent(), p[:unix.PathMax-1], p[:unix.PathMax], p[:unix.PathMax+1]} {
			of = change.Path(strings.TrimRight(string(of), "/"))
			got, err := Open(fd, of, unix.O_RDONLY|unix.O_DIRECTORY)
			cut := !strings.HasPrefix(string(p)+"/", string(of)+"/")
			if cut != errors.Is(err, unix.ENOENT) || !cut && err != nil {
				t.Errorf("a path of %d bytes, names of %d: %v", len(of), length, err)
			}
			if err == nil {
				unix.Close(got)
			}
		}
		if _, err := Open(fd, p.Join("missing"), unix.O_PATH); !errors.Is(err, unix.ENOENT) {
			t.Errorf("missing: %v", err)
		}
	}
}

func TestALongPathLeadsThroughNoSymlink(t *testing.T) {
	dir, fd := root(t)
	p := deep(t, fd, 30, func(i int) string { return fmt.Sprintf("%d%s", i, strings.Repeat("x", 200)) })
	first := strings.SplitN(string(p), "/", 2)[0]
	if err := errors.Join(os.Rename(dir+"/"+first, dir+"/other"), os.Symlink("other", dir+"/"+first)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(fd, p, unix.O_PATH); !errors.Is(err, unix.ELOOP) {
		t.Errorf("through a link: %v", err)
	}
	if _, err := Open(fd, "../"+change.Path(strings.Repeat("y/", unix.PathMax)), unix.O_PATH); !errors.Is(err, unix.EXDEV) {
		t.Errorf("out of the directory: %v", err)
	}
}
