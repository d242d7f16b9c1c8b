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
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
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

	fd int // inotify
	// bell is an eventfd: rung for a Sync and for the end of Run.
	bell int

	mu        sync.Mutex
	closed    bool
	places    places
	overflows uint64
	// lost is when events were last lost and places not found again since are still to be doubted.
	lost time.Time
	// noRaise says that the limit could not be raised, or in vain: another is hit.
	noRaise bool
	syncs   []*pendingSync
	// leaving are watches that the table has let go of and the kernel still has.
	leaving []int32

	// Of Run alone.
	batch    batch
	rootGone bool
}

// New makes a watcher of root, which must stay open until Close. Nothing is watched before it is covered.
func New(root *scan.Root, opts Options) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make inotify instance for %q: %w", root.Name(), instanceError(err))
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make eventfd for %q: %w", root.Name(), err)
	}
	return &Watcher{root: root, opts: opts, watches: maxUserWatches, fd: fd, bell: bell, places: newPlaces()}, nil
}

// Close ends the watching; Run must have returned or never been called.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	return errors.Join(unix.Close(w.fd), unix.Close(w.bell))
}

// Status is what is watched and what is not.
func (w *Watcher) Status() watch.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := watch.Status{Watches: len(w.places.byWD), Overflows: w.overflows}
	for n, g := range w.places.gaps {
		if p, ok := w.places.path(n); ok {
			st.Gaps = append(st.Gaps, watch.Gap{Path: p, Since: g.since, Err: g.err})
		}
	}
	slices.SortFunc(st.Gaps, func(a, b watch.Gap) int { return cmp.Compare(a.Path, b.Path) })
	return st
}

// pendingSync is one call of Sync. It is done when so many bytes of events as the queue held
// when Run took it up were handed to sink.
type pendingSync struct {
	left    int
	started bool
	done    chan struct{}
}

// Sync returns when every event that the kernel had queued before the call was handed to sink.
func (w *Watcher) Sync(ctx context.Context) error {
	s := &pendingSync{done: make(chan struct{})}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return fmt.Errorf("sync watcher of %q: %w", w.root.Name(), os.ErrClosed)
	}
	w.syncs = append(w.syncs, s)
	w.ring()
	w.mu.Unlock()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	w.syncs = slices.DeleteFunc(w.syncs, func(other *pendingSync) bool { return other == s })
	w.mu.Unlock()
	return fmt.Errorf("sync watcher of %q: %w", w.root.Name(), ctx.Err())
}

// ring wakes Run. An eventfd that is full has rung already.
func (w *Watcher) ring() {
	_, _ = unix.Write(w.bell, []byte{1, 0, 0, 0, 0, 0, 0, 1})
}

// startSyncs measures the queue for the Syncs that came since.
func (w *Watcher) startSyncs() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.syncs {
		if s.started {
			continue
		}
		queued, err := unix.IoctlGetInt(w.fd, unix.TIOCINQ)
		if err != nil {
			return fmt.Errorf("measure inotify queue: %w", err)
		}
		s.left, s.started = queued, true
	}
	w.finishSyncs(0)
	return nil
}

// finishSyncs ends the Syncs whose events are among the n bytes that were handed to sink now.
func (w *Watcher) finishSyncs(n int) {
	w.syncs = slices.DeleteFunc(w.syncs, func(s *pendingSync) bool {
		s.left -= n
		if !s.started || s.left > 0 {
			return false
		}
		close(s.done)
		return true
	})
}

// leads reports whether p is the directory st now. An error means that it cannot be known.
func (w *Watcher) leads(p change.Path, st change.Stat) (bool, error) {
	seen, err := w.root.Look(p)
	return err == nil && seen.At == p && seen.Stat.SameFile(st), err
}
