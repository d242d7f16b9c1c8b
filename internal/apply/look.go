package apply

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// Look looks at p. The zero Stat is that of an absent path, and of one below something that is no directory.
func (t *Tree) Look(p change.Path) (change.Stat, error) {
	return t.look(p, func(d *dir) bool { return d != t.top && !d.removed() })
}

// LookToPut is Look for who puts p if it is absent: a directory that was removed lets nothing be made in it.
func (t *Tree) LookToPut(p change.Path) (change.Stat, error) {
	return t.look(p, func(*dir) bool { return true })
}

// look takes what is missing in a directory for absent where there says so of that: what it is in is there as well then, up to the root.
func (t *Tree) look(p change.Path, there func(*dir) bool) (st change.Stat, err error) {
	if p == change.Root {
		st, err = t.LookAt(t.top.fd, "")
	} else {
		err = t.within(p, func(d *dir, name string) (err error) {
			st, err = t.LookAt(d.fd, name)
			if err == unix.ENOENT && there(d) {
				st, err = change.Stat{}, nil
			}
			return err
		})
	}
	switch {
	case err == nil:
		return st, nil
	case notThere(err) && !t.top.removed():
		return change.Stat{}, nil
	}
	return change.Stat{}, t.fail("look at", p, err)
}

// Differs says in what a path is not as it should be.
type Differs uint8

const (
	// Type: it is absent, or something else. Nothing more is said then.
	Type Differs = 1 << iota
	// Content: the size is another, or the file differs and has other names, which may be outside of the tree and
	// are not to change with it. The same size says nothing of the content.
	Content
	// Mtime, Mode and Owner, as far as they can be set here.
	Mtime
	Mode
	Owner
	// Target of a symlink, or number of a device.
	Target
	Xattrs
)

// Same compares what a look at p found with what it is to be like. Put changes all but Content.
func (t *Tree) Same(p change.Path, st change.Stat, a Attr) (Differs, error) {
	if st.Mode&unix.S_IFMT != a.kind() {
		return Type, nil
	}
	var d Differs
	if st.IsRegular() && st.Size != a.Size {
		d |= Content
	}
	if grain, _ := t.grains.of(st.Dev); st.Mtime != a.Mtime && st.Mtime != grain.store(a.Mtime) {
		d |= Mtime
	}
	if t.o.Owners && (st.UID != a.UID || st.GID != a.GID) {
		d |= Owner
	}
	want, _ := t.permissions(&a, &unix.Stat_t{Uid: st.UID, Gid: st.GID})
	if a.kind() != unix.S_IFLNK && st.Mode&0o7777 != want {
		d |= Mode
	}
	if device(a.Mode) && st.Rdev != a.Rdev {
		d |= Target
	}
	if a.kind() == unix.S_IFLNK || a.HasXattrs {
		more, err := t.sameInside(p, &a)
		if err != nil || more == Type {
			return more, err
		}
		d |= more
	}
	if st.IsRegular() && d != 0 && t.shared(p, st) {
		d |= Content
	}
	return d, nil
}

// shared reports whether the file at p, which is st, has names that are not ours.
func (t *Tree) shared(p change.Path, st change.Stat) bool {
	if st.Links != 2 {
		return st.Links > 2
	}
	ours := false
	_ = t.within(p, func(d *dir, _ string) error {
		ours = slices.ContainsFunc(t.waiting.of(p), func(tmp string) bool {
			var other unix.Stat_t
			err := unix.Fstatat(d.fd, tmp, &other, unix.AT_SYMLINK_NOFOLLOW)
			return err == nil && other.Dev == st.Dev && other.Ino == st.Ino
		})
		return nil
	})
	return !ours
}

// sameInside compares what a look does not tell.
func (t *Tree) sameInside(p change.Path, a *Attr) (d Differs, err error) {
	err = t.visit(p, func(n node) error {
		if a.kind() == unix.S_IFLNK {
			link, err := readLink(n)
			if link != a.Link {
				d |= Target
			}
			return err
		}
		same, err := t.sameXattrs(n, a)
		if err == nil && !same {
			d |= Xattrs
		}
		return err
	})
	if notThere(err) {
		return Type, nil // it went meanwhile
	}
	if err != nil {
		return d, t.fail("compare", p, err)
	}
	return d, nil
}

// visit opens p, which may be the root, whatever it is.
func (t *Tree) visit(p change.Path, do func(node) error) error {
	if p == change.Root {
		return do(node{fd: t.top.fd, files: t.o.OpenFiles})
	}
	return t.within(p, func(d *dir, name string) error {
		n, err := t.openNode(d, name)
		if err != nil {
			return err
		}
		defer n.close()
		return do(n)
	})
}

func readLink(n node) (string, error) {
	b := make([]byte, unix.PathMax)
	if !n.path { // what stands for it is a file
		size, err := unix.Pread(n.fd, b, 0)
		return string(b[:max(size, 0)]), err
	}
	size, err := unix.Readlinkat(n.fd, "", b)
	return string(b[:max(size, 0)]), err
}

func device(mode uint32) bool {
	return mode&unix.S_IFMT == unix.S_IFCHR || mode&unix.S_IFMT == unix.S_IFBLK
}

// OpenOld opens the regular file that is at p now, for what a new version has in common with it. The error is
// os.ErrNotExist when there is none.
func (t *Tree) OpenOld(p change.Path) (*os.File, error) { return t.openFile(p, p) }

// partial is where the part of p is that arrived before a cut.
func partial(p change.Path) change.Path { return p.Parent().Join(filter.PartialName).Join(p.Name()) }

// Partial opens what File.Keep left of p. The error is os.ErrNotExist when there is nothing.
func (t *Tree) Partial(p change.Path) (*os.File, error) { return t.openFile(p, partial(p)) }

// DropPartial removes what File.Keep left of p.
func (t *Tree) DropPartial(p change.Path) error {
	if _, err := t.RemoveExact(partial(p)); err != nil {
		return err
	}
	_, err := t.RemoveExact(partial(p).Parent())
	return err
}

func (t *Tree) openFile(p, at change.Path) (*os.File, error) {
	var file *os.File
	err := t.within(at, func(d *dir, name string) error {
		fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			unix.Close(fd)
			return errors.Join(err, unix.ENOENT)
		}
		file = os.NewFile(uintptr(fd), string(p))
		return nil
	})
	if notThere(err) || errors.Is(err, unix.ENXIO) {
		return nil, os.ErrNotExist
	}
	if err != nil {
		return nil, t.fail("open", p, err)
	}
	return file, nil
}
