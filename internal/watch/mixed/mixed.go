// Package mixed watches each file system of a tree in the best way that can be had for it, which is found out by
// trying: by fanotify; or else by inotify; and where neither sees all changes, by what inotify sees and a gap,
// which is looked at on a schedule. It is the first step of the path of a change. It also tells of what is mounted and
// unmounted in the tree, of which no event says anything.
package mixed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/exports"
	"sersync/internal/watch/fanotify"
	"sersync/internal/watch/inotify"
	"sersync/internal/watch/mounts"
)

// Options are how a Watcher is made.
type Options struct {
	// Method is watch.Fanotify, watch.Inotify or watch.Poll for that one alone; empty for the best.
	Method string
	// OneFileSystem leaves out what is mounted below the root.
	OneFileSystem bool
	// RaiseLimits raises the limits of inotify when they are hit. It needs root.
	RaiseLimits bool
	// Exports are the tables of what the NFS server of this machine exports; nil for exports.Tables.
	Exports []string
	Log     *slog.Logger
}

// Watcher is the watch.Watcher of several methods.
type Watcher struct {
	root *scan.Root
	opts Options
	home mounts.Place
	// fanotify and inotify are nil when they are not wanted, or cannot be had: then the errors say why.
	fanotify  *fanotify.Watcher
	inotify   *inotify.Watcher
	noFan     error
	noInotify error
	// bell is an eventfd: rung for the end of Run.
	bell int

	mu     sync.Mutex
	closed bool
	parts  map[mounts.Place]*part
	// sink is that of Run, one call at a time; there once running is closed, when Run has begun.
	sink    func([]watch.Event)
	running chan struct{}

	mounting sync.Mutex
	// mounted is what was mounted below the root when that was last looked at.
	mounted mounts.Table
}

// part is a file system of the tree, and what watches it.
type part struct {
	watch.Part
	// gap: it is looked at on a schedule, since then.
	gap   error
	since time.Time
}

// New makes a watcher of root, which must stay open until Close. Nothing is watched before it is covered.
func New(root *scan.Root, opts Options) (*Watcher, error) {
	if opts.Exports == nil {
		opts.Exports = exports.Tables()
	}
	home, err := mounts.Find(int(root.File().Fd()))
	if err != nil {
		return nil, fmt.Errorf("look at source root %q: %w", root.Name(), err)
	}
	mounted, err := mounts.Read(root.File())
	if err != nil {
		return nil, err
	}
	bell, err := newBell()
	if err != nil {
		return nil, fmt.Errorf("make eventfd for %q: %w", root.Name(), err)
	}
	w := &Watcher{root: root, opts: opts, home: home.Place, bell: bell, mounted: mounted, parts: map[mounts.Place]*part{}, running: make(chan struct{})}
	if opts.Method == "" || opts.Method == watch.Fanotify {
		w.fanotify, w.noFan = fanotify.New(root)
	}
	if opts.Method == "" || opts.Method == watch.Inotify {
		w.inotify, w.noInotify = inotify.New(root, inotify.Options{RaiseLimits: opts.RaiseLimits, Log: opts.Log})
	}
	if opts.Method != watch.Poll && w.fanotify == nil && w.inotify == nil {
		return nil, errors.Join(w.refused(errors.Join(w.noFan, w.noInotify)), w.Close())
	}
	return w, nil
}

// refused says what to do when the method that was asked for cannot be had.
func (w *Watcher) refused(err error) error {
	if w.opts.Method == watch.Fanotify {
		return fmt.Errorf("%w; or set watch: auto, which uses inotify then", err)
	}
	return err
}

// watchers are those that there are.
func (w *Watcher) watchers() (all []watch.Watcher) {
	if w.fanotify != nil {
		all = append(all, w.fanotify)
	}
	if w.inotify != nil {
		all = append(all, w.inotify)
	}
	return all
}

// Close ends the watching; Run must have returned or never been called.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	var errs []error
	for _, one := range w.watchers() {
		errs = append(errs, one.Close())
	}
	return errors.Join(append(errs, closeBell(w.bell))...)
}

// Run hands the events of all to sink, one call at a time, until ctx ends. It is called once.
func (w *Watcher) Run(ctx context.Context, sink func([]watch.Event)) error {
	var one sync.Mutex
	serial := func(events []watch.Event) {
		one.Lock()
		defer one.Unlock()
		sink(events)
	}
	w.sink = serial
	close(w.running)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := []func() error{func() error { return w.watchMounts(ctx) }}
	for _, one := range w.watchers() {
		all = append(all, func() error { return one.Run(ctx, serial) })
	}
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, run := range all {
		running.Go(func() {
			defer cancel()
			errs[i] = run()
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// Sync returns when every event that the kernel had queued before the call was handed to sink, and a Look of what was mounted or
// unmounted, and of what is only looked at on a schedule.
func (w *Watcher) Sync(ctx context.Context) error {
	for _, one := range w.watchers() {
		if err := one.Sync(ctx); err != nil {
			return err
		}
	}
	select {
	case <-w.running:
	case <-ctx.Done():
		return fmt.Errorf("sync watcher of %q: %w", w.root.Name(), ctx.Err())
	}
	if err := w.checkMounts(); err != nil {
		return err
	}
	w.mu.Lock()
	var gaps []change.Path
	for _, p := range w.parts {
		if p.gap != nil {
			gaps = append(gaps, p.Path)
		}
	}
	w.mu.Unlock()
	for _, g := range w.exported() {
		gaps = append(gaps, g.Path)
	}
	w.look(gaps)
	return nil
}

// look has a look taken at the paths.
func (w *Watcher) look(paths []change.Path) {
	var looks []watch.Event
	for _, p := range paths {
		looks = append(looks, watch.Event{Path: p, Kind: watch.Look, Dir: true, At: time.Now()})
	}
	if len(looks) > 0 {
		w.sink(looks)
	}
}

// Status is what all of them cover and do not.
func (w *Watcher) Status() watch.Status {
	var st watch.Status
	for _, one := range w.watchers() {
		s := one.Status()
		st.Watches += s.Watches
		st.Overflows += s.Overflows
		st.Gaps = append(st.Gaps, s.Gaps...)
	}
	st.Gaps = append(st.Gaps, w.exported()...)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.parts {
		st.Parts = append(st.Parts, p.Part)
		if p.gap != nil {
			st.Gaps = append(st.Gaps, watch.Gap{Path: p.Path, Since: p.since, Err: p.gap})
		}
	}
	slices.SortFunc(st.Parts, func(a, b watch.Part) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(st.Gaps, func(a, b watch.Gap) int { return cmp.Compare(a.Path, b.Path) })
	return st
}
