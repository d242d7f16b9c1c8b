package filter

import (
	"errors"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// mountMatcher knows what lies below a mount point of the directory root.
type mountMatcher struct {
	named
	root string
}

// beyond reports whether the way from the root to the directory of p leads over a mount point. What is not there, or cannot be
// reached for another reason, is not beyond one.
func (m *mountMatcher) beyond(p change.Path) bool {
	dir := p.Parent()
	if dir == change.Root {
		return false
	}
	root, err := unix.Open(m.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, string(dir), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err == nil {
		unix.Close(fd)
	}
	return errors.Is(err, unix.EXDEV)
}
