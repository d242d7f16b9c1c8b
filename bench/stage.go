package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// imageSize is the size of the sparse image that holds an ext4.
const imageSize = 16 << 30

// stage is a pair of file systems made fresh for one measurement, and all that runs on them. What was made last is ended first.
type stage struct {
	dir string
	// targets is where targets are: on a file system of their own, as on another machine. On that of a source what is written to
	// them would be events for whoever watches the whole of it.
	targets string
	// disk is a directory beside the file system of the stage, on that of the machine's temporary files.
	disk string
	// daemonOptions are lines for the configuration of the rsync daemons.
	daemonOptions string
	closes        []func() error
}

// newStage mounts a tmpfs, or an ext4 on a loop image where the whole run is to be on a disk.
func (b *bench) newStage(ctx context.Context) (*stage, error) {
	return b.newStageOn(ctx, b.disk)
}

// newStageOn has the targets on the disk in any case, or as the rest.
func (b *bench) newStageOn(ctx context.Context, targetsOnDisk bool) (_ *stage, err error) {
	base, err := os.MkdirTemp("", "sersync-bench-")
	if err != nil {
		return nil, fmt.Errorf("make directory of the stage: %w", err)
	}
	s := &stage{dir: filepath.Join(base, "fs"), targets: filepath.Join(base, "targets"), disk: filepath.Join(base, "disk")}
	if b.nodelay {
		s.daemonOptions = "socket options = TCP_NODELAY\n"
	}
	s.onClose(func() error { return os.RemoveAll(base) })
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.Mkdir(s.disk, 0o755); err != nil {
		return nil, fmt.Errorf("make directory on the disk: %w", err)
	}
	for dir, disk := range map[string]bool{s.dir: b.disk, s.targets: targetsOnDisk} {
		if err := s.mount(ctx, dir, disk); err != nil {
			return nil, fmt.Errorf("mount %q: %w", dir, err)
		}
	}
	return s, nil
}

// mount makes one of the file systems.
func (s *stage) mount(ctx context.Context, dir string, disk bool) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var err error
	if disk {
		err = mountImage(ctx, dir+".image", dir)
	} else {
		err = unix.Mount("sersync-bench", dir, "tmpfs", 0, "size=80%,nr_inodes=0,mode=755")
	}
	if err == nil {
		s.onClose(func() error { return unmount(dir) })
	}
	return err
}

// onClose adds what close has to undo.
func (s *stage) onClose(undo func() error) {
	s.closes = append(s.closes, undo)
}

// close ends what runs on the stage and unmounts it.
func (s *stage) close() error {
	var errs []error
	for i := len(s.closes) - 1; i >= 0; i-- {
		errs = append(errs, s.closes[i]())
	}
	s.closes = nil
	return errors.Join(errs...)
}

// mountImage makes an ext4 in a sparse file and mounts it; mount(8) finds the loop device and umount frees it.
func mountImage(ctx context.Context, image, dir string) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(imageSize), f.Close()); err != nil {
		return err
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("run %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// unmount tries for a while: what was killed a moment ago may still hold a file.
func unmount(dir string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := unix.Unmount(dir, 0)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("unmount %q: %w", dir, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
