package apply

import (
	"golang.org/x/sys/unix"
)

// A Tree holds a lock on its root for as long as it is open: a read lock of the open file description, which several may hold. Whether a
// write lock could be had is only asked. So Recover sees whether another living Tree, of this process or of another one, has the
// same root, one above it, or one below it; and no Tree is ever in the way of another.

// share takes the lock. Where there are no locks nobody is alone.
func share(fd int) {
	_ = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
}

// taken reports whether somebody has the lock of a directory by another description than fd.
func taken(fd int) bool {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock)
	return err != nil || lock.Type != unix.F_UNLCK
}

// alone reports whether no other Tree has this root, nor one above it.
func (t *Tree) alone() bool {
	if taken(t.top.fd) {
		return false
	}
	var here unix.Stat_t
	if err := unix.Fstat(t.top.fd, &here); err != nil {
		return false
	}
	for up := ".."; len(up) < unix.PathMax; up += "/.." {
		fd, err := unix.Openat(t.top.fd, up, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return true // one of ours above would have it open
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		other := err != nil || taken(fd)
		unix.Close(fd)
		switch {
		case st.Dev == here.Dev && st.Ino == here.Ino:
			return true // the root of all is above itself
		case other:
			return false
		}
		here = st
	}
	return true
}
