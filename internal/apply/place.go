package apply

import (
	"errors"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Ways that a file system or an old kernel may not know.
var unknownWay = []error{unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP}

// maxTries bounds how often something that comes and goes in the place of a path is looked at again.
const maxTries = 16

// place gives the regular file tmp the name of p, in the same directory. Afterwards tmp is gone, or waits.
func (t *Tree) place(d *dir, tmp string, p change.Path, old Old) error {
	defer t.touch(d)
	// What is mounted below may be of a kind of which nothing is known.
	if !t.lasting || d.dev != t.top.dev {
		return t.overwrite(d, tmp, p, old, true)
	}
	for range maxTries {
		placed, err := t.spare(d, tmp, p, old, true)
		if placed || err != nil {
			return err
		}
		again, err := t.placeLasting(d, tmp, p, old)
		if !again {
			return err
		}
	}
	return errBusy
}

// overwrite is a rename over whatever is there: of what has no content to lose, or where nothing is lost with the power. regular says
// that tmp is a regular file.
func (t *Tree) overwrite(d *dir, tmp string, p change.Path, old Old, regular bool) error {
	for range maxTries {
		placed, err := t.spare(d, tmp, p, old, regular)
		if placed || err != nil {
			return err
		}
		err = unix.Renameat(d.fd, tmp, d.fd, p.Name())
		if !isAny(err, unix.EISDIR, unix.ENOTDIR, unix.ENOTEMPTY, unix.EEXIST) {
			return err
		}
		spared := old
		if errors.Is(err, unix.ENOTDIR) {
			spared = Old{} // a directory in place of a file needs to be asked of nobody
		}
		again, was, err := t.swap(d, tmp, p, spared)
		if again {
			continue
		}
		if err != nil || was == "" {
			return err
		}
		return removeTree(d.fd, was)
	}
	return errBusy
}

// placeLasting places what may not yet be on the disk, so that a loss of power can be told: see the comment of the package.
func (t *Tree) placeLasting(d *dir, tmp string, p change.Path, old Old) (again bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(d.fd, p.Name(), &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return t.placeNew(d, tmp, p)
	case err != nil:
		return false, err
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		again, was, err := t.swap(d, tmp, p, old)
		if again || err != nil || was == "" {
			return again, err
		}
		t.wait(d, was, 0)
		return false, nil
	}
	err = unix.Renameat2(d.fd, tmp, d.fd, p.Name(), unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		t.wait(d, tmp, st.Blocks*512)
		return false, nil
	case errors.Is(err, unix.ENOENT):
		return true, nil
	case isAny(err, unknownWay...):
		err = unix.Renameat(d.fd, tmp, d.fd, p.Name())
		return errors.Is(err, unix.EISDIR), err
	}
	return false, err
}

func (t *Tree) placeNew(d *dir, tmp string, p change.Path) (again bool, err error) {
	err = unix.Linkat(d.fd, tmp, d.fd, p.Name(), 0)
	switch {
	case err == nil:
		t.wait(d, tmp, 0)
		return false, nil
	case errors.Is(err, unix.EEXIST):
		return true, nil
	case isAny(err, append(unknownWay, unix.EPERM)...): // FAT says EPERM of links
		err = renameNew(d, tmp, d, p.Name())
		return errors.Is(err, unix.EEXIST), err
	}
	return false, err
}

// renameNew renames to a name that is free.
func renameNew(from *dir, name string, to *dir, other string) error {
	err := unix.Renameat2(from.fd, name, to.fd, other, unix.RENAME_NOREPLACE)
	if !isAny(err, unknownWay...) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(to.fd, other, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		return unix.EEXIST
	}
	return unix.Renameat(from.fd, name, to.fd, other)
}

// swap puts tmp in the place of p where one of both is a directory, and says under which name the old thing is now; none
// when it went. What is to be spared does not go by it.
func (t *Tree) swap(d *dir, tmp string, p change.Path, spared Old) (again bool, old string, err error) {
	name := p.Name()
	if spared.Keep || spared.Day != "" {
		return t.swapEmpty(d, p, spared)
	}
	defer t.forget(p)
	err = unix.Renameat2(d.fd, tmp, d.fd, name, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		return true, "", nil
	}
	// EXDEV: overlayfs renames no directory that comes from below.
	if !isAny(err, unknownWay...) && !errors.Is(err, unix.EXDEV) {
		return false, tmp, err
	}
	// It cannot be done in one step here.
	old = t.temp(name)
	err = unix.Renameat(d.fd, name, d.fd, old)
	if errors.Is(err, unix.EXDEV) {
		err = removeTree(d.fd, name)
		return err == nil, "", err
	}
	if err != nil {
		return errors.Is(err, unix.ENOENT), "", err
	}
	if err := renameNew(d, tmp, d, name); err != nil {
		return false, "", errors.Join(err, renameNew(d, old, d, name))
	}
	return false, old, nil
}

// swapEmpty removes a directory that is empty.
func (t *Tree) swapEmpty(d *dir, p change.Path, spared Old) (again bool, old string, err error) {
	left, err := t.removeEmpty(d, p)
	switch {
	case left && spared.Keep:
		return false, "", ErrInTheWay
	case left:
		return true, "", nil // somebody put something into it meanwhile
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return true, "", nil
	}
	return false, "", err
}
