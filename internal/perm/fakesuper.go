package perm

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Where an rsync with --fake-super keeps what it does not set (xattrs.c and acls.c there).
const (
	// FakeName is the attribute of a Fake.
	FakeName = "user.rsync.%stat"

	fakePrefix  = "user.rsync."
	fakeAccess  = "user.rsync.%aacl"
	fakeDefault = "user.rsync.%dacl"
)

// Fake is what a file stands for.
type Fake struct {
	// Mode holds type and permissions (S_IFMT and 07777).
	Mode     uint32
	Rdev     uint64
	UID, GID uint32
}

// String is the value of FakeName.
func (f Fake) String() string {
	return fmt.Sprintf("%o %d,%d %d:%d", f.Mode, unix.Major(f.Rdev), unix.Minor(f.Rdev), f.UID, f.GID)
}

// ParseFake reads the value of FakeName.
func ParseFake(value string) (f Fake, ok bool) {
	fields := strings.FieldsFunc(value, func(c rune) bool { return c == ' ' || c == ',' || c == ':' })
	if len(fields) != 5 {
		return f, false
	}
	var n [5]uint32
	for i, field := range fields {
		base := 10
		if i == 0 {
			base = 8
		}
		v, err := strconv.ParseUint(field, base, 32)
		if err != nil {
			return f, false
		}
		n[i] = uint32(v)
	}
	f = Fake{Mode: n[0], UID: n[3], GID: n[4]}
	if kind := f.Mode & unix.S_IFMT; kind == unix.S_IFBLK || kind == unix.S_IFCHR {
		f.Rdev = unix.Mkdev(n[1], n[2])
	}
	return f, f.Mode&^(unix.S_IFMT|bits) == 0
}

// Real is the mode of the file that stands for another one: of its type, and always for its owner to use.
func (f Fake) Real(kind uint32) uint32 {
	if kind == unix.S_IFDIR {
		return kind | f.Mode&0o777 | 0o700
	}
	return kind | f.Mode&0o777 | 0o600
}

// Faked reports whether the name of an extended attribute is for what FakeXattr makes of others.
func Faked(name string) bool { return strings.HasPrefix(name, fakePrefix) }

// FakeXattr is the form in which an extended attribute is kept beside a mode; ok is false for one that is rsync's own.
func FakeXattr(name, value string, mode uint32) (keptName, kept string, ok bool) {
	switch {
	case name == AccessACL:
		kept, ok = fakeACL(value, mode>>3&7)
		return fakeAccess, kept, ok
	case name == DefaultACL:
		kept, ok = fakeACL(value, absent)
		return fakeDefault, kept, ok
	case Faked(name):
		return "", "", false
	case strings.HasPrefix(name, "user."):
		return name, value, true
	}
	return fakePrefix + name, value, true
}

// RealXattr is what FakeXattr kept.
func RealXattr(keptName, kept string, mode uint32) (name, value string, ok bool) {
	switch keptName {
	case FakeName:
		return "", "", false
	case fakeAccess:
		value, ok = realACL(kept, mode)
		return AccessACL, value, ok
	case fakeDefault:
		value, ok = realACL(kept, mode)
		return DefaultACL, value, ok
	}
	if other, ours := strings.CutPrefix(keptName, fakePrefix); ours {
		return other, kept, !strings.HasPrefix(other, "%")
	}
	return keptName, kept, true
}

// The form of rsync: owner, group, mask and others, and then for each name who and what. absent is what is not there, or is as the mode says.
const (
	absent     = 0x80
	nameIsUser = 1 << 31
	fakeHead   = 16
	fakeSize   = 8
)

// fakeACL turns an ACL to rsync's form. group is what the mode says of the group, which is the mask of an ACL that has one; absent for the ACL of what will
// be made in a directory, of which no mode says anything.
func fakeACL(value string, group uint32) (string, bool) {
	all := parseACL(value)
	if all == nil {
		return "", false
	}
	head := [4]uint32{absent, absent, absent, absent}
	var names []byte
	for _, e := range all {
		perm := uint32(e.perm)
		switch e.tag {
		case tagUserObj:
			head[0] = perm
		case tagGroupObj:
			head[1] = perm
		case tagMask:
			head[2] = perm
		case tagOther:
			head[3] = perm
		case tagUser, tagGroup:
			if e.tag == tagUser {
				perm |= nameIsUser
			}
			names = binary.LittleEndian.AppendUint32(names, e.id)
			names = binary.LittleEndian.AppendUint32(names, perm)
		}
	}
	if group != absent {
		head[0], head[3] = absent, absent
		if head[2] == absent || head[1] == group {
			head[1] = absent
		}
		if head[2] != absent {
			head[2] = group
		}
	}
	var b []byte
	for _, n := range head {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return string(append(b, names...)), true
}

// realACL turns rsync's form to that of Linux.
func realACL(kept string, mode uint32) (string, bool) {
	b := []byte(kept)
	if len(b) < fakeHead || (len(b)-fakeHead)%fakeSize != 0 {
		return "", false
	}
	var all []aclEntry
	for i, tag := range []uint16{tagUserObj, tagGroupObj, tagMask, tagOther} {
		perm := binary.LittleEndian.Uint32(b[4*i:])
		if perm == absent {
			if tag == tagMask {
				continue
			}
			perm = mode >> map[uint16]int{tagUserObj: 6, tagGroupObj: 3, tagOther: 0}[tag]
		}
		all = append(all, aclEntry{tag, uint16(perm & 7), nobody})
	}
	for b = b[fakeHead:]; len(b) > 0; b = b[fakeSize:] {
		id, perm := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		tag := uint16(tagGroup)
		if perm&nameIsUser != 0 {
			tag = tagUser
		}
		all = append(all, aclEntry{tag, uint16(perm & 7), id})
	}
	// The kernel has them in this order.
	slices.SortStableFunc(all, func(x, y aclEntry) int {
		if x.tag != y.tag {
			return int(x.tag) - int(y.tag)
		}
		return int(int64(x.id) - int64(y.id))
	})
	return formatACL(all), true
}
