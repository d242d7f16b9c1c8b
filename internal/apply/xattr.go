package apply

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Replicates reports whether an extended attribute of this name is set and removed here: those of users, POSIX ACLs, and with
// SetID capabilities. Those of the machine (trusted, labels) are its own.
func (o Options) Replicates(name string) bool {
	switch name {
	case "system.posix_acl_access", "system.posix_acl_default":
		return true
	case "security.capability":
		return o.SetID
	}
	return strings.HasPrefix(name, "user.")
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
	name := w.n.proc()
	for _, x := range w.a.Xattrs {
		value, there := has[x.Name]
		delete(has, x.Name)
		switch {
		case x.Name == "security.capability" && !w.t.o.SetID:
			w.limit(fmt.Errorf("set %s of %q: %w", x.Name, string(w.p), ErrSetID))
		case !w.t.o.Replicates(x.Name) || there && value == x.Value:
		default:
			if err := w.take(x.Name, w.roomy(unix.Setxattr(name, x.Name, []byte(x.Value), 0))); err != nil {
				return err
			}
		}
	}
	for extra := range has {
		if err := w.take(extra, unix.Removexattr(name, extra)); err != nil {
			return err
		}
	}
	// An ACL changes the mode.
	if st, err := w.n.stat(); err == nil {
		w.st.Mode = st.Mode
	}
	return nil
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
	name := n.proc()
	has := make(map[string]string)
	for key := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if key == "" || !t.o.Replicates(key) {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return unix.Getxattr(name, key, b) })
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
	for _, x := range a.Xattrs {
		if !t.o.Replicates(x.Name) {
			continue
		}
		if value, there := has[x.Name]; !there || value != x.Value {
			return false, nil
		}
		delete(has, x.Name)
	}
	return len(has) == 0, nil
}
