package inotify

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
)

// kinds are the events of an entry.
var kinds = [...]struct {
	bit  uint32
	kind watch.Kind
}{
	{unix.IN_MODIFY, watch.Wrote},
	{unix.IN_CLOSE_WRITE, watch.Closed},
	{unix.IN_CREATE, watch.Created},
	{unix.IN_ATTRIB, watch.Attrib},
	{unix.IN_DELETE, watch.Removed},
	{unix.IN_MOVED_FROM, watch.MovedFrom},
	{unix.IN_MOVED_TO, watch.MovedTo},
}

// one takes one event of the kernel.
func (w *Watcher) one(wd int32, bits uint32, name []byte, now time.Time) {
	if bits&unix.IN_Q_OVERFLOW != 0 {
		w.overflows++
		w.places.epoch++
		w.lost = now
		w.batch.Add(watch.Look, nil, nil, true)
		return
	}
	n := w.places.byWD[wd]
	if n == nil {
		return // let go of before
	}
	switch {
	case bits&unix.IN_IGNORED != 0:
		w.places.ignored(wd)
	case bits&(unix.IN_UNMOUNT|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
		w.self(n, bits, now)
	default:
		w.entry(n, bits, name, now)
	}
}

// self takes what happened to a watched directory as a whole. Where its parent is watched too,
// that one has said it already, by name; except for an unmount.
func (w *Watcher) self(n *node, bits uint32, now time.Time) {
	if n == w.places.root {
		w.rootGone = true
		w.batch.Add(watch.RootGone, nil, nil, true)
		return
	}
	if n.parent == nil || n.parent.wd != 0 && bits&unix.IN_UNMOUNT == 0 {
		return
	}
	if dir, ok := w.places.dir(n.parent); ok {
		w.batch.Add(watch.Look, dir, nil, true)
	}
	w.places.detach(n, now)
}

// entry takes what happened to the entry name of n, or to n itself when there is no name.
func (w *Watcher) entry(n *node, bits uint32, name []byte, now time.Time) {
	isDir := bits&unix.IN_ISDIR != 0
	var left *node
	if isDir && bits&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0 {
		left = w.places.nodes[edge{n, string(name)}]
	}
	if left != nil {
		w.places.detach(left, now)
	}
	dir, ok := w.places.dir(n)
	if !ok {
		return
	}
	for _, k := range kinds {
		if bits&k.bit != 0 {
			w.batch.Add(k.kind, dir, name, isDir)
		}
	}
	if left != nil && bits&unix.IN_MOVED_FROM != 0 {
		w.lookAgain(n, name)
	}
}

// lookAgain asks for a look where a directory was moved away from, if there is one now. It may
// be there since long, covered, and have lost its place just now: when two directories are
// exchanged, the kernel says "moved to b" for one before "moved from b" for the other.
func (w *Watcher) lookAgain(n *node, name []byte) {
	dir, _ := w.places.dir(n)
	p := change.Path(dir).Join(string(name))
	seen, err := w.root.Look(p)
	if err != nil || seen.At == p && seen.Stat.IsDir() {
		w.batch.Add(watch.Look, dir, name, true)
	}
}

const (
	// gapLooks is at how many gaps one tidying looks.
	gapLooks = 256
	// removals is how many watches one tidying ends: a quarter of the shortest usual queue.
	removals = 4096
	// doubtTime is how long after an overflow the walk may take until what it did not find again is let go.
	doubtTime = 10 * time.Minute
)

// Settle has nothing to do: each event says what it is of. It is for Run.
func (w *Watcher) Settle(time.Time) {}

// Tidy does what no event asks for. It is for Run.
func (w *Watcher) Tidy(now time.Time) {
	w.batch.Begin(now)
	w.checkRoot()
	w.checkTable(now)
	w.batch.Hand(w.sink)
}

func (w *Watcher) checkTable(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.lost.IsZero() && now.Sub(w.lost) > doubtTime {
		w.lost = time.Time{}
		for _, p := range w.places.doubt(now) {
			w.batch.Add(watch.Look, []byte(p), nil, true)
		}
	}
	w.checkGaps(now)
	w.leaving = append(w.leaving, w.places.sweep(now)...)
	w.removeWatches()
}

// removeWatches ends watches that the table has let go of. Only some at each time: each brings an
// IN_IGNORED, and they must not fill the queue.
func (w *Watcher) removeWatches() {
	n := min(len(w.leaving), removals)
	for _, wd := range w.leaving[:n] {
		if w.places.byWD[wd] != nil {
			continue // its directory was covered again
		}
		// EINVAL: the directory is gone, and its watch with it.
		_, _ = unix.InotifyRmWatch(w.queue.FD, uint32(wd))
	}
	if w.leaving = w.leaving[n:]; len(w.leaving) == 0 {
		w.leaving = nil
	}
}

// checkRoot finds what the kernel does not tell: a directory that is open, as the root is, gives no
// event when it is removed, when its file system is unmounted lazily, or when a parent of it is moved.
func (w *Watcher) checkRoot() {
	err := w.root.Check()
	gone := errors.Is(err, scan.ErrRootGone) || errors.Is(err, scan.ErrRootReplaced)
	if gone && !w.rootGone {
		w.batch.Add(watch.RootGone, nil, nil, true)
	}
	if gone || err == nil {
		w.rootGone = gone
	}
}

// checkGaps lets go of gaps whose directory is gone. Only some are looked at each time, in the
// map's random order: there may be as many as directories.
func (w *Watcher) checkGaps(now time.Time) {
	looks := 0
	for n := range w.places.gaps {
		p, ok := w.places.path(n)
		if !ok || n == w.places.root {
			continue
		}
		if looks++; looks > gapLooks {
			return
		}
		if seen, err := w.root.Look(p); err == nil && (seen.At != p || !seen.Stat.IsDir()) {
			w.places.detach(n, now)
		}
	}
}
