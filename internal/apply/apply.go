// Package apply puts a file, a link, a directory or a removal onto a disk. It is the last step of the path of a
// change, wherever no rsync does it: on this machine, and in the receiver of another one.
//
// Nothing leaves the root: every operation goes from a directory that the kernel found beneath the root without
// following a link, and names one entry of it. A reader sees the old file or the new one: new content is written under
// a temporary name (filter.TempPrefix) beside its place, gets all its attributes, and then takes the place in one step.
//
// It is so after a loss of power, too, and no file is waited for. What replaces a file changes names with it
// (RENAME_EXCHANGE), for which ext4 does not write the new content out as it does for a rename; what is new gets its
// place as a second name (link). The temporary name, which is that of the old version or the second one of
// the new, goes after the next syncfs. So one that is left over after a loss of power tells that its partner may lack
// content, and what was there before; Recover goes back to it.
package apply

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Options say what of a path is put onto the disk.
type Options struct {
	// Owners sets owner and group. Without it they are those of whoever runs this, and nothing is told.
	Owners bool
	// Devices allows device nodes.
	Devices bool
	// SetID keeps setuid and setgid of files, and capabilities. Without it they are cleared, which is told as a limit.
	SetID bool
	// FakeSuper stores owners, modes and devices beside the files instead of setting them, all of them. Keeper is who what is made belongs to then, where
	// it can be given away; else it is whoever runs this.
	FakeSuper bool
	Keeper    *Keeper
	// OpenFiles is where a process finds its open files by number. Default "/proc/self/fd"; it may be relative to the working directory.
	OpenFiles string
	// Moved reports whether the root has lost its name, for a process that does not know the name. It may be nil.
	Moved func() bool
	// Log may be nil.
	Log *slog.Logger
}

// Attr is what a path is to be like.
type Attr struct {
	// Mode holds type and permissions (S_IFMT and 07777).
	Mode     uint32
	UID, GID uint32
	// Rdev is the device that a device node stands for.
	Rdev uint64
	// Size is that of a regular file.
	Size int64
	// Mtime is in nanoseconds since 1970.
	Mtime int64
	// Link is where a symlink leads.
	Link string
	// Xattrs are all extended attributes of the names that replicate (Options.Replicates), when HasXattrs; otherwise they are left.
	Xattrs    []Xattr
	HasXattrs bool
}

// Xattr is an extended attribute.
type Xattr struct{ Name, Value string }

func (a Attr) kind() uint32 { return a.Mode & unix.S_IFMT }

// Old says what becomes of what is in the place of something new. A regular file that another one overwrites is gone in any case.
type Old struct {
	// Keep: a directory that is not empty does not make way for something else.
	Keep bool
	// Day, when not empty, is that of the trash to which goes what makes way: see Tree.Discard.
	Day string
}

// Done says what an operation did.
type Done struct {
	// Changed: something on the disk is another now.
	Changed bool
	// Limits are what cannot be as it should here: trying again cannot help.
	Limits []error
}

// Tree is a directory that things are put below. Several goroutines may use it at the same time, with paths that do not
// touch each other. The directories above a path must be there, and are given their attributes after what is in them: each entry
// that comes or goes changes their time.
type Tree struct {
	name string
	o    Options
	top  *dir
	dirs dirs
	// token tells the temporary names of this Tree from those of others.
	token   string
	counter atomic.Uint64
	// lasting: there is a disk that a loss of power can part from what readers see, and it tells when a file was born.
	lasting bool
	waiting waiting
	grains  grains
	// maker is whose the first file was that was made here: whose others are when they are new, in most cases.
	maker    atomic.Pointer[owner]
	recovery recovery
	// times is held while times of directories are set.
	times sync.Mutex
}

// Open opens the directory name, which may be reached by symlinks.
func Open(name string, o Options) (*Tree, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OpenFiles == "" {
		o.OpenFiles = "/proc/self/fd"
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open target root %q: %w", name, err)
	}
	if o.FakeSuper {
		o.Owners, o.Devices, o.SetID = true, true, true
	}
	t := &Tree{name: name, o: o}
	if err := t.open(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open target root %q: %w", name, err)
	}
	return t, nil
}

func (t *Tree) open(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	if t.o.FakeSuper {
		if err := storesFake(fd); err != nil {
			return err
		}
	}
	t.top = &dir{fd: fd, dev: st.Dev}
	t.lasting = fs.Type != unix.TMPFS_MAGIC && fs.Type != unix.RAMFS_MAGIC && born(fd, "") != 0
	var token [4]byte
	_, _ = rand.Read(token[:])
	t.token = hex.EncodeToString(token[:])
	share(fd)
	t.recovery.boot, _ = booted()
	return nil
}

// Close makes durable what there is and closes the tree. Files of it must be closed before.
func (t *Tree) Close() error {
	err := t.Sync()
	t.dirs.clear()
	return errors.Join(err, os.NewSyscallError("close", unix.Close(t.top.fd)))
}

// born is when a file was made, in nanoseconds since 1970; 0 where the file system does not know.
func born(dirfd int, name string) int64 {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := unix.Statx(dirfd, name, flags, unix.STATX_BTIME, &st); err != nil {
		return 0
	}
	return birth(&st)
}

func birth(st *unix.Statx_t) int64 {
	if st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}

// valid refuses paths that are none, and those that name what is ours.
func valid(p change.Path) error {
	switch {
	case !p.Valid():
		return errNoPath
	case reserved(p):
		return errReserved
	}
	return nil
}
