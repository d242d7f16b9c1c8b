// Package perm has the forms that permissions, owners and devices take beside the mode of a file: changes of modes as rsync's --chmod writes
// them, ACLs as Linux keeps them, and what rsync stores in extended attributes where it must not set the real ones (--fake-super). Both
// sides of the last step of the path of a change need them: who writes, and who compares.
package perm

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Chmod are changes of modes, done one after the other. The zero Chmod changes nothing.
type Chmod []Change

// Change is one of them: the bits of And stay, those of Or come.
type Change struct {
	And, Or uint16
	// Copy is the x of a class, owner, group or others, whose rights come (or with Less go) for the classes whose x To has, but for those outside of Within.
	Copy, To, Within uint16
	Less             bool
	// Kinds is what it is for.
	Kinds Kinds
	// KeepX: x comes for directories, and for files that had an x before all changes.
	KeepX bool
}

// Kinds are directories, all else, or both.
type Kinds uint8

const (
	All Kinds = iota
	Dirs
	Files
)

const (
	bits    = 0o7777
	anyX    = 0o111
	sticky  = 0o1000
	setUser = unix.S_ISUID
	setGrp  = unix.S_ISGID
)

// Apply is what becomes of a mode. A symlink keeps its own, which means nothing.
func (c Chmod) Apply(mode uint32) uint32 {
	kind := mode & unix.S_IFMT
	if kind == unix.S_IFLNK {
		return mode
	}
	dir, hadX := kind == unix.S_IFDIR, mode&anyX != 0
	for _, s := range c {
		if s.Kinds == Dirs && !dir || s.Kinds == Files && dir {
			continue
		}
		or := uint32(s.Or)
		if s.KeepX && !hadX && !dir {
			or &^= anyX
		}
		copied := s.copied(mode)
		mode = mode&(uint32(s.And)|unix.S_IFMT) | or
		if s.Less {
			mode &^= copied
		} else {
			mode |= copied
		}
	}
	return mode
}

// copied are the bits of a class as those of others.
func (c Change) copied(mode uint32) uint32 {
	rwx := uint32(0)
	for shift := 0; shift <= 6; shift += 3 {
		if c.Copy>>shift&1 != 0 {
			rwx |= mode >> shift & 7
		}
	}
	return uint32(c.To) * rwx & uint32(c.Within)
}

// ParseChmod reads changes that commas part: as those of chmod(1), or octal, with D in front for directories alone or F for all others.
// What names nobody is for all, but for the bits of umask.
func ParseChmod(text string, umask uint32) (Chmod, error) {
	var all Chmod
	for part := range strings.SplitSeq(text, ",") {
		c, err := parseChange(part, umask)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		all = append(all, c)
	}
	return all, nil
}

var errChmod = errors.New("write it as D755, u=rw or go-w")

func parseChange(part string, umask uint32) (Change, error) {
	var c Change
	who, at := uint32(0), uint32(0) // a bit of x for each class; setuid and setgid of those
	for i := 0; i < len(part); i++ {
		switch part[i] {
		case 'D', 'F':
			kinds := Dirs
			if part[i] == 'F' {
				kinds = Files
			}
			if c.Kinds != All && c.Kinds != kinds {
				return c, errors.New("it has D and F, which exclude each other")
			}
			c.Kinds = kinds
		case 'u':
			who, at = who|0o100, at|setUser
		case 'g':
			who, at = who|0o010, at|setGrp
		case 'o':
			who |= 0o001
		case 'a':
			who, at = who|anyX, at|setUser|setGrp
		case '+', '-', '=':
			return c, c.symbolic(part[i], part[i+1:], who, at, umask)
		default:
			if who != 0 {
				return c, errChmod
			}
			return c, c.octal(part[i:])
		}
	}
	return c, errChmod
}

// rights are what stands behind an operator.
type rights struct {
	rwx, special uint32
	copy         uint16
}

// parse reads them for those whose setuid and setgid are at.
func (r *rights) parse(what string, at uint32, keepX *bool) error {
	for i := range len(what) {
		switch c := what[i]; c {
		case 'r':
			r.rwx |= 4
		case 'w':
			r.rwx |= 2
		case 'x', 'X':
			*keepX = *keepX || c == 'X'
			r.rwx |= 1
		case 's':
			if at == 0 {
				r.special = setUser // as rsync does: a t in front of it is forgotten
			}
			r.special |= at
		case 't':
			r.special |= sticky
		case 'u', 'g', 'o':
			if len(what) > 1 {
				return errChmod
			}
			r.copy = map[byte]uint16{'u': 0o100, 'g': 0o010, 'o': 0o001}[c]
		default:
			return errChmod
		}
	}
	return nil
}

// symbolic is what stands behind the classes, of which there may be none.
func (c *Change) symbolic(operator byte, what string, classes, at, umask uint32) error {
	var r rights
	if err := r.parse(what, at, &c.KeepX); err != nil {
		return err
	}
	within := uint32(bits)
	if classes == 0 {
		classes, within = anyX, bits&^umask
	}
	set := classes*r.rwx&within | r.special
	c.And, c.Copy, c.To, c.Within = bits, r.copy, uint16(classes), uint16(within)
	switch operator {
	case '+':
		c.Or = uint16(set)
	case '-':
		c.And, c.Less = uint16(bits&^set), true
	case '=':
		gone := classes * 7
		if r.special != 0 {
			gone |= at
		}
		if r.copy != 0 {
			gone |= specialOf(classes)
		}
		c.And, c.Or = uint16(bits&^gone), uint16(set)
	}
	return nil
}

// specialOf are setuid, setgid and the sticky bit, one for each class.
func specialOf(classes uint32) uint32 {
	return classes>>6&1*setUser | classes>>3&1*setGrp | classes&1*sticky
}

func (c *Change) octal(digits string) error {
	n := uint32(0)
	for i := range len(digits) {
		d := digits[i]
		if d < '0' || d > '7' || n*8 > bits {
			return errChmod
		}
		n = n*8 + uint32(d-'0')
	}
	if digits == "" || n > bits {
		return errChmod
	}
	c.And, c.Or = 0, uint16(n)
	return nil
}
