// Package fanotify watches a tree with one fanotify mark for each of its file systems. It is the first step of
// the path of a change wherever such a mark can be had: it costs the same for any number of directories, and nothing
// falls between the making of a directory and its watching.
//
// The kernel names a change by the handle of a directory and a name in it. The handle leads to where the
// directory is now, not to where it was; and events of one name are merged, the later into the earlier. So an
// event says that a path is to be looked at, and no more. What becomes of it when the directory has moved or gone:
//
//   - A directory that was renamed since is reported by its new path. Its rename is queued behind, or merged into
//     something before, and read later than it happened; it asks for a walk of the new path, which finds all
//     that was reported by another one.
//   - A directory that is gone, or outside, has no path: its events are dropped. Its parent tells of its leaving,
//     and that one's parent of its own, up to one that is there.
//
// A file that is opened by its handle after the kernel forgot its path, as an NFS server does, has no directory and no name
// in events: they lead to its inode alone. The same is said of a file that gets another name or loses one, which is told of by
// that name as well.
package fanotify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/drain"
	"sersync/internal/watch/mounts"
)

// Watcher is the watch.Watcher by fanotify.
type Watcher struct {
	root  *scan.Root
	queue *drain.Queue

	mu        sync.Mutex
	closed    bool
	systems   map[fsid]*system
	mounts    map[mounts.Place]*mount
	known     paths
	gaps      map[change.Path]watch.Gap
	overflows uint64

	// Of Run alone.
	sink  func([]watch.Event)
	batch drain.Batch
	// suspect: a directory was removed or renamed outside; it may be one that leads to the root.
	suspect  bool
	rootGone bool
	// counts are events that are held back while one read is taken.
	counts []event
	// unsure: a handle could not be resolved, and nobody knows whose it is.
	unsure bool
}

// largest is the size of the largest event: a handle of 128 bytes with a name of 255, and another one.
const largest = unix.FAN_EVENT_METADATA_LEN + infoSize + 128 + unix.NAME_MAX + 8 + infoSize + 128

// New makes a watcher of root, which must stay open until Close. Nothing is watched before it is covered.
func New(root *scan.Root) (*Watcher, error) {
	fd, err := newGroup(unix.FAN_UNLIMITED_QUEUE)
	if errors.Is(err, unix.EPERM) {
		fd, err = newGroup(0)
	}
	if err != nil {
		return nil, fmt.Errorf("make fanotify group for %q: %w", root.Name(), groupError(err))
	}
	return newWatcher(root, fd)
}

// newGroup makes a group. Without FAN_REPORT_FID, the kernel is silent about files whose path it does not know.
// FAN_REPORT_TARGET_FID (Linux 5.17) lets it merge the making of a file with what is written into it, and tells whose name it is that
// came or went.
func newGroup(more uint) (int, error) {
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_REPORT_DFID_NAME | unix.FAN_REPORT_FID | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK
	fd, err := unix.FanotifyInit(flags|unix.FAN_REPORT_TARGET_FID|more, unix.O_RDONLY)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.FanotifyInit(flags|more, unix.O_RDONLY)
	}
	return fd, err
}

func newWatcher(root *scan.Root, fd int) (*Watcher, error) {
	q, err := drain.New(fd, root.Name(), largest)
	if err != nil {
		return nil, err
	}
	return &Watcher{
		root: root, queue: q,
		systems: map[fsid]*system{}, mounts: map[mounts.Place]*mount{},
		known: newPaths(pathsMax), gaps: map[change.Path]watch.Gap{},
	}, nil
}

// Close ends the watching; Run must have returned or never been called.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return w.queue.Close()
}

// Status is what is watched and what is not: Watches are file systems.
func (w *Watcher) Status() watch.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := watch.Status{Watches: len(w.systems), Overflows: w.overflows, Parts: []watch.Part{{Method: watch.Fanotify}}}
	for _, g := range w.gaps {
		st.Gaps = append(st.Gaps, g)
	}
	slices.SortFunc(st.Gaps, func(a, b watch.Gap) int { return cmp.Compare(a.Path, b.Path) })
	return st
}

// Sync returns when every event that the kernel had queued before the call was handed to sink.
func (w *Watcher) Sync(ctx context.Context) error { return w.queue.Sync(ctx) }

// Run reads events and hands them to sink until ctx ends.
func (w *Watcher) Run(ctx context.Context, sink func([]watch.Event)) error {
	w.sink = sink
	return w.queue.Run(ctx, w)
}

// Tidy does what no event asks for. It is for Run.
func (w *Watcher) Tidy(now time.Time) {
	w.batch.Begin(now)
	w.checkRoot()
	w.mu.Lock()
	w.checkMounts()
	w.checkGaps()
	w.mu.Unlock()
	w.batch.Hand(w.sink)
	w.Settle(now)
}

// Settle has everything looked at where it is not known what an event was of. It is for Run.
func (w *Watcher) Settle(now time.Time) {
	if !w.unsure {
		return
	}
	w.unsure = false
	w.batch.Begin(now)
	w.batch.Add(watch.Look, nil, nil, true)
	w.batch.Hand(w.sink)
}

// checkRoot finds what no event tells: the way to the root may lead over other file systems.
func (w *Watcher) checkRoot() {
	w.suspect = false
	err := w.root.Check()
	gone := errors.Is(err, scan.ErrRootGone) || errors.Is(err, scan.ErrRootReplaced)
	if gone && !w.rootGone {
		w.batch.Add(watch.RootGone, nil, nil, true)
	}
	if gone || err == nil {
		w.rootGone = gone
	}
}

// checkMounts finds mounts that are not where they were: the kernel ends their mark and says nothing.
func (w *Watcher) checkMounts() {
	for at, m := range w.mounts {
		if m.top == change.Root {
			continue
		}
		fd, err := w.anchor(at, m)
		if err != nil {
			w.forget(at)
			w.batch.Add(watch.Look, []byte(m.top), nil, true)
			continue
		}
		unix.Close(fd)
	}
}

// checkGaps lets go of gaps whose directory is gone.
func (w *Watcher) checkGaps() {
	for p := range w.gaps {
		if seen, err := w.root.Look(p); err == nil && (seen.At != p || !seen.Stat.IsDir()) {
			delete(w.gaps, p)
		}
	}
}
