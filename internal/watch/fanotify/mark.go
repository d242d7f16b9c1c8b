package fanotify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/mounts"
)

// mask is all that can be said of a directory and its entries. What FAN_RENAME adds, both names of a rename in one
// event, is of no use to who looks again. FAN_DELETE_SELF is merged into the news of a file's last name that went, so that
// its handle need not be resolved in vain.
const mask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB |
	unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_DELETE_SELF | unix.FAN_ONDIR

// fsid is the identity by which events name a file system.
type fsid [8]byte

// system is a file system that is marked.
type system struct {
	id  fsid
	dev uint64
	// mounts are where it is seen below the root.
	mounts map[mounts.Place]*mount
}

// mount is a file system as it is seen at one path.
type mount struct {
	system *system
	// top is the topmost directory of it: handles are resolved from there. It is not held open, as that would
	// keep the mount busy.
	top change.Path
}

// Cover marks the file system of the directory that is open as fd, if it is not marked yet.
func (w *Watcher) Cover(fd int, p change.Path) error {
	err := w.Try(fd, p)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		delete(w.gaps, p)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, os.ErrClosed):
	default:
		w.gap(p, err)
	}
	return err
}

// gap keeps that p cannot be watched. What is below a gap is looked at with it.
func (w *Watcher) gap(p change.Path, err error) {
	for above := range w.gaps {
		if p.Below(above) {
			return
		}
	}
	g := watch.Gap{Path: p, Since: time.Now(), Err: err}
	if old, ok := w.gaps[p]; ok {
		g.Since = old.Since
	}
	w.gaps[p] = g
}

// Try is Cover without a gap: for who has another way to watch what fanotify cannot.
func (w *Watcher) Try(fd int, p change.Path) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.try(fd, p); err != nil {
		return fmt.Errorf("watch directory %q by fanotify: %w", p, err)
	}
	return nil
}

func (w *Watcher) try(fd int, p change.Path) error {
	if w.closed {
		return os.ErrClosed
	}
	is, err := mounts.Find(fd)
	if err != nil {
		return err
	}
	if there, err := w.leads(p, is.Stat); err != nil || !there {
		if err == nil {
			err = fmt.Errorf("it is not there any more: %w", fs.ErrNotExist)
		}
		return err
	}
	// What was mounted again may have the ids of before, and no mark: its topmost directory is always marked.
	if w.mounts[is.Place] != nil && !is.Top {
		return nil
	}
	return w.add(fd, p, is)
}

// leads reports whether p is the directory st now. An error means that it cannot be known.
func (w *Watcher) leads(p change.Path, st change.Stat) (bool, error) {
	seen, err := w.root.Look(p)
	return err == nil && seen.At == p && seen.Stat.SameFile(st), err
}

// add marks the file system of the directory, and remembers the mount.
func (w *Watcher) add(fd int, p change.Path, is mounts.Found) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	id := fsidOf(st.Fsid)
	if sys := w.systems[id]; sys != nil && sys.dev != is.Place.Dev && w.inUse(sys) {
		return errors.New("another file system here has the same id (f_fsid), so that their events cannot be told apart")
	}
	if err := w.mark(fd); err != nil {
		return markError(err)
	}
	if err := w.probe(fd, p, is); err != nil {
		if w.systems[id] == nil {
			_ = unix.FanotifyMark(w.queue.FD, unix.FAN_MARK_REMOVE|unix.FAN_MARK_FILESYSTEM, mask, fd, "")
		}
		return err
	}
	top, err := w.top(p, is)
	if err != nil {
		return err
	}
	w.keep(id, is.Place, top)
	return nil
}

// keep remembers that the file system is seen on the mount at top.
func (w *Watcher) keep(id fsid, at mounts.Place, top change.Path) {
	if old := w.mounts[at]; old != nil && old.top == top && old.system.id == id {
		return
	} else if old != nil {
		w.forget(at)
	}
	sys := w.systems[id]
	if sys == nil {
		sys = &system{id: id, dev: at.Dev, mounts: map[mounts.Place]*mount{}}
		w.systems[id] = sys
	}
	m := &mount{system: sys, top: top}
	w.mounts[at], sys.mounts[at] = m, m
	w.known.clear()
}

