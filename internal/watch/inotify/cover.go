package inotify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// mask is all that the kernel can say of a directory and its entries. An entry that has lost
// its name and is still open says nothing more.
const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF |
	unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// Cover watches the directory that is open as fd and puts it at p, if a look finds it there.
//
// It is not there any more: then the error is fs.ErrNotExist and no gap: an event has said, or will
// say, where it is now. All is done under the lock, so that Run applies what the kernel queues after
// the look only after the directory has its place.
func (w *Watcher) Cover(fd int, p change.Path) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	err := w.cover(fd, p, now)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, os.ErrClosed) {
		n := w.places.grow(p)
		g := gap{since: now, err: err}
		if old, ok := w.places.gaps[n]; ok {
			g.since = old.since
		}
		w.places.gaps[n] = g
		n.epoch = w.places.epoch
	}
	return fmt.Errorf("watch directory %q: %w", p, err)
}

func (w *Watcher) cover(fd int, p change.Path, now time.Time) error {
	if w.closed {
		return os.ErrClosed
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	wd, err := w.add(fd)
	if err != nil {
		return w.watchError(err)
	}
	is := change.StatOf(&st)
	there, err := w.leads(p, is)
	if err != nil || !there {
		w.places.stray(wd, now)
		if err == nil {
			err = fmt.Errorf("it is not there any more: %w", fs.ErrNotExist)
		}
		return err
	}
	if n := w.places.byWD[wd]; n != nil {
		// A directory can be at two places by a bind mount only. The kernel does not say by which of
		// them a change came.
		if old, ok := w.places.path(n); ok && old != p {
			if both, err := w.leads(old, is); err == nil && both {
				return fmt.Errorf("it is also mounted at %q, and only one of both can be watched", old)
			}
		}
	}
	w.places.place(wd, p, now)
	return nil
}

// add watches the very directory that is open as fd, whatever its name leads to now.
func (w *Watcher) add(fd int) (int32, error) {
	name := "/proc/self/fd/" + strconv.Itoa(fd)
	raised := false
	for {
		wd, err := unix.InotifyAddWatch(w.queue.FD, name, mask)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSPC) && !raised && w.raiseWatches():
			raised = true
			continue
		case errors.Is(err, unix.ENOSPC) && raised:
			// Another limit than the one that was raised: that of a user namespace.
			w.noRaise = true
		}
		return int32(wd), err
	}
}
