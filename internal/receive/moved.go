package receive

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symlinks a path may lead through, as for the kernel.
const maxLinks = 40

// watchWay makes a descriptor that can be read as soon as a directory or symlink by which a path leads is renamed or removed: a process that
// is locked into the directory knows no name of it. It tells no names.
func watchWay(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch the way to %q: %w", path, err)
	}
	watch := os.NewFile(uintptr(fd), "way")
	if err := addWay(fd, path); err != nil {
		watch.Close()
		return nil, fmt.Errorf("watch the way to %q: %w", path, err)
	}
	return watch, nil
}

func addWay(fd int, path string) error {
	at, links := "/", 0
	for left := strings.Split(path, "/"); len(left) > 0; {
		name := left[0]
		left = left[1:]
		if name == "" || name == "." {
			continue
		}
		at = filepath.Join(at, name)
		if name == ".." {
			continue
		}
		if _, err := unix.InotifyAddWatch(fd, at, unix.IN_MOVE_SELF|unix.IN_DELETE_SELF|unix.IN_DONT_FOLLOW); err != nil {
			return err
		}
		to, err := os.Readlink(at)
		if err != nil {
			continue // it is none
		}
		if links++; links > maxLinks {
			return unix.ELOOP
		}
		at = filepath.Dir(at)
		if filepath.IsAbs(to) {
			at = "/"
		}
		left = append(strings.Split(to, "/"), left...)
	}
	return nil
}

// way is what a process knows of the way to its directory.
type way struct {
	watch *os.File // nil when nobody watches it
	told  atomic.Bool
	tell  func() // called once, when it is lost
}

// moved reports whether the directory has lost its name since the process was started. It asks the kernel: nothing is written to a directory
// after it was renamed that was not under way before.
func (w *way) moved() bool {
	if w.watch == nil {
		return false
	}
	// It is never read, and so stays as it is.
	poll := []unix.PollFd{{Fd: int32(w.watch.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); n <= 0 || err != nil {
		return false
	}
	if !w.told.Swap(true) {
		w.tell()
	}
	return true
}
