package apply

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"sersync/internal/change"
	"sersync/internal/filter"
)

const (
	// What may wait for a Sync: past a bound one is done at once, and what is to be put waits for that. Past half of it the tree is Crowded.
	maxWaiting      = 32 << 10
	maxWaitingBytes = 512 << 20
	// reapMax is how many names are removed from a directory at a time: whoever sets its time waits for that.
	reapMax = 64
)

// waiting are the temporary names that go after the next Sync, by directory: old versions of what was replaced, and second names of
// what is new. It also knows which file systems were changed besides that of the root.
type waiting struct {
	syncing sync.Mutex // one Sync at a time
	// failed is why a Sync failed of which nobody was told that waits for one: the kernel tells each failure once. Guarded by syncing.
	failed error
	// moving is held for reading while names follow a rename, and while Recover finds some: a Sync takes or removes none then.
	moving sync.RWMutex
	mu     sync.Mutex
	names  map[change.Path][]string
	// going are those that the Sync that runs removes, freeing that it has any and is not over.
	going   map[change.Path][]string
	freeing bool
	mounts  map[uint64]change.Path
	count   int // of names
	bytes   int64
	// freed counts the Syncs that removed something.
	freed uint64
}

// wait has a temporary name removed by the next Sync. bytes is what it keeps on the disk.
func (t *Tree) wait(d *dir, tmp string, bytes int64) {
	w := &t.waiting
	w.add(d.path, []string{tmp})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += bytes
}

func (w *waiting) full() bool { return w.beyond(maxWaiting, maxWaitingBytes) }

func (w *waiting) beyond(names int, bytes int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count > names || w.bytes > bytes
}

// Crowded reports whether so much waits for a Sync that one should be done, beside all else, before somebody has to wait for it.
func (t *Tree) Crowded() bool { return t.waiting.beyond(maxWaiting/2, maxWaitingBytes/2) }

// touch notes that something was changed in d. It is done after the change: a Sync that came between would forget it.
func (t *Tree) touch(d *dir) {
	if d.dev == t.top.dev {
		return
	}
	t.waiting.mu.Lock()
	defer t.waiting.mu.Unlock()
	t.waiting.changed(d.dev, d.path)
}

// changed is called with the lock.
func (w *waiting) changed(dev uint64, at change.Path) {
	if w.mounts == nil {
		w.mounts = make(map[uint64]change.Path)
	}
	w.mounts[dev] = at
}

// has reports whether anything waits, for p or for anybody.
func (w *waiting) has(p change.Path) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == change.Root {
		return w.count > 0 || w.freeing
	}
	mine := isFor(p)
	return slices.ContainsFunc(w.names[p.Parent()], mine) || slices.ContainsFunc(w.going[p.Parent()], mine)
}

// of are the temporary names that wait for p.
func (w *waiting) of(p change.Path) (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := isFor(p)
	for _, all := range [][]string{w.names[p.Parent()], w.going[p.Parent()]} {
		for _, tmp := range all {
			if mine(tmp) {
				names = append(names, tmp)
			}
		}
	}
	return names
}

// below reports whether anything waits in the directory p or below it.
func (w *waiting) below(p change.Path) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, all := range []map[change.Path][]string{w.names, w.going} {
		for at, names := range all {
			if len(names) > 0 && (at == p || at.Below(p)) {
				return true
			}
		}
	}
	return false
}

// isFor tells the temporary names of p from others of its directory.
func isFor(p change.Path) func(tmp string) bool {
	prefix := filter.TempPrefix + hash(p.Name())
	return func(tmp string) bool { return strings.HasPrefix(tmp, prefix) }
}

// take takes out what waits for a file, unless a Sync that runs is about to remove some of it; add puts names back.
func (w *waiting) take(p change.Path) (names []string, going bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := isFor(p)
	if slices.ContainsFunc(w.going[p.Parent()], mine) {
		return nil, true
	}
	all := w.names[p.Parent()]
	if len(all) == 0 {
		return nil, false
	}
	w.names[p.Parent()] = slices.DeleteFunc(all, func(tmp string) bool {
		if mine(tmp) {
			names = append(names, tmp)
		}
		return mine(tmp)
	})
	w.count -= len(names)
	return names, false
}

func (w *waiting) add(at change.Path, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names == nil {
		w.names = make(map[change.Path][]string)
	}
	w.names[at] = append(w.names[at], names...)
	w.count += len(names)
}

// moved follows a directory that was renamed.
func (w *waiting) moved(from, to change.Path) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, all := range []map[change.Path][]string{w.names, w.going} {
		for path, names := range maps.Clone(all) {
			if path == from || path.Below(from) {
				delete(all, path)
				at := to + path[len(from):]
				all[at] = append(all[at], names...)
			}
		}
	}
}

// begin has a Sync take what waits by now.
func (w *waiting) begin() (mounts map[uint64]change.Path, bytes int64, some bool) {
	w.moving.Lock()
	defer w.moving.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	mounts, bytes = w.mounts, w.bytes
	w.going, w.names, w.mounts, w.count, w.bytes = w.names, nil, nil, 0, 0
	w.freeing = len(w.going) > 0
	return mounts, bytes, w.freeing
}

// next is a directory in which names are going, with some of them.
func (w *waiting) next() (at change.Path, names []string, some bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, names := range w.going {
		return at, names[:min(len(names), reapMax)], true
	}
	return "", nil, false
}

// gone notes that what next named is not going any more. When it is left, it waits for the next Sync, with all that was going there.
func (w *waiting) gone(at change.Path, names []string, left bool) {
	w.mu.Lock()
	rest := w.going[at][len(names):]
	if left {
		names, rest = w.going[at], nil
	}
	if w.going[at] = rest; len(rest) == 0 {
		delete(w.going, at)
	}
	w.mu.Unlock()
	if left {
		w.add(at, names)
	}
}

func (w *waiting) freedSoFar() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.freed
}

// end ends a Sync. When it failed, what it left waits for the next.
func (w *waiting) end(failed bool, mounts map[uint64]change.Path, bytes int64) {
	w.mu.Lock()
	left := w.going
	w.going, w.freeing = nil, false
	w.freed++
	w.mu.Unlock()
	if !failed {
		return
	}
	for at, names := range left {
		w.add(at, names)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += bytes
	for dev, path := range mounts {
		w.changed(dev, path)
	}
}
