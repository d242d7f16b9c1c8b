package apply

import (
	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Link gives the regular file at from the name p as well, where it is there and all that a says of it. It reports whether p is that file now: when
// it is not, nothing has changed, and p has to be made from its content. What is there makes way as way says.
func (t *Tree) Link(p, from change.Path, a Attr, way Old) (done Done, linked bool) {
	err := t.within(from, func(d *dir, name string) error {
		n, err := t.openNode(d, name)
		if err != nil {
			return err
		}
		// What is open keeps its number: nothing else gets it meanwhile.
		defer n.close()
		st, err := n.stat()
		if err != nil {
			return err
		}
		if same, err := t.isAll(n, &st, from, a); err != nil || !same {
			return errOther
		}
		return t.within(p, func(to *dir, _ string) error {
			done, err = t.linkThere(d, name, &st, to, p, way)
			return err
		})
	})
	return done, err == nil
}

// isAll reports whether n, which is at p, is a regular file with all that a says.
func (t *Tree) isAll(n node, st *unix.Stat_t, p change.Path, a Attr) (bool, error) {
	bare := a
	bare.HasXattrs = false
	differs, err := t.Same(p, change.StatOf(st), bare)
	if err != nil || differs != 0 || a.kind() != unix.S_IFREG {
		return false, err
	}
	if !a.HasXattrs {
		return true, nil
	}
	return t.sameXattrs(n, &a)
}

// linkThere gives the file st, which has a name in from, the name p in d. What waits for either of both goes before, and its content is on the disk
// by then: what a temporary name tells Recover it tells of a file with one name.
func (t *Tree) linkThere(from *dir, name string, st *unix.Stat_t, d *dir, p change.Path, way Old) (Done, error) {
	var old unix.Stat_t
	err := unix.Fstatat(d.fd, p.Name(), &old, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && sameInode(&old, st) {
		return Done{}, nil
	}
	if t.waiting.has(from.path.Join(name)) || t.waiting.has(p) {
		if err := t.settle(); err != nil {
			return Done{}, err
		}
	}
	defer t.touch(d)
	tmp := t.temp(p.Name())
	if err := unix.Linkat(from.fd, name, d.fd, tmp, 0); err != nil {
		return Done{}, err
	}
	// A rename of one name of a file to another does nothing, and leaves both.
	defer func() { _ = unix.Unlinkat(d.fd, tmp, 0) }()
	if err := unix.Fstatat(d.fd, tmp, &old, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Done{}, err
	}
	if !sameInode(&old, st) {
		return Done{}, errOther // somebody put another one there
	}
	return Done{Changed: true}, t.overwrite(d, tmp, p, way, true)
}

func sameInode(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }
