package native

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// xattrsMax bounds the names and values of the extended attributes of one path, in bytes: they go over in one frame.
const xattrsMax = 512 << 10

// replicates reports whether an extended attribute of this name is sent; which of them the target sets is for it to say.
func replicates(name string) bool {
	switch name {
	case "system.posix_acl_access", "system.posix_acl_default", "security.capability":
		return true
	}
	return strings.HasPrefix(name, "user.")
}

// errXattrs: they are too many.
var errXattrs = fmt.Errorf("its extended attributes have more than %d KiB, and are not sent", xattrsMax>>10)

// xattrs gives an entry those of a file that is open. Where the file system of the source has none, those of the target are left.
func (b *batch) xattrs(e *wire.Entry, fd int) error {
	all, err := readXattrs(fd)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil
	case errors.Is(err, errXattrs):
		b.mu.Lock()
		defer b.mu.Unlock()
		b.report.Limits = append(b.report.Limits, transport.Failure{Path: e.Path, Err: err})
		return nil
	case err != nil:
		return err
	}
	e.HasXattrs, e.Xattrs = true, all
	return nil
}

// xattrsAt is xattrs of a path that is not open. What may not be opened has none.
func (b *batch) xattrsAt(e *wire.Entry, p change.Path) error {
	if p == change.Root {
		return b.xattrs(e, int(b.Root.Fd()))
	}
	fd, st, err := b.looks.Open(p)
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if st.Mode&unix.S_IFMT != e.Attr.Type() {
		return errOther
	}
	return b.xattrs(e, fd)
}

// readXattrs costs one call for a file without any.
func readXattrs(fd int) ([]wire.Xattr, error) {
	list, err := sized(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if len(list) == 0 {
		return nil, err
	}
	var all []wire.Xattr
	total := 0
	for _, name := range bytes.Split(list, []byte{0}) {
		if !replicates(string(name)) {
			continue
		}
		x := wire.Xattr{Name: string(name)}
		x.Value, err = sized(func(b []byte) (int, error) { return unix.Fgetxattr(fd, x.Name, b) })
		if errors.Is(err, unix.ENODATA) {
			err = nil
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, x)
		total += len(x.Name) + len(x.Value)
		if total > xattrsMax || len(all) > wire.MaxXattrs {
			return nil, errXattrs
		}
	}
	return all, err
}

// sized reads something whose size the kernel tells when there is no room, and that may grow meanwhile.
func sized(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		b := make([]byte, size)
		size, err = read(b)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return b[:max(size, 0)], err
	}
}
