package apply

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
)

const (
	// What may wait for a Sync: past a bound one is done at once.
	maxWaiting      = 8192
	maxWaitingBytes = 256 << 20
)

// waiting are the temporary names that go after the next Sync, by directory: old versions of what was replaced, and second names of
// what is new. It also knows which file systems were changed besides that of the root.
type waiting struct {
	syncing sync.Mutex // one Sync at a time
	// moving is held while something gets another name, and for reading while names go from a directory: they are found by its path.
	moving sync.RWMutex
	mu     sync.Mutex
	names  map[change.Path][]string
	// going are those that the present Sync removes.
	going  map[change.Path][]string
	mounts map[uint64]change.Path
	count  int
	bytes  int64
}

// wait has a temporary name removed by the next Sync. bytes is what it keeps on the disk.
func (t *Tree) wait(d *dir, tmp string, bytes int64) error {
	w := &t.waiting
	w.add(d.path, []string{tmp})
	w.mu.Lock()
	w.count++
	w.bytes += bytes
	w.mu.Unlock()
	if !w.full() {
		return nil
	}
	w.syncing.Lock()
	defer w.syncing.Unlock()
	if !w.full() {
		return nil
	}
	return t.sync()
}

func (w *waiting) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count > maxWaiting || w.bytes > maxWaitingBytes
}

// touch notes that something was changed in d.
func (t *Tree) touch(d *dir) {
	if d.dev == t.top.dev {
		return
	}
	w := &t.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mounts == nil {
		w.mounts = make(map[uint64]change.Path)
	}
	w.mounts[d.dev] = d.path
}

// has reports whether anything waits, for p or for anybody.
func (w *waiting) has(p change.Path) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == change.Root {
		return w.count > 0 || len(w.going) > 0
	}
	return holds(w.names, p) || holds(w.going, p)
}

// goes reports whether the present Sync removes what waits for p.
func (w *waiting) goes(p change.Path) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return holds(w.going, p)
}

func holds(all map[change.Path][]string, p change.Path) bool {
	prefix := filter.TempPrefix + hash(p.Name())
	return slices.ContainsFunc(all[p.Parent()], func(tmp string) bool { return strings.HasPrefix(tmp, prefix) })
}

// take takes out what waits for a file, add puts names back.
func (w *waiting) take(p change.Path) (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.names[p.Parent()]
	if len(all) == 0 {
		return nil
	}
	prefix := filter.TempPrefix + hash(p.Name())
	w.names[p.Parent()] = slices.DeleteFunc(all, func(tmp string) bool {
		mine := strings.HasPrefix(tmp, prefix)
		if mine {
			names = append(names, tmp)
		}
		return mine
	})
	return names
}

func (w *waiting) add(at change.Path, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names == nil {
		w.names = make(map[change.Path][]string)
	}
	w.names[at] = append(w.names[at], names...)
}

// moved follows a directory that was renamed.
func (w *waiting) moved(from, to change.Path) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, all := range []map[change.Path][]string{w.names, w.going} {
		for path, names := range all {
			if path == from || path.Below(from) {
				delete(all, path)
				at := to + path[len(from):]
				all[at] = append(all[at], names...)
			}
		}
	}
}

// next takes the names of one directory of those that go.
func (w *waiting) next() (at change.Path, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, names = range w.going {
		delete(w.going, at)
		return at, names
	}
	return "", nil
}

// Sync makes durable what was done before it was called. When it has returned nil, a loss of power takes nothing of that back.
func (t *Tree) Sync() error {
	t.waiting.syncing.Lock()
	defer t.waiting.syncing.Unlock()
	return t.sync()
}

// sync also makes the removal of the temporary names durable: one that was found after a loss of power would have Recover take
// back what was synced.
func (t *Tree) sync() error {
	w := &t.waiting
	w.moving.RLock()
	w.mu.Lock()
	mounts, count, bytes := w.mounts, w.count, w.bytes
	w.going, w.names, w.mounts, w.count, w.bytes = w.names, nil, nil, 0, 0
	some := len(w.going) > 0
	w.mu.Unlock()
	w.moving.RUnlock()
	err := t.syncAll(mounts)
	if err == nil && some {
		err = errors.Join(t.reapAll(), t.syncAll(mounts))
	}
	if err == nil {
		return nil
	}
	for at, names := w.next(); names != nil; at, names = w.next() {
		w.add(at, names)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for dev, path := range mounts {
		if w.mounts == nil {
			w.mounts = make(map[uint64]change.Path)
		}
		w.mounts[dev] = path
	}
	w.count += count
	w.bytes += bytes
	return fmt.Errorf("sync target %q: %w", t.name, err)
}

// reapAll removes the names that go. Those that do not wait for the next Sync.
func (t *Tree) reapAll() error {
	w := &t.waiting
	var failed []error
	for {
		w.moving.RLock()
		at, names := w.next()
		err := error(nil)
		if names != nil {
			err = t.reap(at, names)
		}
		if err != nil {
			w.add(at, names)
			failed = append(failed, err)
		}
		w.moving.RUnlock()
		if names == nil {
			return errors.Join(failed...)
		}
	}
}

func (t *Tree) syncAll(mounts map[uint64]change.Path) error {
	err := unix.Syncfs(t.top.fd)
	for dev, path := range mounts {
		d, e := t.enter(path)
		if e != nil {
			continue // it was unmounted, which syncs, or removed
		}
		if d.dev == dev {
			err = errors.Join(err, unix.Syncfs(d.fd))
		}
		t.leave(d)
	}
	return err
}

// reap removes temporary names from a directory, whose time stays.
func (t *Tree) reap(at change.Path, names []string) error {
	d, err := t.enter(at)
	if notThere(err) {
		return nil // the directory went, and they with it
	}
	if err != nil {
		return err
	}
	defer t.leave(d)
	return t.reapIn(d, names)
}

func (t *Tree) reapIn(d *dir, names []string) error {
	t.times.Lock()
	defer t.times.Unlock()
	var before unix.Stat_t
	if err := unix.Fstat(d.fd, &before); err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Unlinkat(d.fd, name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = t.reapDir(d, name)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	_ = node{fd: d.fd}.setMtime(before.Mtim.Nano()) // it may belong to another; then it was not set before either
	return nil
}

// reapDir takes the name away first, so that no Recover goes back to half a directory.
func (t *Tree) reapDir(d *dir, name string) error {
	other := t.temp(name)
	if err := unix.Renameat(d.fd, name, d.fd, other); err != nil {
		return err
	}
	return removeTree(d.fd, other)
}

// room makes some after ENOSPC: what waits holds space. It reports whether trying again may help.
func (t *Tree) room(err error) bool {
	return isAny(err, unix.ENOSPC, unix.EDQUOT) && t.waiting.has(change.Root) && t.Sync() == nil
}
