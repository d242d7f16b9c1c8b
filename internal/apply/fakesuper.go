package apply

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/perm"
)

// Keeper is a user and a group, by number.
type Keeper struct{ UID, GID uint32 }

// With FakeSuper a tree is as an rsync with --fake-super makes and reads it: a symlink is a file with what it holds, a device, pipe or
// socket an empty one, and what a path is like beyond what whoever runs this may set stands in an extended attribute. What is looked at is taken
// for what it stands for.

// storesFake reports why the file system of an open directory cannot keep what FakeSuper is for.
func storesFake(fd int) error {
	_, err := unix.Fgetxattr(fd, perm.FakeName, nil)
	if err == nil || errors.Is(err, unix.ENODATA) {
		return nil
	}
	return fmt.Errorf("fake super needs extended attributes of users: %w", err)
}

// StoresFake reports why the file system of a directory cannot keep what FakeSuper is for.
func StoresFake(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return storesFake(int(dir.Fd()))
}

// standsIn reports whether something of another type is in the place of what a says.
func (t *Tree) standsIn(a *Attr) bool {
	return t.o.FakeSuper && a.kind() != unix.S_IFDIR && a.kind() != unix.S_IFREG
}

// fakeValue is the attribute that get reads; empty for none.
func fakeValue(get func([]byte) (int, error)) (string, error) {
	var buf [256]byte
	n, err := get(buf[:])
	if isAny(err, unix.ENODATA, unix.ERANGE, unix.EOPNOTSUPP) {
		return "", nil
	}
	return string(buf[:max(n, 0)]), err
}

// faked is what st stands for, by an attribute that get reads. One that cannot be right is none.
func (t *Tree) faked(st unix.Stat_t, get func([]byte) (int, error)) (unix.Stat_t, error) {
	kind := st.Mode & unix.S_IFMT
	if !t.o.FakeSuper || kind != unix.S_IFDIR && kind != unix.S_IFREG {
		return st, nil
	}
	value, err := fakeValue(get)
	f, ok := perm.ParseFake(value)
	if err == nil && ok && (f.Mode&unix.S_IFMT == unix.S_IFDIR) == (kind == unix.S_IFDIR) {
		st.Mode, st.Rdev, st.Uid, st.Gid = f.Mode, f.Rdev, f.UID, f.GID
	}
	return st, err
}

// openPlain opens a file or a directory of an open directory for reading.
func openPlain(dir int, name string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return -1, unix.EINVAL // to open a device may do something
	}
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// LookAt looks at an entry of an open directory, or with an empty name at the directory, as Look does at a path.
func (t *Tree) LookAt(dir int, name string) (change.Stat, error) {
	var st unix.Stat_t
	get := func(b []byte) (int, error) {
		if name == "" {
			return unix.Fgetxattr(dir, perm.FakeName, b)
		}
		fd, err := openPlain(dir, name)
		if isAny(err, unix.EACCES, unix.EINVAL) {
			return 0, unix.ENODATA // nothing of ours: that can always be read
		}
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
		return unix.Fgetxattr(fd, perm.FakeName, b)
	}
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH)
	if err == nil {
		st, err = t.faked(st, get)
	}
	return change.StatOf(&st), err
}

// fake reads FakeName of what is open.
func (n node) fake(b []byte) (int, error) { return n.getXattr(perm.FakeName, b) }

// LinkAt is what a symlink of an open directory holds, which LookAt found.
func (t *Tree) LinkAt(dir int, name string) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, b)
	if !t.o.FakeSuper || !errors.Is(err, unix.EINVAL) {
		return string(b[:max(n, 0)]), err
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	n, err = unix.Pread(fd, b, 0)
	return string(b[:max(n, 0)]), err
}

// putStandIn makes what stands for a in its place.
func (t *Tree) putStandIn(p change.Path, a Attr, old Old) (Done, error) {
	a.Size = int64(len(a.Link))
	f, err := t.Create(p, a, old)
	if err != nil {
		return Done{}, err
	}
	defer f.Discard()
	if _, err := f.Write([]byte(a.Link)); err != nil {
		return Done{}, err
	}
	return f.Place()
}

// keeper gives what is made to whoever keeps it.
func (w *wardrobe) keeper() error {
	k := w.t.o.Keeper
	if k == nil || w.st.Uid == k.UID && w.st.Gid == k.GID {
		return nil
	}
	err := w.n.chown(int(k.UID), int(k.GID))
	if err == nil {
		w.st.Uid, w.st.Gid = k.UID, k.GID
	}
	return w.take("owner", err)
}

// fake sets the mode as far as it is real, and stores what it is to be where that says more.
func (w *wardrobe) fake() error {
	want := perm.Fake{Mode: w.a.Mode, UID: w.a.UID, GID: w.a.GID}
	if device(w.a.Mode) {
		want.Rdev = w.a.Rdev
	}
	mode := want.Real(w.st.Mode & unix.S_IFMT)
	if w.st.Mode != mode {
		if err := w.take("mode", w.n.chmod(mode&0o7777)); err != nil {
			return err
		}
	}
	stored, err := fakeValue(w.n.fake)
	says := want != perm.Fake{Mode: mode, UID: w.st.Uid, GID: w.st.Gid}
	switch {
	case err != nil:
		return w.take(perm.FakeName, err)
	case says && stored != want.String():
		return w.take(perm.FakeName, w.roomy(w.n.setXattr(perm.FakeName, want.String())))
	case !says && stored != "":
		return w.take(perm.FakeName, w.n.removeXattr(perm.FakeName))
	}
	return nil
}
