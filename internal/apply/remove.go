package apply

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Remove removes p with all that is below it. A path that is not there is fine.
func (t *Tree) Remove(p change.Path) (Done, error) {
	return t.remove(p, t.unlink(p, func(d *dir, name string) (bool, error) {
		err := unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
		if isAny(err, unix.ENOTEMPTY, unix.EEXIST) {
			err = removeTree(d.fd, name)
		}
		return false, err
	}))
}

// RemoveExact removes p, a directory only when it is empty. One that is not is left, and that is no failure.
func (t *Tree) RemoveExact(p change.Path) (Done, error) {
	return t.remove(p, t.unlink(p, func(d *dir, _ string) (bool, error) { return t.removeEmpty(d, p) }))
}

// remover removes an entry of a directory, and says whether it was left.
type remover func(d *dir, name string) (left bool, err error)

// unlink removes what is no directory, and leaves directories to removeDir.
func (t *Tree) unlink(p change.Path, removeDir remover) remover {
	return func(d *dir, name string) (left bool, err error) {
		err = unix.Unlinkat(d.fd, name, 0)
		if errors.Is(err, unix.EISDIR) {
			t.forget(p)
			left, err = removeDir(d, name)
			t.forget(p)
		}
		return left, err
	}
}

func (t *Tree) remove(p change.Path, by remover) (Done, error) {
	left := false
	err := t.within(p, func(d *dir, name string) (err error) {
		defer t.touch(d)
		left, err = by(d, name)
		return err
	})
	switch {
	case err == nil:
		return Done{Changed: !left}, nil
	case notThere(err) && !t.top.removed():
		return Done{}, nil
	}
	return Done{}, t.fail("remove", p, err)
}

// removeEmpty removes the directory p, in d, when nothing is in it but temporary names: those are ours, and wait.
func (t *Tree) removeEmpty(d *dir, p change.Path) (left bool, err error) {
	err = unix.Unlinkat(d.fd, p.Name(), unix.AT_REMOVEDIR)
	if !isAny(err, unix.ENOTEMPTY, unix.EEXIST) {
		return false, err
	}
	inside, err := unix.Openat(d.fd, p.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(inside)
	ours, err := onlyTemps(inside)
	if err != nil || !ours {
		return true, err
	}
	err = entries(inside, func(e entry) error {
		if !isTemp(e.name) {
			return nil
		}
		return ignore(removeTree(inside, e.name), unix.ENOENT)
	})
	if err != nil {
		return false, err
	}
	err = unix.Unlinkat(d.fd, p.Name(), unix.AT_REMOVEDIR)
	return isAny(err, unix.ENOTEMPTY, unix.EEXIST), ignore(ignore(err, unix.ENOTEMPTY), unix.EEXIST)
}

// onlyTemps reports whether a directory holds nothing but temporary names.
func onlyTemps(fd int) (bool, error) {
	other := errors.New("other")
	err := entries(fd, func(e entry) error {
		if !isTemp(e.name) {
			return other
		}
		return nil
	})
	if err == other {
		return false, nil
	}
	return true, err
}

// level is a directory that removeTree is in, or above.
type level struct {
	name     string
	dev, ino uint64
}

// removeTree removes name, in the directory parent, with all that is below it. However deep it is, two descriptors are open: the way
// up goes by "..", and is checked.
func removeTree(parent int, name string) error {
	return removeUntil(context.Background(), parent, name)
}

// removeUntil is removeTree, as far as it comes before ctx ends.
func removeUntil(ctx context.Context, parent int, name string) error {
	err := unlink(parent, name)
	if !isAny(err, unix.ENOTEMPTY, unix.EEXIST) {
		return err
	}
	c := climber{}
	defer c.close()
	if err := c.down(parent, name); err != nil {
		return err
	}
	for {
		full, err := c.empty()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if full != "" {
			if err := c.down(c.fd, full); err != nil {
				return err
			}
			continue
		}
		done := c.levels[len(c.levels)-1].name
		if len(c.levels) == 1 {
			return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		}
		if err := c.up(); err != nil {
			return err
		}
		if err := unix.Unlinkat(c.fd, done, unix.AT_REMOVEDIR); err != nil && !isAny(err, unix.ENOENT, unix.ENOTEMPTY, unix.EEXIST) {
			return err
		}
	}
}

// unlink removes an entry that is no directory, or an empty one.
func unlink(fd int, name string) error {
	err := unix.Unlinkat(fd, name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
	}
	return err
}

// climber is at one place of a tree that is being removed.
type climber struct {
	fd     int
	levels []level
}

func (c *climber) close() {
	if len(c.levels) > 0 {
		unix.Close(c.fd)
	}
}

// down goes into a directory. One of ours that may not be read is made so that it can be.
func (c *climber) down(parent int, name string) error {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, name, flags, 0)
	if errors.Is(err, unix.EACCES) && open0700(parent, name) == nil {
		fd, err = unix.Openat(parent, name, flags, 0)
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	c.close()
	c.fd = fd
	c.levels = append(c.levels, level{name, st.Dev, st.Ino})
	return nil
}

func open0700(parent int, name string) error {
	return unix.Fchmodat(parent, name, 0o700, unix.AT_SYMLINK_NOFOLLOW)
}

// up goes back to where down came from, unless somebody moved the directory elsewhere meanwhile.
func (c *climber) up() error {
	above := c.levels[len(c.levels)-2]
	fd, err := unix.Openat(c.fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != above.dev || st.Ino != above.ino {
		unix.Close(fd)
		return errors.Join(err, errBusy)
	}
	unix.Close(c.fd)
	c.fd = fd
	c.levels = c.levels[:len(c.levels)-1]
	return nil
}

// empty removes what it can from the directory, and names the first directory that is not empty.
func (c *climber) empty() (full string, err error) {
	stop := errors.New("stop")
	err = entries(c.fd, func(e entry) error {
		err := unlink(c.fd, e.name)
		if errors.Is(err, unix.EACCES) && unix.Fchmod(c.fd, 0o700) == nil {
			err = unlink(c.fd, e.name)
		}
		if isAny(err, unix.ENOTEMPTY, unix.EEXIST) {
			full = e.name
			return stop
		}
		return ignore(err, unix.ENOENT)
	})
	if err == stop {
		err = nil
	}
	return full, err
}
