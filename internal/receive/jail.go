package receive

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// owning are the capabilities by which a process that is not root sets owners and modes. There is none for devices:
// one that a client may make is a way to every disk.
var owning = []uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID}

// lockInto makes dir the root of the calling thread, and of what it starts, which finds this program as ownProgram. Landlock alone
// would leave the attributes of all files of the machine to who may set them. The thread can never be freed again.
//
// The working directory is still outside, as the program is: what is started leaves it before it listens to anybody.
func (b *broker) lockInto(dir *os.File) error {
	for _, step := range []func() error{
		func() error { return unix.Unshare(unix.CLONE_FS) },
		func() error { return unix.Fchdir(int(dir.Fd())) },
		func() error { return unix.Chroot(".") },
		func() error { return unix.Fchdir(int(b.processes.Fd())) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("lock into directory %q: %w", dir.Name(), err)
		}
	}
	return nil
}

// ownProgram is this program, seen from /proc, by whatever name it has now.
const ownProgram = "self/exe"

// moveInto leaves the working directory that lockInto has left us in.
func moveInto(dir *os.File) error {
	if err := unix.Fchdir(int(dir.Fd())); err != nil {
		return fmt.Errorf("enter directory %q: %w", dir.Name(), err)
	}
	return nil
}

// hide keeps others of the same user from looking into this process, and from tracing it.
func hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide from other processes: %w", err)
	}
	return nil
}

// have are those of the wanted capabilities that this process can hand on.
func have(wanted ...uintptr) []uintptr {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData // the low 32, and the others
	if unix.Capget(&header, &caps[0]) != nil {
		return nil
	}
	var got []uintptr
	for _, which := range wanted {
		if caps[which/32].Effective&(1<<(which%32)) != 0 {
			got = append(got, which)
		}
	}
	return got
}

// emptyDir is a directory in which there is nothing and never will be: it has no name any more.
func emptyDir() (*os.File, error) {
	name, err := os.MkdirTemp("", "sersync-empty-")
	if err != nil {
		return nil, fmt.Errorf("make empty directory: %w", err)
	}
	err = os.Chmod(name, 0o555)
	dir, openErr := os.Open(name)
	if err = errors.Join(err, openErr, os.Remove(name)); err != nil {
		if dir != nil {
			dir.Close()
		}
		return nil, fmt.Errorf("make empty directory: %w", err)
	}
	return dir, nil
}

// detachedProc is a /proc that is mounted nowhere, so that no path leads out of it, with what a process can see of
// itself. It takes more than some containers allow.
func detachedProc() (*os.File, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open proc: %w", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{{"subset", "pid"}, {"hidepid", "ptraceable"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return nil, fmt.Errorf("configure proc: %w", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("make proc: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return nil, fmt.Errorf("mount proc: %w", err)
	}
	return os.NewFile(uintptr(fd), "proc"), nil
}
