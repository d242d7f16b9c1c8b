package rsync

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a rule may allow. Landlock knows more rights with each ABI; those of a later one than the kernel's
// are not asked for.
const (
	accessRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	accessRun   = accessRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	accessWrite = accessRead | accessABI3&^unix.LANDLOCK_ACCESS_FS_EXECUTE
	// accessFile are the rights that mean something for a file; a rule on a file may have no others.
	accessFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	accessABI1 = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
	accessABI2 = accessABI1 | unix.LANDLOCK_ACCESS_FS_REFER
	accessABI3 = accessABI2 | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	accessABI5 = accessABI3 | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// A rule allows access to a file, or to a directory and all below it.
type rule struct {
	path   string
	access uint64
	// dir, when not nil, is what is meant, whatever its name is by now.
	dir *os.File
}

// restrict confines the calling thread, and what it starts, to the rules. What a rule names may
// be missing, then it allows nothing. The thread can never be freed again.
func restrict(rules []rule) error {
	abi, err := LandlockABI()
	if err != nil {
		return err
	}
	handled := handledBy(abi)
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	// The newest kernels know more fields than the first of them; all others are zero and need not be given.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return fmt.Errorf("create landlock ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	for _, r := range rules {
		if err := r.add(int(fd), handled); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no new privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("enter landlock ruleset: %w", errno)
	}
	return nil
}

// LandlockABI is the version of landlock that the kernel has; an error says that it has none, or has it switched off.
func LandlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, fmt.Errorf("probe landlock: %w", errno)
	}
	return int(abi), nil
}

func handledBy(abi int) uint64 {
	switch {
	case abi >= 5:
		return accessABI5
	case abi >= 3:
		return accessABI3
	case abi == 2:
		return accessABI2
	}
	return accessABI1
}

func (r rule) add(ruleset int, handled uint64) error {
	fd := -1
	if r.dir != nil {
		fd = int(r.dir.Fd())
	} else {
		var err error
		fd, err = unix.Open(r.path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil // a file that is not there needs no rule
		}
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %q: %w", r.path, err)
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: r.access & handled, Parent_fd: int32(fd)}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		attr.Allowed_access &= accessFile
	}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("allow %q: %w", r.path, errno)
	}
	return nil
}
