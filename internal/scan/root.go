// Package scan looks at the source: at one path for a sender, at everything below a tree
// mark for the journal. It never follows a symlink and never leaves the root.
package scan

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sersync/internal/beneath"
	"sersync/internal/change"
)

// What Check says of a root that is not what it was. Removals must stop then.
var (
	ErrRootGone     = errors.New("source root is gone")
	ErrRootReplaced = errors.New("source root was replaced by another directory or file system")
)

// ErrNotEntered is what a watcher says of a directory that is another file system, where only that of the root is replicated.
var ErrNotEntered = errors.New("another file system is mounted here, and is left out")

// Root is the open root directory of a source. All looks go from its descriptor, so that
// they see the directory that was opened whatever its name is later.
type Root struct {
	name string
	file *os.File
	stat change.Stat
}

// OpenRoot opens the directory name, which may be reached by symlinks.
func OpenRoot(name string) (*Root, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open source root %q: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		file.Close()
		return nil, fmt.Errorf("look at source root %q: %w", name, err)
	}
	return &Root{name: name, file: file, stat: change.StatOf(&st)}, nil
}

// RootOf is the root that is open as file, which stays the caller's to close.
func RootOf(file *os.File) (*Root, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, fmt.Errorf("look at source root %q: %w", file.Name(), err)
	}
	return &Root{name: file.Name(), file: file, stat: change.StatOf(&st)}, nil
}

// Name is the path that the root was opened by.
func (r *Root) Name() string { return r.name }

// File is the open directory. It belongs to the root.
func (r *Root) File() *os.File { return r.file }

// Stat is what the root was when it was opened.
func (r *Root) Stat() change.Stat { return r.stat }

// Birth is when the root was made, in nanoseconds since 1970; 0 where the file system does not know.
func (r *Root) Birth() int64 {
	var st unix.Statx_t
	err := unix.Statx(int(r.file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}

// Close closes the root.
func (r *Root) Close() error { return r.file.Close() }

// Check reports whether the root's name still leads to the directory that is open:
// ErrRootGone, ErrRootReplaced, or another error when it cannot be known.
func (r *Root) Check() error {
	var st unix.Stat_t
	err := unix.Stat(r.name, &st)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return ErrRootGone
	case err != nil:
		return fmt.Errorf("look at source root %q: %w", r.name, err)
	case !change.StatOf(&st).SameFile(r.stat):
		return ErrRootReplaced
	}
	return nil
}

// open opens p below the root. The caller closes the descriptor.
func (r *Root) open(p change.Path, flags uint64) (int, error) {
	return beneath.Open(int(r.file.Fd()), p, flags)
}

// OpenDir opens the directory p for reading.
func (r *Root) OpenDir(p change.Path) (*os.File, error) {
	fd, err := r.open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open directory %q: %w", string(p), err)
	}
	return os.NewFile(uintptr(fd), string(p)), nil
}

// Seen is what a look found.
type Seen struct {
	// At is the path that the finding is of: the path that was asked for; or, when that is
	// absent, its topmost missing ancestor (or itself); or an ancestor that is no directory.
	At change.Path
	// Stat of At; the zero Stat when At is absent.
	Stat change.Stat
}

// Look looks at p. An absent path is no error: it is reported as the topmost missing
// ancestor. A path below something that is not a directory (any more) is reported as that something.
// An error means that it is not known what is there: to be tried again, never taken for a removal.
func (r *Root) Look(p change.Path) (Seen, error) {
	for range 8 {
		seen, again, err := r.look(p)
		if err != nil || !again {
			return seen, err
		}
	}
	return Seen{}, fmt.Errorf("look at %q: it keeps changing", string(p))
}

func (r *Root) look(p change.Path) (seen Seen, again bool, err error) {
	st, err := r.lstat(p)
	if err == nil {
		return Seen{At: p, Stat: st}, false, nil
	}
	// Climb until something is there: what is just below it is missing, unless it is no directory.
	missing := p
	for missing != change.Root && NotThere(err) {
		parent := missing.Parent()
		st, err = r.lstat(parent)
		if err == nil {
			if !st.IsDir() {
				return Seen{At: parent, Stat: st}, false, nil
			}
			// The parent is a directory: the child must be missing, or it came just now.
			if _, err := r.lstat(missing); err == nil || !errors.Is(err, unix.ENOENT) {
				return Seen{}, true, nil
			}
			return Seen{At: missing}, false, nil
		}
		missing = parent
	}
	return Seen{}, false, fmt.Errorf("look at %q: %w", string(p), err)
}

// NotThere reports whether an error says that a path does not lead anywhere: a part of it is missing, no directory, or a symlink.
func NotThere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

func (r *Root) lstat(p change.Path) (change.Stat, error) {
	fd, err := r.open(p, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return change.Stat{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return change.Stat{}, err
	}
	if p == change.Root && st.Nlink == 0 {
		return change.Stat{}, unix.ESTALE
	}
	return change.StatOf(&st), nil
}
