package watchtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system of its own, mounted at Dir until the test ends.
type Disk struct {
	Dir   string
	t     *testing.T
	image string
}

// NewDisk makes an empty file system.
func NewDisk(t *testing.T) *Disk {
	t.Helper()
	base := t.TempDir()
	d := &Disk{Dir: filepath.Join(base, "disk"), t: t, image: filepath.Join(base, "image")}
	must(t, os.Mkdir(d.Dir, 0o755))
	d.run("truncate", "-s", "32M", d.image)
	d.run("mkfs.ext4", "-q", d.image)
	d.run("mount", "-o", "loop", d.image, d.Dir)
	t.Cleanup(func() { _ = unix.Unmount(d.Dir, unix.MNT_DETACH) })
	return d
}

func (d *Disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.CommandContext(d.t.Context(), name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Handle is what a client of an NFS server has of the file name.
func (d *Disk) Handle(name string) unix.FileHandle {
	d.t.Helper()
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(d.Dir, name), 0)
	must(d.t, err)
	return h
}

// Forget has the kernel forget all paths, as a restart does: the file system is mounted again.
func (d *Disk) Forget() {
	d.t.Helper()
	must(d.t, unix.Unmount(d.Dir, 0))
	d.run("mount", "-o", "loop", d.image, d.Dir)
}

// Forgotten reports whether the kernel does not know the path of what is open as fd.
func Forgotten(fd int) bool {
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err == nil && name == "/"
}