// inUse reports whether the file system is still mounted where it was.
func (w *Watcher) inUse(sys *system) bool {
	for at, m := range sys.mounts {
		fd, err := w.anchor(at, m)
		if err == nil {
			unix.Close(fd)
			return true
		}
		w.forget(at)
	}
	return false
}

func (w *Watcher) mark(fd int) error {
	return unix.FanotifyMark(w.queue.FD, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask, fd, "")
}

// top is the topmost directory of the mount on which p is. One that the root itself is on is at the root.
func (w *Watcher) top(p change.Path, is mounts.Found) (change.Path, error) {
	for !is.Top && p != change.Root {
		dir, err := w.root.OpenDir(p.Parent())
		if err != nil {
			return p, err
		}
		above, err := mounts.Find(int(dir.Fd()))
		dir.Close()
		if err != nil || above.Place != is.Place {
			return p, err
		}
		p, is = p.Parent(), above
	}
	return p, nil
}

// probe finds out whether a handle leads back to its directory: marks can be had where it does not.
func (w *Watcher) probe(fd int, p change.Path, is mounts.Found) error {
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return handleError(err)
	}
	self, err := unix.OpenByHandleAt(fd, h, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return handleError(err)
	}
	defer unix.Close(self)
	at, err := w.locate(self)
	switch {
	case err != nil:
		return err
	case at.inside && at.path == p:
		return nil
	}
	if there, err := w.leads(p, is.Stat); err == nil && !there {
		return fmt.Errorf("it is not there any more: %w", fs.ErrNotExist)
	}
	return errors.New("its handle does not lead back to it")
}

// anchor opens the top of a mount: a descriptor from which handles are resolved. An error says that the mount is not there
// any more. The caller closes it.
func (w *Watcher) anchor(at mounts.Place, m *mount) (int, error) {
	dir, err := w.root.OpenDir(m.top)
	if err != nil {
		return -1, err
	}
	defer dir.Close()
	is, err := mounts.Find(int(dir.Fd()))
	if err == nil && is.Place != at {
		err = scan.ErrRootReplaced
	}
	if err != nil {
		return -1, err
	}
	return unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// forget lets go of a mount. The last one of a file system that was unmounted takes its mark along.
func (w *Watcher) forget(at mounts.Place) {
	m := w.mounts[at]
	delete(w.mounts, at)
	delete(m.system.mounts, at)
	if len(m.system.mounts) == 0 {
		delete(w.systems, m.system.id)
	}
	w.known.clear()
}

func fsidOf(id unix.Fsid) (f fsid) {
	binary.NativeEndian.PutUint32(f[:], uint32(id.Val[0]))
	binary.NativeEndian.PutUint32(f[4:], uint32(id.Val[1]))
	return f
}

// groupError is why there is no fanotify group, with the remedy.
func groupError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: it needs CAP_SYS_ADMIN: run as root, or let the service have it", err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%w: this kernel has no fanotify, or a filter of system calls refuses it", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: this kernel does not name directories in events (FAN_REPORT_DFID_NAME, since Linux 5.9)", err)
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("%w: raise the limit fs.fanotify.max_user_groups (or too many files are open: ulimit -n)", err)
	}
	return err
}

// markError is why a file system cannot be marked, with the remedy.
func markError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: it needs CAP_SYS_ADMIN: run as root, or let the service have it", err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: this file system has no handles that last", err)
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: this is a part of a file system (a subvolume of btrfs) which cannot be marked alone", err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: raise the limit fs.fanotify.max_user_marks", err)
	}
	return err
}

// handleError is why handles cannot be had or resolved, with the remedy.
func handleError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: resolving handles needs CAP_DAC_READ_SEARCH: run as root, or let the service have it", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ESTALE):
		return fmt.Errorf("%w: the handles of this file system do not lead back to its directories", err)
	case errors.Is(err, unix.ENOENT):
		// Not wrapped: ENOENT would say that the directory is gone.
		return errors.New("no /proc/self/fd: mount /proc")
	}
	return err
}

// procName is how the path of an open descriptor is asked for.
func procName(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
