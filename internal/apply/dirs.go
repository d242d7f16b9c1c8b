package apply

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/beneath"
	"sersync/internal/change"
)

const (
	// maxDirs bounds the descriptors that are kept.
	maxDirs = 128
	// fresh is how long a descriptor is taken for the directory of its path before the kernel is asked again: others may move or
	// replace the directory meanwhile. A file that is put in this time into one that was moved went with it. One that was removed is
	// noticed at once, as nothing can be made in it.
	fresh = time.Second
)

// dir is an open directory.
type dir struct {
	path  change.Path
	fd    int
	dev   uint64
	ino   uint64
	since time.Time
	// refs counts who uses it; place is nil once it is no longer kept. Both are guarded by the lock of dirs.
	refs  int
	place *list.Element
}

// removed reports whether the directory was removed.
func (d *dir) removed() bool {
	var st unix.Stat_t
	err := unix.Fstat(d.fd, &st)
	return errors.Is(err, unix.ESTALE) || err == nil && st.Nlink == 0
}

// dirs keeps the directories that were used last open. Opening costs as much as several operations in it.
type dirs struct {
	mu    sync.Mutex
	at    map[change.Path]*dir
	order list.List // the last used first
}

// openBeneath opens p beneath the root.
func (t *Tree) openBeneath(p change.Path, flags uint64) (int, error) {
	return beneath.Open(t.top.fd, p, flags)
}

// enter opens the directory p, or takes the one that is kept. The caller leaves it.
func (t *Tree) enter(p change.Path) (*dir, error) {
	if p == change.Root {
		return t.top, t.recoverDir(p, t.top.fd)
	}
	if d := t.dirs.get(p); d != nil {
		return d, nil
	}
	fd, err := t.openBeneath(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if errors.Is(err, unix.EACCES) {
		fd, err = t.openBeneath(p, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW) // it may be entered, not listed
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil {
		err = t.recoverDir(p, fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	d := &dir{path: p, fd: fd, dev: st.Dev, ino: st.Ino, since: time.Now(), refs: 1}
	t.dirs.put(d)
	return d, nil
}

// hold is one more use of d, which is in use.
func (k *dirs) hold(d *dir) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d.refs++
}

// forget notes that this path leads elsewhere now.
func (t *Tree) forget(p change.Path) {
	t.dirs.forget(p)
	t.recovery.forget(p)
}

func (t *Tree) leave(d *dir) {
	if d == t.top {
		return
	}
	t.dirs.mu.Lock()
	defer t.dirs.mu.Unlock()
	d.refs--
	if d.refs == 0 && d.place == nil {
		unix.Close(d.fd)
	}
}

// still reports whether the path of d, which is in use for long, leads to it yet.
func (t *Tree) still(d *dir) bool {
	if d == t.top || time.Since(d.since) <= fresh {
		return true
	}
	now, err := t.enter(d.path)
	if err != nil {
		return false
	}
	defer t.leave(now)
	return now.dev == d.dev && now.ino == d.ino
}

// within does something in the directory that holds p. When that turns out to have been removed, another may be in its place by
// now: then it is done there.
func (t *Tree) within(p change.Path, do func(d *dir, name string) error) error {
	if err := valid(p); err != nil {
		return err
	}
	if p == change.Root {
		return errRoot
	}
	parent := p.Parent()
	for tries := 0; ; tries++ {
		d, err := t.enter(parent)
		if err != nil {
			return err
		}
		err = do(d, p.Name())
		stale := tries == 0 && d != t.top && isAny(err, unix.ENOENT, unix.ESTALE) && d.removed()
		t.leave(d)
		if !stale {
			return err
		}
		t.forget(parent)
	}
}

func (k *dirs) get(p change.Path) *dir {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.at[p]
	if d == nil {
		return nil
	}
	if time.Since(d.since) > fresh {
		k.drop(d)
		return nil
	}
	d.refs++
	k.order.MoveToFront(d.place)
	return d
}

func (k *dirs) put(d *dir) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.at == nil {
		k.at = make(map[change.Path]*dir)
	}
	if other := k.at[d.path]; other != nil {
		k.drop(other)
	}
	if len(k.at) >= maxDirs {
		k.drop(k.order.Back().Value.(*dir))
	}
	k.at[d.path] = d
	d.place = k.order.PushFront(d)
}

// drop no longer keeps d, and closes it when nobody uses it. The caller holds the lock.
func (k *dirs) drop(d *dir) {
	k.order.Remove(d.place)
	delete(k.at, d.path)
	d.place = nil
	if d.refs == 0 {
		unix.Close(d.fd)
	}
}

// forget drops p and what is below it.
func (k *dirs) forget(p change.Path) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for path, d := range k.at {
		if path == p || path.Below(p) {
			k.drop(d)
		}
	}
}

func (k *dirs) clear() { k.forget(change.Root) }
