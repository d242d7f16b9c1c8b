package perm

import (
	"encoding/binary"
	"slices"
)

// Extended attributes that mean something to the kernel: ACLs, and what a program may without being run by root.
const (
	AccessACL  = "system.posix_acl_access"
	DefaultACL = "system.posix_acl_default"
	Capability = "security.capability"
)

// The form of an ACL on Linux: a version, then entries of a tag, permissions, and a user or group (linux/posix_acl_xattr.h).
const (
	aclVersion   = 2
	aclHeader    = 4
	aclEntrySize = 8

	tagUserObj  = 0x01
	tagUser     = 0x02
	tagGroupObj = 0x04
	tagGroup    = 0x08
	tagMask     = 0x10
	tagOther    = 0x20

	nobody = ^uint32(0)
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// parseACL is nil for what is none.
func parseACL(value string) []aclEntry {
	b := []byte(value)
	if len(b) < aclHeader || (len(b)-aclHeader)%aclEntrySize != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil
	}
	var all []aclEntry
	for b = b[aclHeader:]; len(b) > 0; b = b[aclEntrySize:] {
		all = append(all, aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return all
}

func formatACL(all []aclEntry) string {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range all {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return string(b)
}

// BareXattr is an extended attribute without what the mode of the file says as well: of an ACL, what the owner, the mask and all others may. The mode is
// set after it, and these follow it.
func BareXattr(name, value string) string {
	if name != AccessACL {
		return value
	}
	all := parseACL(value)
	if all == nil {
		return value
	}
	masked := slices.ContainsFunc(all, func(e aclEntry) bool { return e.tag == tagMask })
	for i := range all {
		switch e := &all[i]; e.tag {
		case tagUserObj, tagMask, tagOther:
			e.perm = 0
		case tagGroupObj:
			if !masked {
				e.perm = 0
			}
		}
	}
	return formatACL(all)
}
