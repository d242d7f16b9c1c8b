// Package undelete is the way back of the path of a change: it puts what the trash of a target held into the source. That
// arrives in a staging directory first, and is moved to its place by renames that start at the descriptor of the source's root
// and follow no symlink: who can write in the source cannot lead them out of it.
package undelete

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
)

// Staging is a directory below a source, of a name that is never replicated, for what comes back.
type Staging struct {
	root *scan.Root
	// top is the directory of the source that trash is in, dir the staging directory in trash.
	top, trash, dir *os.File
	name            string
	// made: trash was not there before.
	made bool
}

// Stage makes a staging directory in the file system that p is in or would be in: a rename does not leave one. The root
// stays open until Close.
func Stage(root *scan.Root, p change.Path) (*Staging, error) {
	top, err := mountOf(root, p)
	if err != nil {
		return nil, err
	}
	s := &Staging{root: root, name: "undelete-" + strings.ToLower(rand.Text())}
	if s.top, err = root.OpenDir(top); err != nil {
		return nil, err
	}
	if err := s.make(); err != nil {
		return nil, errors.Join(fmt.Errorf("make a staging directory in %q: %w", s.top.Name(), err), s.Close())
	}
	return s, nil
}

// mountOf is the topmost directory of the file system that p is in or would be in.
func mountOf(root *scan.Root, p change.Path) (change.Path, error) {
	top, dev := change.Root, root.Stat().Dev
	for i := range len(p) {
		if p[i] != '/' {
			continue
		}
		seen, err := root.Look(p[:i])
		if err != nil {
			return top, err
		}
		if seen.At != p[:i] || !seen.Stat.IsDir() {
			break
		}
		if seen.Stat.Dev != dev {
			top, dev = p[:i], seen.Stat.Dev
		}
	}
	return top, nil
}

func (s *Staging) make() error {
	err := unix.Mkdirat(int(s.top.Fd()), filter.TrashName, 0o700)
	s.made = err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if s.trash, err = openDir(s.top, filter.TrashName); err != nil {
		return err
	}
	if err := unix.Mkdirat(int(s.trash.Fd()), s.name, 0o700); err != nil {
		return err
	}
	s.dir, err = openDir(s.trash, s.name)
	return err
}

// openDir opens an entry of a directory that is one itself.
func openDir(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open directory", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Dir is the staging directory. It belongs to s.
func (s *Staging) Dir() *os.File { return s.dir }

// Close removes the staging directory with all that is left in it.
func (s *Staging) Close() error {
	var errs []error
	if s.dir != nil {
		parent, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", s.trash.Fd()))
		if err == nil {
			err = errors.Join(parent.RemoveAll(s.name), parent.Close())
		}
		errs = append(errs, err)
	}
	if s.made {
		// Somebody else may be at it as well.
		_ = unix.Unlinkat(int(s.top.Fd()), filter.TrashName, unix.AT_REMOVEDIR)
		announce(s.top)
	}
	for _, f := range []*os.File{s.dir, s.trash, s.top} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the staging directory: %w", err)
	}
	return nil
}

// announce has an event happen at a directory: its time changed once more, and nobody is told of the name by which it did. The directory of
// another user is left.
func announce(dir *os.File) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err == nil {
		_ = unix.Fchmod(int(dir.Fd()), st.Mode&0o7777)
	}
}

// Outcome is what became of a path.
type Outcome uint8

const (
	// Back: it is there again, with all that is below it.
	Back Outcome = iota
	// Replaced: it took the place of what was there.
	Replaced
	// Kept: something is there, and was left.
	Kept
	// Blocked: one of the two is a directory and the other is not. It was left.
	Blocked
)

// PutBack moves what was staged to its place in the source: a directory as a whole where nothing is in its place, and else
// entry by entry. What is there stays, its directories' attributes too, unless force replaces it; a directory and something
// else never replace each other. tell is told of each path that was moved or left. An entry that fails does not keep the others from being
// moved.
func (s *Staging) PutBack(force bool, tell func(change.Path, Outcome)) error {
	into, err := s.root.OpenDir(change.Root)
	if err != nil {
		return err
	}
	defer into.Close()
	return s.merge(s.dir, into, change.Root, force, tell)
}

// merge moves the entries of a directory into another one.
func (s *Staging) merge(from, into *os.File, at change.Path, force bool, tell func(change.Path, Outcome)) error {
	names, err := from.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	var errs []error
	for _, name := range names {
		p := at.Join(name)
		outcome, err := s.move(from, into, name, force)
		switch {
		case errors.Is(err, errBothDirs):
			err = s.descend(from, into, p, force, tell)
		case err == nil:
			tell(p, outcome)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("put %s back: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Staging) descend(from, into *os.File, p change.Path, force bool, tell func(change.Path, Outcome)) error {
	sub, err := openDir(from, p.Name())
	if err != nil {
		return err
	}
	defer sub.Close()
	there, err := openDir(into, p.Name())
	if err != nil {
		return err
	}
	defer there.Close()
	return s.merge(sub, there, p, force, tell)
}

var errBothDirs = errors.New("both are directories")

// move moves one entry, in one step: nothing that comes meanwhile is overwritten unasked.
func (s *Staging) move(from, into *os.File, name string, force bool) (Outcome, error) {
	err := unix.Renameat2(int(from.Fd()), name, int(into.Fd()), name, unix.RENAME_NOREPLACE)
	if err == nil {
		return Back, nil
	}
	comes, here := isDir(from, name)
	is, there := isDir(into, name)
	switch {
	case here != nil:
		return 0, here
	case there == nil && comes && is:
		return 0, errBothDirs
	case there == nil && (comes || is):
		return Blocked, nil
	case there == nil && !force:
		return Kept, nil
	case there == nil:
		return Replaced, unix.Renameat(int(from.Fd()), name, int(into.Fd()), name)
	case !errors.Is(there, unix.ENOENT):
		return 0, there
	case errors.Is(err, unix.EINVAL):
		// A file system that does not know such a rename, as NFS.
		return Back, unix.Renameat(int(from.Fd()), name, int(into.Fd()), name)
	}
	return 0, err
}

// isDir reports whether an entry is a directory.
func isDir(dir *os.File, name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, err
}
