// Package mounts says which file systems are in a tree: where each begins, which of them cannot tell of all
// changes, and when one comes or goes. Events say nothing of that.
package mounts

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Place is a mount, and on it a file system: of btrfs there are several on one mount.
type Place struct {
	Mount uint64
	Dev   uint64
}

// Found is what a directory that is open is.
type Found struct {
	Place Place
	// Stat holds what tells it from others: mode, device, inode, links.
	Stat change.Stat
	// Top: it is the topmost directory of its mount.
	Top bool
}

// The id of a mount that is never given again where there is one (Linux 6.8), else that which is.
const identity = unix.STATX_MNT_ID | unix.STATX_MNT_ID_UNIQUE

// Find looks at the directory that is open as fd.
func Find(fd int) (Found, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE|unix.STATX_MODE|unix.STATX_INO|unix.STATX_NLINK|identity, &st); err != nil {
		return Found{}, err
	}
	dev := unix.Mkdev(st.Dev_major, st.Dev_minor)
	return Found{
		Place: Place{Mount: st.Mnt_id, Dev: dev},
		Stat:  change.Stat{Mode: uint32(st.Mode), Dev: dev, Ino: st.Ino, Links: st.Nlink},
		Top:   st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}, nil
}

// blind are file systems that others change without a word to this kernel, and those whose content nobody writes, by
// the number that statfs(2) gives them.
var blind = map[uint32]string{
	0x6969: "nfs", 0x517b: "smb", 0xff534d42: "cifs", 0xfe534d42: "smb2", 0x65735546: "fuse", 0x01021997: "9p",
	0x5346414f: "afs", 0x6b414653: "afs", 0x73757245: "coda", 0x564c: "ncp", 0x00c36400: "ceph", 0x786f4256: "vboxsf",
	0x7461636f: "ocfs2", 0x01161970: "gfs2", 0x0bd00bd0: "lustre", 0x19830326: "beegfs", 0x47504653: "gpfs", 0x20030528: "orangefs",
	0x9fa0: "proc", 0x62656572: "sysfs", 0x27e0eb: "cgroup", 0x63677270: "cgroup2",
}

// Blind names the file system of the directory that is open as fd, when the kernel is not told of all changes in it.
func Blind(fd int) (kind string, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return "", err
	}
	return blind[uint32(st.Type)], nil
}

// Table is what is mounted below a directory: for each path, what it is.
type Table map[change.Path]string

// infoName is the kernel's list of mounts.
const infoName = "/proc/self/mountinfo"

// Read reads what is mounted below the directory that is open as root.
func Read(root *os.File) (Table, error) {
	top, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(root.Fd())))
	if err != nil {
		return nil, fmt.Errorf("find path of source root: %w", err)
	}
	text, err := os.ReadFile(infoName)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return parse(text, top, uniqueID)
}

// parse takes what is mounted below top out of a mountinfo (proc_pid_mountinfo(5)). Of several mounts on one directory
// it is the last that is seen. Ids are given again: unique adds what tells one from another.
func parse(text []byte, top string, unique func(string) uint64) (Table, error) {
	all, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	table := Table{}
	prefix := strings.TrimSuffix(top, "/") + "/"
	for _, m := range all {
		below, ok := strings.CutPrefix(m.Mountpoint, prefix)
		if p := change.Path(below); ok && p != change.Root && p.Valid() {
			table[p] = fmt.Sprint(m.ID, " ", m.Major, ":", m.Minor, " ", m.Root, " ", unique(m.Mountpoint))
		}
	}
	return table, nil
}

// uniqueID is the id of the mount that is seen at name; 0 when the kernel has none that lasts.
func uniqueID(name string) uint64 {
	var st unix.Statx_t
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_DONT_SYNC
	if err := unix.Statx(unix.AT_FDCWD, name, flags, unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
		return 0
	}
	return st.Mnt_id
}

// Differ are the paths at which something was mounted, unmounted, or replaced.
func (t Table) Differ(now Table) []change.Path {
	var all []change.Path
	for p, what := range now {
		if t[p] != what {
			all = append(all, p)
		}
	}
	for p := range t {
		if _, there := now[p]; !there {
			all = append(all, p)
		}
	}
	return all
}

// Bell rings when something is mounted or unmounted anywhere.
type Bell struct{ fd int }

// NewBell makes a bell, which is to be closed.
func NewBell() (*Bell, error) {
	// Not an os.File: the poller of the runtime would take the news away.
	fd, err := unix.Open(infoName, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("watch mounts: open %q: %w", infoName, err)
	}
	return &Bell{fd}, nil
}

// Close closes the bell.
func (b *Bell) Close() error { return unix.Close(b.fd) }

// Poll is what poll(2) waits for.
func (b *Bell) Poll() unix.PollFd {
	return unix.PollFd{Fd: int32(b.fd), Events: unix.POLLPRI}
}
