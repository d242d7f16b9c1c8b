package replicate_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a file system on a device of its own, which can fail as a whole.
type disk struct {
	t      *testing.T
	dir    string // where it is mounted
	device string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, dir: filepath.Join(t.TempDir(), "disk")}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 320<<20); err != nil { // no mkfs.xfs makes a smaller one
		t.Fatal(err)
	}
	d.run("mkfs.xfs", "-q", image)
	d.device = strings.TrimSpace(d.run("losetup", "--find", "--show", image))
	t.Cleanup(func() {
		for unix.Unmount(d.dir, unix.MNT_DETACH) == nil {
		}
		_ = exec.Command("losetup", "--detach", d.device).Run()
	})
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.mount()
	return d
}

// move mounts it elsewhere.
func (d *disk) move(dir string) {
	d.t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.t.Fatal(err)
	}
	d.dir = dir
	d.mount()
}

func (d *disk) run(name string, args ...string) string {
	d.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (d *disk) mount() {
	d.t.Helper()
	if err := unix.Mount(d.device, d.dir, "xfs", 0, ""); err != nil {
		d.t.Fatalf("mount the disk: %v", err)
	}
}

// shutdown is XFS_IOC_GOINGDOWN.
const shutdown = 0x8004587d

// fail writes what is there, and then lets everything that is asked of the file system fail with EIO.
func (d *disk) fail() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, 0); err != nil {
		d.t.Fatalf("shut the file system down: %v", err)
	}
}

// repair mounts it again, once nobody has it open any more.
func (d *disk) repair() {
	d.t.Helper()
	if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
		d.t.Fatalf("unmount the disk: %v", err)
	}
	late := time.After(60 * time.Second)
	for {
		d.mount()
		if _, err := os.ReadDir(d.dir); err == nil {
			return
		}
		// Somebody still has a file of it: it is the file system that failed.
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			d.t.Fatal(err)
		}
		select {
		case <-late:
			d.t.Fatal("the disk is in use for ever")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
