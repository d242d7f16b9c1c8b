// Package confine locks threads, and what they start, into a few directories by landlock. It is no step of the
// path of one change: the rsync of a target and the processes of the receiver are started in it.
package confine

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a rule may allow. Landlock knows more rights with each ABI; those of a later one than the kernel's
// are not asked for.
const (
	Read  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	Run   = Read | unix.LANDLOCK_ACCESS_FS_EXECUTE
	Write = Read | accessABI3&^unix.LANDLOCK_ACCESS_FS_EXECUTE

	// accessFile are the rights that mean something for a file; a rule on a file may have no others.
	accessFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	accessABI1 = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
	accessABI2 = accessABI1 | unix.LANDLOCK_ACCESS_FS_REFER
	accessABI3 = accessABI2 | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	accessABI5 = accessABI3 | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// A Rule allows access to a file, or to a directory and all below it.
type Rule struct {
	Path   string
	Access uint64
	// Dir, when not nil, is what is meant, whatever its name is by now.
	Dir *os.File
}

// Enter confines the calling thread, and what it starts, to the rules. What a rule names may
// be missing, then it allows nothing. The thread can never be freed again.
//
// Landlock does not hide names and attributes: lstat and readlink work everywhere, and so do chmod, chown and the
// like for whom the mode of a file lets.
func Enter(rules []Rule) error { return enter(rules, unix.LandlockRulesetAttr{}) }

// EnterAlone is Enter for what talks to nobody but over the descriptors it has: it can open no TCP connection and
// listen nowhere, and reach by signal or abstract socket nobody outside. A kernel that knows less keeps it from less.
func EnterAlone(rules []Rule) error {
	return enter(rules, unix.LandlockRulesetAttr{
		Handled_access_net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP,
		Scoped:             unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL,
	})
}

func enter(rules []Rule, attr unix.LandlockRulesetAttr) error {
	abi, err := ABI()
	if err != nil {
		return err
	}
	handled := handledBy(abi)
	attr.Handled_access_fs = handled
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), known(abi), 0)
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

// ABI is the version of landlock that the kernel has; an error says that it has none, or has it switched off.
func ABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, fmt.Errorf("probe landlock: %w", errno)
	}
	return int(abi), nil
}

// known is how much of the attributes the kernel knows, in bytes: a field that is not zero and not known is refused.
func known(abi int) uintptr {
	var attr unix.LandlockRulesetAttr
	switch {
	case abi >= 6:
		return unsafe.Offsetof(attr.Quiet_access_fs)
	case abi >= 4:
		return unsafe.Offsetof(attr.Scoped)
	}
	return unsafe.Offsetof(attr.Handled_access_net)
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

func (r Rule) add(ruleset int, handled uint64) error {
	fd := -1
	if r.Dir != nil {
		fd = int(r.Dir.Fd())
	} else {
		var err error
		fd, err = unix.Open(r.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil // a file that is not there needs no rule
		}
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %q: %w", r.Path, err)
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: r.Access & handled, Parent_fd: int32(fd)}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		attr.Allowed_access &= accessFile
	}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("allow %q: %w", r.Path, errno)
	}
	return nil
}
