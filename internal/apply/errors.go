package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

var (
	// ErrInTheWay: something is in the place that must not be removed for this.
	ErrInTheWay = errors.New("something else is in the way")
	// ErrContent: Put of a regular file that has to be made anew by Create; or another size was written than it is to have.
	ErrContent = errors.New("the content is not all there")
	// ErrDevices, ErrSetID: the Options forbid it.
	ErrDevices = errors.New("device nodes are not allowed here")
	ErrSetID   = errors.New("setuid, setgid and capabilities are not kept here")
	// ErrTrash: what goes cannot be moved to the trash, and stays.
	ErrTrash = errors.New("the trash cannot be used")
	// ErrFake: it has the name under which FakeSuper stores other things.
	ErrFake = errors.New("the name is for what fake super stores")
	// ErrRootGone: the root was removed.
	ErrRootGone = errors.New("target root is gone")

	errBusy     = errors.New("it keeps changing")
	errNoPath   = errors.New("not a path below a root")
	errReserved = errors.New("the name is for temporary files of sersync")
	errRoot     = errors.New("this cannot be done to the root")
	// errElsewhere: nothing is copied to the trash.
	errElsewhere = errors.New("it is on another file system than the trash, and stays: make that a target of its own, or do without a trash")
)

// Kind is what an error means for whoever decides about the next try.
type Kind uint8

const (
	// Broken is any failure that no other kind names. Trying again may help.
	Broken Kind = iota
	// Full: no space or no quota left.
	Full
	// ReadOnly: the file system cannot be written.
	ReadOnly
	// Forbidden: we may not.
	Forbidden
	// InTheWay is ErrInTheWay, or something mounted.
	InTheWay
	// NoParent: the directory above is missing or none.
	NoParent
	// RootGone is ErrRootGone, or a handle that its server no longer knows.
	RootGone
	// NoTrash is ErrTrash.
	NoTrash
	// Never: the name, the path or the type cannot be put here.
	Never
)

// KindOf says what an error of this package means.
func KindOf(err error) Kind {
	for _, k := range []struct {
		kind Kind
		errs []error
	}{
		{RootGone, []error{ErrRootGone, unix.ESTALE}},
		{Full, []error{unix.ENOSPC, unix.EDQUOT}},
		{ReadOnly, []error{unix.EROFS}},
		{NoTrash, []error{ErrTrash}},
		{InTheWay, []error{ErrInTheWay, unix.EBUSY}},
		{NoParent, []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP}},
		{Never, []error{errNoPath, errReserved, errRoot, errElsewhere, ErrDevices, unix.ENAMETOOLONG, unix.EILSEQ, unix.EFBIG}},
		{Forbidden, []error{unix.EPERM, unix.EACCES}},
	} {
		for _, e := range k.errs {
			if errors.Is(err, e) {
				return k.kind
			}
		}
	}
	return Broken
}

// fail names what failed. A missing directory may be the root itself.
func (t *Tree) fail(what string, p change.Path, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		if t.top.removed() {
			err = fmt.Errorf("%w: %w", ErrRootGone, err)
		}
	}
	return fmt.Errorf("%s %q: %w", what, string(p), err)
}

// notThere: the path does not lead anywhere: a part of it is missing, no directory, or a symlink.
func notThere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// isAny reports whether err is one of errs.
func isAny(err error, errs ...error) bool {
	for _, e := range errs {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
