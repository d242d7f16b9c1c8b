package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Check reports whether the name of the root still leads to the directory that is open: ErrRootGone, or another error when that
// cannot be known. Whoever renames the directory, or mounts something over it, has another one in its place, to which nothing of this Tree goes.
func (t *Tree) Check() error {
	if t.o.Moved != nil && t.o.Moved() {
		return fmt.Errorf("%w: it was renamed or removed", ErrRootGone)
	}
	var here, there unix.Stat_t
	if err := unix.Fstat(t.top.fd, &here); err != nil {
		return fmt.Errorf("look at target root %q: %w", t.name, err)
	}
	err := unix.Stat(t.name, &there)
	switch {
	case notThere(err):
		return fmt.Errorf("look at target root %q: %w: %w", t.name, ErrRootGone, err)
	case errors.Is(err, unix.EACCES):
		return nil // it was opened by somebody who may see more
	case err != nil:
		return fmt.Errorf("look at target root %q: %w", t.name, err)
	case here.Dev != there.Dev || here.Ino != there.Ino:
		return fmt.Errorf("%w: another directory is at %q", ErrRootGone, t.name)
	}
	return nil
}

// Identity tells the root from another directory that has its name some other time, also after the machine was started anew.
func (t *Tree) Identity() string {
	var st unix.Stat_t
	if err := unix.Fstat(t.top.fd, &st); err != nil {
		return ""
	}
	return fmt.Sprintf("%d-%d", st.Ino, born(t.top.fd, ""))
}
