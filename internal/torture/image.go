package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// image is a file system of its own in a file, mounted by a loop device. A copy of the file while it is mounted is what a disk holds after
// a loss of power: what was written and not synced may be missing.
type image struct {
	file, mount, kind, options string
	device                     int // number of the loop device; -1 while it is not mounted
}

// kinds are the file systems that images may have, with the smallest size in MiB and options for mount.
var kinds = []struct {
	name string
	make []string
	size int64
	// options: a daemon in a mount namespace of its own may have the image of before mounted still, which XFS takes for the same.
	options string
}{
	{"ext4", []string{"mkfs.ext4", "-q", "-F"}, 64, ""},
	{"xfs", []string{"mkfs.xfs", "-q", "-f"}, 320, "nouuid"},
	{"btrfs", []string{"mkfs.btrfs", "-q", "-f"}, 256, ""},
}

// newImage makes and mounts an image of at least so many MiB. which chooses among the file systems that can be made here.
func newImage(file, mount string, size int64, which int) (*image, error) {
	usable := kinds[:0:0]
	for _, k := range kinds {
		if _, err := exec.LookPath(k.make[0]); err == nil {
			usable = append(usable, k)
		}
	}
	if len(usable) == 0 {
		return nil, &UsageError{"no program makes a file system for the images whose power is cut", "install mkfs.ext4 (e2fsprogs)"}
	}
	k := usable[which%len(usable)]
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	if err := os.Truncate(file, max(size, k.size)<<20); err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	if out, err := exec.Command(k.make[0], append(k.make[1:], file)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make file system of an image: %w: %s", err, out)
	}
	if err := os.MkdirAll(mount, 0o755); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	i := &image{file: file, mount: mount, kind: k.name, options: k.options, device: -1}
	return i, i.attach()
}

// attach mounts the image, which plays back its journal.
func (i *image) attach() error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("find a loop device: %w", err)
	}
	defer control.Close()
	file, err := os.OpenFile(i.file, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open image: %w", err)
	}
	defer file.Close()
	// Another one may take the device that is free.
	for range 20 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return fmt.Errorf("find a loop device: %w", err)
		}
		err = i.mountBy(file, n)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return errors.New("mount image: others take every loop device")
}

func (i *image) mountBy(file *os.File, n int) error {
	name := "/dev/loop" + strconv.Itoa(n)
	loop, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open loop device: %w", err)
	}
	defer loop.Close()
	// It ends with the mount, however we end.
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		return fmt.Errorf("set up loop device: %w", err)
	}
	if err := unix.Mount(name, i.mount, i.kind, 0, i.options); err != nil {
		return fmt.Errorf("mount image %q of %s: %w", i.file, i.kind, err)
	}
	i.device = n
	return nil
}

// detach unmounts the image. Whoever was killed may take a moment to go.
func (i *image) detach() error {
	if i.device < 0 {
		return nil
	}
	err := poll(context.Background(), patience, "the image to be free", func() (bool, error) {
		err := unix.Unmount(i.mount, 0)
		if errors.Is(err, unix.EBUSY) {
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("unmount image: %w", err)
	}
	i.device = -1
	return nil
}

// crashTries bounds the tries to copy an image between two writes of the kernel.
const crashTries = 200

// crash copies the image as the disk holds it now. Nothing is synced. Whoever writes there is stopped meanwhile; a copy during which the
// kernel wrote is no state that a disk was in, and is made again.
func (i *image) crash() error {
	for range crashTries {
		before, err := i.writes()
		if err != nil {
			return err
		}
		if err := copySparse(i.file, i.file+".crash"); err != nil {
			return fmt.Errorf("copy image: %w", err)
		}
		after, err := i.writes()
		if err != nil {
			return err
		}
		if before == after {
			return nil
		}
		pause(context.Background(), 10*time.Millisecond)
	}
	return errors.New("copy image: the kernel writes to it all the time")
}

// writes are how many writes the loop device has done, and how many it is about to do.
func (i *image) writes() (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/sys/block/loop%d/stat", i.device))
	if err != nil {
		return "", fmt.Errorf("read what a loop device did: %w", err)
	}
	f := strings.Fields(string(text))
	if len(f) < 9 {
		return "", fmt.Errorf("read what a loop device did: %q", text)
	}
	return f[4] + " " + f[6] + " " + f[8], nil
}

// restore goes on with what crash copied, as a machine does that is switched on again.
func (i *image) restore() error {
	if err := i.detach(); err != nil {
		return err
	}
	if err := os.Rename(i.file+".crash", i.file); err != nil {
		return fmt.Errorf("put image back: %w", err)
	}
	return i.attach()
}

// copySparse copies a file, leaving out the holes.
func copySparse(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	size, err := in.Seek(0, io.SeekEnd)
	if err == nil {
		err = out.Truncate(size)
	}
	for at := int64(0); err == nil && at < size; {
		data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // the rest is a hole
		}
		if err != nil {
			return err
		}
		if at, err = unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, data), io.NewSectionReader(in, data, at-data)); err != nil {
			return err
		}
	}
	return err
}
