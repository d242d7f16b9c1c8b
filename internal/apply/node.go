package apply

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// node is an open file of any type. Where path is set it was opened with O_PATH, which needs no permission and wakes no device;
// the calls that refuse such a descriptor go by its name in /proc, which leads to what is open and nowhere else.
type node struct {
	fd   int
	path bool
	// files is where open files are found by number.
	files string
}

// openNode opens an entry, whatever it is, a symlink itself. With FakeSuper nearly all are files or directories that can be opened as such, for which
// no /proc is needed.
func (t *Tree) openNode(d *dir, name string) (node, error) {
	if t.o.FakeSuper {
		if fd, err := openPlain(d.fd, name); err == nil {
			return node{fd: fd, files: t.o.OpenFiles}, nil
		}
	}
	fd, err := unix.Openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return node{fd, true, t.o.OpenFiles}, err
}

func (n node) close() { unix.Close(n.fd) }

func (n node) stat() (st unix.Stat_t, err error) {
	err = unix.Fstat(n.fd, &st)
	return st, err
}

func (n node) proc() string { return n.files + "/" + strconv.Itoa(n.fd) }

func (n node) chown(uid, gid int) error {
	if !n.path {
		return unix.Fchown(n.fd, uid, gid)
	}
	return unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH)
}

func (n node) chmod(mode uint32) error {
	if n.path {
		// fchmodat2, since Linux 6.6, needs no /proc.
		err := unix.Fchmodat(n.fd, "", mode, unix.AT_EMPTY_PATH)
		if isAny(err, unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL) {
			err = unix.Fchmodat(unix.AT_FDCWD, n.proc(), mode, 0)
		}
		return err
	}
	return unix.Fchmod(n.fd, mode)
}

// setMtime leaves the atime.
func (n node) setMtime(ns int64) error {
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(ns)}
	if n.path {
		return unix.UtimesNanoAt(n.fd, "", ts[:], unix.AT_EMPTY_PATH)
	}
	// futimens: no name means the descriptor itself. x/sys always gives a name.
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(n.fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
