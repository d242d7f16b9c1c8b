package fanotify

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/watch/mounts"
)

// pathsMax bounds the directories whose paths are known.
const pathsMax = 1 << 14

// paths keep what handles were resolved to, in two generations: when the young one is full it becomes the old one, and what is
// used moves back. A directory that is outside has no path.
//
// They are right as long as no directory in the tree was renamed and nothing was mounted since: then all are
// forgotten. The handle of a directory that was removed is never given again; what is kept of it falls out in time.
type paths struct {
	max        int
	young, old map[string][]change.Path
}

func newPaths(max int) paths {
	return paths{max: max / 2, young: map[string][]change.Path{}}
}

func (c *paths) clear() {
	clear(c.young)
	c.old = nil
}

func (c *paths) get(key []byte) ([]change.Path, bool) {
	at, ok := c.young[string(key)]
	if ok {
		return at, true
	}
	if at, ok = c.old[string(key)]; ok {
		c.put(key, at)
	}
	return at, ok
}

func (c *paths) put(key []byte, at []change.Path) {
	if len(c.young) >= c.max {
		c.young, c.old = make(map[string][]change.Path), c.young
	}
	c.young[string(key)] = at
}

// dirs are the paths at which the directory of an event is now. None, for sure: it is outside, or gone.
func (w *Watcher) dirs(e event) (all []change.Path, sure bool) {
	if at, ok := w.known.get(e.key); ok {
		return at, true
	}
	sys := w.systems[e.system]
	if sys == nil {
		return nil, true // unmounted
	}
	sure = true
	for at, m := range sys.mounts {
		p, lasts, ok := w.dir(at, m, e.handle())
		sure = sure && lasts
		if ok && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	if sure {
		w.known.put(e.key, all)
	}
	return all, sure
}

// dir is where the directory of a handle is, as it is seen on one mount. What does not last is not to be kept.
func (w *Watcher) dir(at mounts.Place, m *mount, h unix.FileHandle) (p change.Path, lasts, ok bool) {
	fd, err := w.open(at, m, h)
	switch {
	case errors.Is(err, errMoved):
		return "", false, false
	case errors.Is(err, unix.ESTALE):
		return "", true, false
	}
	if err == nil {
		defer unix.Close(fd)
		var to location
		if to, err = w.locate(fd); err == nil {
			return to.path, to.lasts, to.inside
		}
	}
	w.unsure = true
	return "", false, false
}

// errMoved: a mount has moved or gone. Whoever finds it again covers it, and looks then.
var errMoved = errors.New("the mount is not where it was")

// open opens what a handle leads to, as it is seen on one mount. ESTALE says that it is gone. The caller closes it.
func (w *Watcher) open(at mounts.Place, m *mount, h unix.FileHandle) (int, error) {
	from := int(w.root.File().Fd())
	if m.top != change.Root {
		fd, err := w.anchor(at, m)
		if err != nil {
			return -1, errMoved
		}
		defer unix.Close(fd)
		from = fd
	}
	return unix.OpenByHandleAt(from, h, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)
}

// location is where an open directory is.
type location struct {
	path change.Path
	// inside: path leads to it.
	inside bool
	// lasts: it stays true until a directory is renamed.
	lasts bool
}

// locate finds the directory that is open as fd. Its name is what the kernel makes of it, which may be a name of something else,
// when it cannot be reached on its mount, or is removed, or something is mounted above: so a look has to find it there.
func (w *Watcher) locate(fd int) (location, error) {
	root, err := readlink(int(w.root.File().Fd()))
	if err != nil {
		return location{}, err
	}
	name, err := readlink(fd)
	if err != nil {
		return location{}, err
	}
	rel, below := cutRoot(name, root)
	if !below {
		// Only a rename of the root itself between the two could make this wrong.
		again, err := readlink(int(w.root.File().Fd()))
		return location{lasts: err == nil && again == root}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return location{}, err
	}
	there, err := w.leads(rel, change.StatOf(&st))
	if err != nil {
		return location{}, err
	}
	return location{path: rel, inside: there, lasts: there}, nil
}

// cutRoot is the path of name below the root.
func cutRoot(name, root string) (change.Path, bool) {
	if name == root {
		return change.Root, true
	}
	rel, below := strings.CutPrefix(name, strings.TrimSuffix(root, "/")+"/")
	p := change.Path(rel)
	return p, below && p.Valid()
}

// readlink is the path of what is open as fd.
func readlink(fd int) (string, error) {
	buf := make([]byte, 512)
	for {
		n, err := unix.Readlink(procName(fd), buf)
		if err != nil {
			return "", handleError(err)
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		buf = make([]byte, 8*len(buf))
	}
}
