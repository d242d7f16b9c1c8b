package apply

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// slot is the directory of the trash in which p gets its place. It and those above are like those that p is in, so that nobody
// reads in the trash what he could not before. The caller leaves it.
func (t *Tree) slot(p change.Path, day string) (*dir, error) {
	if len(trashed(day, p)) >= unix.PathMax {
		return nil, unix.ENAMETOOLONG
	}
	at := trashed(day, p.Parent())
	if d := t.dirs.get(at); d != nil {
		return d, nil
	}
	d, err := t.dayOf(day)
	if err != nil {
		return nil, err
	}
	for i := range len(p) {
		if p[i] != '/' {
			continue
		}
		above := p[:i]
		err := t.likeAbove(d, above)
		t.leave(d)
		if err != nil {
			return nil, fmt.Errorf("make directory %q in the trash: %w", string(above), err)
		}
		if d, err = t.enter(trashed(day, above)); err != nil {
			return nil, fmt.Errorf("open directory %q in the trash: %w", string(above), err)
		}
	}
	return d, nil
}

// likeAbove makes a directory in the trash like the one at p.
func (t *Tree) likeAbove(into *dir, p change.Path) error {
	above, err := t.enter(p.Parent())
	if err != nil {
		return err
	}
	defer t.leave(above)
	return t.like(into.fd, p.Name(), above.fd, p.Name())
}

// dayOf is the directory of a day. The caller leaves it.
func (t *Tree) dayOf(day string) (d *dir, err error) {
	d = t.top
	for _, at := range []change.Path{filter.TrashName, trashed(day, change.Root)} {
		above := d
		if d, err = t.enter(at); errors.Is(err, unix.ENOENT) {
			if err = t.quietly(above, func() error { return unix.Mkdirat(above.fd, at.Name(), 0o755) }); err == nil || errors.Is(err, unix.EEXIST) {
				d, err = t.enter(at)
			}
		}
		t.leave(above)
		switch {
		case notThere(err), isAny(err, unix.EACCES, unix.EPERM):
			return nil, fmt.Errorf("%w: open directory %q: %v", ErrTrash, string(at), err)
		case err != nil:
			return nil, err
		}
	}
	return d, nil
}

// quietly makes an entry in a directory, whose time stays.
func (t *Tree) quietly(d *dir, do func() error) error {
	t.times.Lock()
	defer t.times.Unlock()
	var before unix.Stat_t
	if err := unix.Fstat(d.fd, &before); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	_ = node{fd: d.fd}.setMtime(before.Mtim.Nano()) // it may belong to another; then it was not set before either
	return nil
}

// like makes a directory, unless there is one, and gives it mode, owner and extended attributes of another one. Something else there
// makes way.
func (t *Tree) like(into int, name string, from int, other string) error {
	err := unix.Mkdirat(into, name, 0o700)
	if errors.Is(err, unix.EEXIST) && !isDirectory(into, name) {
		if err := unix.Unlinkat(into, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		err = unix.Mkdirat(into, name, 0o700)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	model, err := t.openNode(&dir{fd: from}, other)
	if err != nil {
		return err
	}
	defer model.close()
	made, err := t.openNode(&dir{fd: into}, name)
	if err != nil {
		return err
	}
	defer made.close()
	a, err := t.attrOf(model)
	if err != nil {
		return err
	}
	st, err := made.stat()
	if err != nil {
		return err
	}
	if a.kind() != unix.S_IFDIR || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return errBusy
	}
	_, err = t.dress(made, &st, change.Path(name), &a)
	return err
}

// attrOf is what an open file is like.
func (t *Tree) attrOf(n node) (Attr, error) {
	st, err := n.stat()
	if err != nil {
		return Attr{}, err
	}
	a := Attr{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Rdev: st.Rdev, Size: st.Size, Mtime: st.Mtim.Nano()}
	if a.kind() == unix.S_IFLNK {
		a.Link, err = readLink(n)
		return a, err
	}
	has, err := t.xattrsOf(n)
	if err != nil {
		return a, nil // they cannot be read, as without /proc
	}
	a.HasXattrs = true
	for name, value := range has {
		a.Xattrs = append(a.Xattrs, Xattr{name, value})
	}
	return a, nil
}

// Trashed is where a path of a day is in the trash, for those who read what is in it. The path of an empty day is that of the trash.
func Trashed(day string, p change.Path) change.Path {
	if day == "" {
		return filter.TrashName
	}
	return trashed(day, p)
}

// Describe says what is at p. The error is of the kind NoParent when nothing is.
func (t *Tree) Describe(p change.Path) (a Attr, err error) {
	err = t.visit(p, func(n node) error {
		a, err = t.attrOf(n)
		return err
	})
	if err != nil {
		return a, t.fail("look at", p, err)
	}
	return a, nil
}

// Expire removes a day from the trash for good, until ctx ends.
func (t *Tree) Expire(ctx context.Context, day string) error {
	at := trashed(day, change.Root)
	err := t.within(at, func(d *dir, name string) error {
		if !isDirectory(d.fd, name) {
			return nil
		}
		t.forget(at)
		return removeUntil(ctx, d.fd, name)
	})
	if err != nil && !notThere(err) {
		return t.fail("empty the trash of", change.Path(day), err)
	}
	return nil
}
