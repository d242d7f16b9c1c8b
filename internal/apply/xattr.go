package apply

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/perm"
)

// Replicates reports whether an extended attribute of this name is set and removed here: those of users, POSIX ACLs, and with
// SetID capabilities. Those of the machine (trusted, labels) are its own. With FakeSuper it is asked of names in the form in which they are kept.
func (o Options) Replicates(name string) bool {
	switch {
	case o.FakeSuper:
		return strings.HasPrefix(name, "user.") && name != perm.FakeName
	case name == perm.AccessACL, name == perm.DefaultACL:
		return true
	case name == perm.Capability:
		return o.SetID
	}
	return strings.HasPrefix(name, "user.")
}

// kept are the attributes of a as they are kept here, and what cannot be.
func (t *Tree) kept(a *Attr) (kept []Xattr, limits map[string]error) {
	refuse := func(name string, why error) {
		if limits == nil {
			limits = make(map[string]error)
		}
		limits[name] = why
	}
	for _, x := range a.Xattrs {
		ok := true
		if t.o.FakeSuper {
			name := x.Name
			if x.Name, x.Value, ok = perm.FakeXattr(x.Name, x.Value, a.Mode); !ok {
				refuse(name, ErrFake)
			}
		} else if x.Name == perm.Capability && !t.o.SetID {
			refuse(x.Name, ErrSetID)
		}
		if ok && t.o.Replicates(x.Name) {
			kept = append(kept, x)
		}
	}
	return kept, limits
}

func (w *wardrobe) xattrs() error {
	if !w.a.HasXattrs || w.a.kind() == unix.S_IFLNK {
		return nil
	}
	has, err := w.t.xattrsOf(w.n)
	if err != nil {
		return w.take("extended attributes", err)
	}
	if len(has)+len(w.a.Xattrs) == 0 {
		return nil
	}
	kept, limits := w.t.kept(w.a)
	for refused, why := range limits {
		w.limit(fmt.Errorf("set %s of %q: %w", refused, string(w.p), why))
	}
	for _, x := range kept {
		value, there := has[x.Name]
		delete(has, x.Name)
		if there && alike(x, value) {
			continue
		}
		if err := w.take(x.Name, w.roomy(w.n.setXattr(x.Name, x.Value))); err != nil {
			return err
		}
	}
	for extra := range has {
		if err := w.take(extra, w.n.removeXattr(extra)); err != nil {
			return err
		}
	}
	// An ACL changes the mode.
	if st, err := w.n.stat(); err == nil {
		w.st.Mode = st.Mode
	}
	return nil
}

// alike reports whether an attribute has a value, but for what the mode says.
func alike(x Xattr, value string) bool {
	return x.Value == value || perm.BareXattr(x.Name, x.Value) == perm.BareXattr(x.Name, value)
}

// roomy turns the ENOSPC of an attribute that has no room in its inode into what it is, where the file system has room.
func (w *wardrobe) roomy(err error) error {
	var fs unix.Statfs_t
	if errors.Is(err, unix.ENOSPC) && unix.Fstatfs(w.t.top.fd, &fs) == nil && fs.Bavail > 0 {
		return unix.E2BIG
	}
	return err
}

// xattrsOf reads what replicates.
func (t *Tree) xattrsOf(n node) (map[string]string, error) {
	list, err := n.listXattrs()
	if err != nil || len(list) == 0 {
		return nil, ignore(err, unix.EOPNOTSUPP)
	}
	has := make(map[string]string)
	for key := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if key == "" || !t.o.Replicates(key) {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return n.getXattr(key, b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, err
		}
		has[key] = string(value)
	}
	return has, nil
}

func (n node) getXattr(name string, b []byte) (int, error) {
	if n.path {
		return unix.Getxattr(n.proc(), name, b)
	}
	return unix.Fgetxattr(n.fd, name, b)
}

func (n node) setXattr(name, value string) error {
	if n.path {
		return unix.Setxattr(n.proc(), name, []byte(value), 0)
	}
	return unix.Fsetxattr(n.fd, name, []byte(value), 0)
}

func (n node) removeXattr(name string) error {
	if n.path {
		return unix.Removexattr(n.proc(), name)
	}
	return unix.Fremovexattr(n.fd, name)
}

// Xattrs reports whether the file system of the root has extended attributes.
func (t *Tree) Xattrs() bool {
	_, err := unix.Flistxattr(t.top.fd, nil)
	return !errors.Is(err, unix.EOPNOTSUPP)
}

// XattrsAt are the extended attributes that replicate of a file or directory with that mode in an open directory, or with an empty name of the directory. The
// error is os.ErrPermission where they cannot be read.
func (t *Tree) XattrsAt(dir int, name string, mode uint32) ([]Xattr, error) {
	fd := dir
	if name != "" {
		var err error
		if fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return nil, err
		}
		defer unix.Close(fd)
	}
	has, err := t.xattrsOf(node{fd: fd, files: t.o.OpenFiles})
	var all []Xattr
	for name, value := range has {
		x, ok := Xattr{name, value}, true
		if t.o.FakeSuper {
			x.Name, x.Value, ok = perm.RealXattr(name, value, mode)
		}
		if ok {
			all = append(all, x)
		}
	}
	return all, err
}

// listXattrs is empty for nearly every file, which one call tells.
func (n node) listXattrs() ([]byte, error) {
	list := func(b []byte) (int, error) { return unix.Flistxattr(n.fd, b) }
	if n.path {
		name := n.proc()
		list = func(b []byte) (int, error) { return unix.Listxattr(name, b) }
	}
	if size, err := list(nil); err != nil || size == 0 {
		return nil, err
	}
	return grow(list)
}

// grow reads something that says ERANGE when there is more than fits.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for size := 1 << 10; ; size *= 4 {
		b := make([]byte, size)
		n, err := read(b)
		if errors.Is(err, unix.ERANGE) && size < 1<<17 {
			continue
		}
		return b[:max(n, 0)], err
	}
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// sameXattrs reports whether n has those of a.
func (t *Tree) sameXattrs(n node, a *Attr) (bool, error) {
	has, err := t.xattrsOf(n)
	if err != nil {
		return false, err
	}
	kept, _ := t.kept(a)
	for _, x := range kept {
		if value, there := has[x.Name]; !there || !alike(x, value) {
			return false, nil
		}
		delete(has, x.Name)
	}
	return len(has) == 0, nil
}
