// Package beneath opens paths below a directory that is open, and nothing else: it follows no symlink and never leaves the directory, whoever renames
// what meanwhile. The source is looked at by it, and the target is written by it.
package beneath

import (
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Open opens p below the directory root, with the flags of open(2) and O_CLOEXEC. The caller closes the descriptor. A path of any length
// can be opened: one that is longer than the kernel takes in one call (PATH_MAX) is opened in steps.
func Open(root int, p change.Path, flags uint64) (int, error) {
	name := string(p)
	if p == change.Root {
		name = "."
	}
	at := root
	for len(name) >= unix.PathMax {
		i := strings.LastIndexByte(name[:unix.PathMax], '/')
		if i < 0 {
			break // the kernel says so
		}
		next, err := open(at, name[:i], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if at != root {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at, name = next, name[i+1:]
	}
	fd, err := open(at, name, flags)
	if at != root {
		unix.Close(at)
	}
	return fd, err
}

func open(dir int, name string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(dir, name, &how)
		// EAGAIN: a rename elsewhere raced with the kernel's check that we stay beneath.
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		return fd, err
	}
}
