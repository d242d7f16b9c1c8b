package scan

import (
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// looksOpen is how many directories Looks keeps open.
const looksOpen = 256

// Looks looks at many paths in a short time. It keeps the directories open between the looks, so that one costs one
// system call and not three. A look sees what was there between the first look and now: whatever
// changed since is an event still to come. It is for one goroutine.
type Looks struct {
	root *Root
	dirs map[change.Path]int
	// since is when the first of them was opened, reads is that of the Observer then.
	since time.Time
	reads uint64
}

// Looks begins looks at many paths. They end with Close.
func (r *Root) Looks() *Looks {
	return &Looks{root: r, dirs: map[change.Path]int{}}
}

// Close lets go of the directories.
func (l *Looks) Close() {
	for _, fd := range l.dirs {
		unix.Close(fd)
	}
	clear(l.dirs)
}

// Look is that of the root. What seems absent is looked at anew from the root.
func (l *Looks) Look(p change.Path) (Seen, error) {
	if p == change.Root {
		return l.root.Look(p)
	}
	fd, err := l.dir(p.Parent())
	if err == nil {
		var st unix.Stat_t
		if err = unix.Fstatat(fd, p.Name(), &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			return Seen{At: p, Stat: change.StatOf(&st)}, nil
		}
	}
	return l.root.Look(p)
}

// Open opens the regular file p for reading, and says what it is. The caller closes the descriptor.
func (l *Looks) Open(p change.Path) (int, change.Stat, error) {
	fd, err := l.OpenUnseen(p)
	if err != nil {
		return -1, change.Stat{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, change.Stat{}, err
	}
	return fd, change.StatOf(&st), nil
}

// OpenUnseen is Open for who finds out by himself what it is.
func (l *Looks) OpenUnseen(p change.Path) (int, error) {
	dir, err := l.dir(p.Parent())
	if err != nil {
		return -1, err
	}
	// A pipe that came in its place is not waited for.
	return unix.Openat(dir, p.Name(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// linkMax is as long as what a symlink holds can be (PATH_MAX).
const linkMax = 4096

// Readlink is what the symlink p holds.
func (l *Looks) Readlink(p change.Path) (string, error) {
	dir, err := l.dir(p.Parent())
	if err != nil {
		return "", err
	}
	buf := make([]byte, linkMax)
	n, err := unix.Readlinkat(dir, p.Name(), buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// directory is what the directory p is, or an error.
func (l *Looks) directory(p change.Path) (change.Stat, error) {
	fd, err := l.dir(p)
	if err != nil {
		return change.Stat{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return change.Stat{}, err
	}
	return change.StatOf(&st), nil
}

func (l *Looks) dir(p change.Path) (int, error) {
	if fd, ok := l.dirs[p]; ok {
		return fd, nil
	}
	if len(l.dirs) >= looksOpen {
		l.Close()
	}
	fd, err := l.root.open(p, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err == nil {
		if len(l.dirs) == 0 {
			l.since = time.Now()
		}
		l.dirs[p] = fd
	}
	return fd, err
}
