// Package inotify watches a tree with one inotify watch for each directory. It is the first
// step of the path of a change where fanotify cannot be had.
//
// What the kernel queued and what is true now differ by the events not yet read, so the table
// of places (wd to path) is kept right by one rule: a directory has a place only after a look
// found it there, and it loses the place at the first event that may have taken it away. While
// it has none, its events are dropped. Nothing is lost by that: whoever finds the directory
// again has it covered before it is read, and each directory that lost its place and is still in
// the tree is named by a later Created, MovedTo or Look, or lies below a gap.
package inotify

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/drain"
)

// Options are how a Watcher is made.
type Options struct {
	// RaiseLimits doubles max_user_watches whenever it is hit. It needs root.
	RaiseLimits bool
	Log         *slog.Logger
}

// Watcher is the watch.Watcher by inotify.
type Watcher struct {
	root *scan.Root
	opts Options
	// watches is the limit that a failed add may have hit.
	watches limit

	queue *drain.Queue

	mu        sync.Mutex
	closed    bool
	places    places
	overflows uint64
	// lost is when events were last lost and places not found again since are still to be doubted.
	lost time.Time
	// noRaise says that the limit could not be raised, or in vain: another is hit.
	noRaise bool
	// leaving are watches that the table has let go of and the kernel still has.
	leaving []int32

	// Of Run alone.
	sink     func([]watch.Event)
	batch    drain.Batch
	rootGone bool
}

// New makes a watcher of root, which must stay open until Close. Nothing is watched before it is covered.
func New(root *scan.Root, opts Options) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make inotify instance for %q: %w", root.Name(), instanceError(err))
	}
	q, err := drain.New(fd, root.Name(), unix.SizeofInotifyEvent+unix.NAME_MAX+1)
	if err != nil {
		return nil, err
	}
	return &Watcher{root: root, opts: opts, watches: maxUserWatches, queue: q, places: newPlaces()}, nil
}

// Close ends the watching; Run must have returned or never been called.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return w.queue.Close()
}

// Status is what is watched and what is not.
func (w *Watcher) Status() watch.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := watch.Status{Watches: len(w.places.byWD), Overflows: w.overflows, Parts: []watch.Part{{Method: watch.Inotify}}}
	for n, g := range w.places.gaps {
		if p, ok := w.places.path(n); ok {
			st.Gaps = append(st.Gaps, watch.Gap{Path: p, Since: g.since, Err: g.err})
		}
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

// leads reports whether p is the directory st now. An error means that it cannot be known.
func (w *Watcher) leads(p change.Path, st change.Stat) (bool, error) {
	seen, err := w.root.Look(p)
	return err == nil && seen.At == p && seen.Stat.SameFile(st), err
}
