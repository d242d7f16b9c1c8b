package native

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// A directory that cannot be listed is no reason to compare nothing else, and no success either.
func TestADirectoryThatCannotBeListedIsLeftOutOfAComparison(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	for _, name := range []string{"before/f", "locked/f", "locked/sub/f", "then/f"} {
		write(t, src, name, []byte("x"))
	}
	write(t, r.dir, "locked/extra", []byte("x"))
	if err := os.Chmod(filepath.Join(src, "locked"), 0o700); err != nil {
		t.Fatal(err)
	}
	found := map[change.Path]bool{}
	done := make(chan error)
	go func() {
		// The thread ends with the goroutine.
		runtime.LockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSGID, 65534, 0, 0)
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		done <- tr.Sweep(context.Background(), transport.Sweep{Root: root, Under: []change.Path{change.Root}, Extras: true}, func(d transport.Difference) error {
			found[d.Path] = true
			return nil
		})
	}()
	err := <-done
	if te := state(t, err, transport.Broken); !strings.Contains(te.Err.Error(), `"locked"`) || !errors.Is(te.Err, unix.EACCES) {
		t.Errorf("error %v", err)
	}
	if !found["before/f"] || !found["then/f"] || found["locked/f"] || found["locked/sub/f"] || found["locked/extra"] {
		t.Errorf("found %v", found)
	}
}

// The kernel takes paths of up to 4096 bytes in one call; trees may be deeper.
func TestATreeThatIsDeeperThanAPathCanBeArrives(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	deep := change.Root
	at := int(root.Fd())
	for len(deep) < 3*unix.PathMax {
		name := strings.Repeat("x", 200)
		deep = deep.Join(name)
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		at = fd
	}
	fd, err := unix.Openat(at, "f", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err == nil {
		_, err = unix.Write(fd, []byte("deep"))
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, src, "ordinary", []byte("x"))
	var paths []change.Path
	for p := deep.Join("f"); p != change.Root; p = p.Parent() {
		paths = append(paths, p)
	}
	if found := differences(t, tr, root, false); len(found) < len(paths)+1 {
		t.Errorf("%d differences", len(found))
	}
	if report := send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: append(paths, "ordinary", change.Root)}); len(report.Failed) > 0 {
		t.Fatalf("failed: %v", report.Failed[0].Err)
	}
	if found := differences(t, tr, root, true); len(found) > 0 {
		t.Errorf("%d differences, the first is %.40q", len(found), found[0])
	}
	top, _, _ := strings.Cut(string(deep), "/")
	if report := send(t, tr, transport.Batch{Op: transport.Remove, Root: root, Paths: []change.Path{change.Path(top)}}); len(report.Failed) > 0 {
		t.Fatalf("failed: %v", report.Failed[0].Err)
	}
	lacks(t, r.dir, top)
}
