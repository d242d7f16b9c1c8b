package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Put makes p what a says, but for the content of a file: a directory is made when it is missing, a symlink, a pipe, a socket or a device is
// made anew when it is another; a regular file gets its attributes when it has the right size and no other names.
func (t *Tree) Put(p change.Path, a Attr, old Old) (Done, error) {
	var done Done
	err := t.roomy(func() (err error) {
		done, err = t.put(p, &a, old)
		return err
	})
	if err != nil {
		return Done{}, t.fail("put", p, err)
	}
	return done, nil
}

func (t *Tree) put(p change.Path, a *Attr, old Old) (done Done, err error) {
	if device(a.Mode) && !t.o.Devices {
		return Done{}, ErrDevices
	}
	if p == change.Root {
		if a.kind() != unix.S_IFDIR {
			return Done{}, errRoot
		}
		t.times.Lock()
		defer t.times.Unlock()
		return t.putAttr(node{fd: t.top.fd, files: t.o.OpenFiles}, p, a)
	}
	err = t.within(p, func(d *dir, name string) error {
		defer t.touch(d)
		done, err = t.putThere(d, p, a)
		if errors.Is(err, errOther) && !t.standsIn(a) {
			done, err = t.putNew(d, p, a, old)
		}
		return err
	})
	if errors.Is(err, errOther) && t.standsIn(a) {
		return t.putStandIn(p, *a, old)
	}
	return done, err
}

// errOther: what is there is not what it is to be, and is made anew.
var errOther = errors.New("it is something else")

// putThere gives its attributes to what is there.
func (t *Tree) putThere(d *dir, p change.Path, a *Attr) (Done, error) {
	if a.kind() == unix.S_IFDIR { // only now: what was left over in d is removed on the way to it, and leaves its time, too
		t.times.Lock()
		defer t.times.Unlock()
	}
	n, err := t.openNode(d, p.Name())
	if errors.Is(err, unix.ENOENT) && a.kind() != unix.S_IFREG {
		return Done{}, errOther
	}
	if err != nil {
		return Done{}, err
	}
	defer n.close()
	return t.putAttr(n, p, a)
}

func (t *Tree) putAttr(n node, p change.Path, a *Attr) (Done, error) {
	st, err := n.stat()
	if err != nil {
		return Done{}, err
	}
	is, err := t.faked(st, n.fake)
	if err != nil {
		return Done{}, err
	}
	same := is.Mode&unix.S_IFMT == a.kind()
	shared := st.Mode&unix.S_IFMT == unix.S_IFREG && t.shared(p, change.StatOf(&st))
	switch {
	case a.kind() == unix.S_IFREG && (!same || st.Size != a.Size):
		return Done{}, ErrContent
	case a.kind() == unix.S_IFREG && shared:
		// Nothing may change: it would change under its other names as well.
		differs, err := t.Same(p, change.StatOf(&is), *a)
		if differs != 0 {
			err = ErrContent
		}
		return Done{}, err
	case !same, device(a.Mode) && is.Rdev != a.Rdev:
		return Done{}, errOther
	case t.standsIn(a) && (shared || st.Mode&unix.S_IFMT != unix.S_IFREG):
		return Done{}, errOther
	case a.kind() == unix.S_IFLNK:
		if link, err := readLink(n); err != nil || link != a.Link {
			return Done{}, errors.Join(errOther, err)
		}
	}
	return t.dress(n, &st, p, a)
}

// putNew makes p, at its place when that is free, or else beside it.
func (t *Tree) putNew(d *dir, p change.Path, a *Attr, old Old) (Done, error) {
	var done Done
	err := t.makeAs(d, p.Name(), p, a, &done)
	if !errors.Is(err, unix.EEXIST) {
		return done, err
	}
	tmp := t.temp(p.Name())
	if err = t.makeAs(d, tmp, p, a, &done); err == nil {
		err = t.overwrite(d, tmp, p, old, false)
	}
	if err != nil {
		_ = unlink(d.fd, tmp)
		return Done{}, err
	}
	return done, nil
}

// makeAs makes what p is to be under some name, with its attributes.
func (t *Tree) makeAs(d *dir, name string, p change.Path, a *Attr, done *Done) error {
	if err := makeNode(d.fd, name, a); err != nil {
		return err
	}
	n, err := t.openNode(d, name)
	if err != nil {
		return err
	}
	defer n.close()
	st, err := n.stat()
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != a.kind() {
		return errBusy // somebody was quicker
	}
	*done, err = t.dress(n, &st, p, a)
	done.Changed = true
	return err
}

func makeNode(fd int, name string, a *Attr) error {
	switch a.kind() {
	case unix.S_IFDIR:
		return unix.Mkdirat(fd, name, 0o700)
	case unix.S_IFLNK:
		return unix.Symlinkat(a.Link, fd, name)
	case unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
		return unix.Mknodat(fd, name, a.kind()|0o600, int(a.Rdev))
	}
	return fmt.Errorf("%w: type %#o", errOther, a.kind())
}
