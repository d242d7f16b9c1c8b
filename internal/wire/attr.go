package wire

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// Bounds of what a message may hold, in bytes or pieces.
const (
	// MaxPath bounds a path. The kernel's bound of a path in one call is PATH_MAX, 4096; deeper trees exist.
	MaxPath = 64 << 10
	// MaxLink bounds what a symlink holds (PATH_MAX).
	MaxLink = 4096
	// MaxName bounds a name in a directory (NAME_MAX).
	MaxName = 255
	// MaxText bounds what is written for people.
	MaxText = 4096
	// MaxInline bounds the content that goes with its entry.
	MaxInline = 64 << 10
	// MaxXattrs bounds the extended attributes of one path.
	MaxXattrs = 256
	maxXName  = 256
	maxXValue = 64 << 10
)

// Attr is what a path is like, as far as it goes over.
type Attr struct {
	// Mode holds the type and the permission bits as the kernel has them (S_IFMT and 07777).
	Mode     uint32
	UID, GID uint32
	// Rdev is that of a device node.
	Rdev uint64
	// Size is that of a regular file, in bytes.
	Size int64
	// Mtime is in nanoseconds since 1970.
	Mtime int64
	// Link is what a symlink holds.
	Link string
}

// AttrOf is what the kernel says; of a symlink what it holds is missing.
func AttrOf(st change.Stat) Attr {
	a := Attr{Mode: st.Mode, UID: st.UID, GID: st.GID, Mtime: st.Mtime}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		a.Size = st.Size
	case unix.S_IFBLK, unix.S_IFCHR:
		a.Rdev = st.Rdev
	}
	return a
}

// Type is that of the path, in the bits of S_IFMT.
func (a Attr) Type() uint32 { return a.Mode & unix.S_IFMT }

// IsDir reports whether it is a directory.
func (a Attr) IsDir() bool { return a.Type() == unix.S_IFDIR }

// IsRegular reports whether it is a regular file.
func (a Attr) IsRegular() bool { return a.Type() == unix.S_IFREG }

func (a Attr) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(a.Mode))
	b = binary.AppendUvarint(b, uint64(a.UID))
	b = binary.AppendUvarint(b, uint64(a.GID))
	b = binary.AppendVarint(b, a.Mtime)
	switch a.Type() {
	case unix.S_IFREG:
		b = binary.AppendUvarint(b, uint64(a.Size))
	case unix.S_IFLNK:
		b = appendText(b, a.Link)
	case unix.S_IFBLK, unix.S_IFCHR:
		b = binary.AppendUvarint(b, a.Rdev)
	}
	return b
}

func (d *decoder) attr() Attr {
	a := Attr{Mode: uint32(d.number(unix.S_IFMT | 0o7777)), UID: uint32(d.number(1<<32 - 1)), GID: uint32(d.number(1<<32 - 1)), Mtime: d.varint()}
	switch a.Type() {
	case unix.S_IFREG:
		a.Size = int64(d.number(1<<63 - 1))
	case unix.S_IFLNK:
		a.Link = string(d.text(MaxLink))
	case unix.S_IFBLK, unix.S_IFCHR:
		a.Rdev = d.uvarint()
	case unix.S_IFDIR, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		d.fail()
	}
	return a
}

// Xattr is one extended attribute.
type Xattr = transport.Xattr

func appendXattrs(b []byte, all []Xattr) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, x := range all {
		b = appendText(appendText(b, x.Name), x.Value)
	}
	return b
}

// xattrs are those of an entry.
func (d *decoder) xattrs() []Xattr {
	var all []Xattr
	for range d.number(MaxXattrs) {
		x := Xattr{Name: string(d.text(maxXName)), Value: bytes.Clone(d.text(maxXValue))}
		if d.bad {
			return nil
		}
		all = append(all, x)
	}
	return all
}

// day is that of a trash.
func (d *decoder) day() string {
	day := string(d.text(len(time.DateOnly)))
	if !transport.IsDay(day) {
		d.fail()
		return ""
	}
	return day
}

func (d *decoder) path() change.Path {
	p := change.Path(d.text(MaxPath))
	if !p.Valid() {
		d.fail()
		return ""
	}
	return p
}
