package mixed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/mounts"
)

// Cover has the directory that is open as fd and found at p watched in the best way. Which one that is, is found out at the
// first directory of its file system, and again whenever the topmost one is covered: it may have been mounted again.
func (w *Watcher) Cover(fd int, p change.Path) error {
	is, err := mounts.Find(fd)
	if err != nil {
		return fmt.Errorf("watch directory %q: %w", p, err)
	}
	if w.opts.OneFileSystem && is.Place.Mount != w.home.Mount {
		return fmt.Errorf("watch directory %q: %w", p, scan.ErrNotEntered)
	}
	method, known := w.method(is)
	if !known {
		return w.choose(fd, p, is)
	}
	switch method {
	case watch.Fanotify:
		return w.fanotify.Cover(fd, p)
	case watch.Inotify:
		return w.inotify.Cover(fd, p)
	}
	if w.inotify == nil {
		return nil
	}
	// What is not told is looked at with the gap above.
	if err := w.inotify.Cover(fd, p); errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// method is how the directory's file system is watched, when that is known and need not be found out again.
func (w *Watcher) method(is mounts.Found) (method string, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	part := w.parts[is.Place]
	if part == nil || is.Top && is.Place != w.home {
		return "", false
	}
	return part.Method, true
}

// choose finds out how the file system of the directory is watched best.
func (w *Watcher) choose(fd int, p change.Path, is mounts.Found) error {
	kind, err := mounts.Blind(fd)
	if err != nil {
		return fmt.Errorf("watch directory %q: %w", p, err)
	}
	chosen := part{Part: watch.Part{Path: p}}
	switch {
	case w.opts.Method == watch.Poll:
		chosen.poll("it is configured so (watch: poll)")
	case kind != "" && w.opts.Method == watch.Fanotify && p == change.Root:
		err = errors.New(kind + " does not tell of all changes")
	case kind != "":
		chosen.poll(kind + " does not tell of all changes")
		err = w.local(fd, p)
	default:
		err = w.try(fd, p, &chosen)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrClosed) {
		return err
	}
	if err != nil && p == change.Root {
		return w.refused(err)
	}
	if err != nil {
		chosen.poll(reason(err))
	}
	w.keep(is.Place, chosen)
	return err
}

// reason is an error without the path, which stands beside it.
func reason(err error) string {
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	return err.Error()
}

// poll has the part looked at on a schedule.
func (p *part) poll(reason string) {
	p.Method, p.Reason = watch.Poll, reason
	p.gap = fmt.Errorf("it is looked at on a schedule only: %s", reason)
}

// try tries one method after the other.
func (w *Watcher) try(fd int, p change.Path, chosen *part) error {
	failed := w.noFan
	if w.fanotify != nil {
		if failed = w.fanotify.Try(fd, p); failed == nil {
			chosen.Method = watch.Fanotify
			return nil
		}
	}
	if errors.Is(failed, fs.ErrNotExist) || errors.Is(failed, os.ErrClosed) || w.opts.Method == watch.Fanotify {
		return failed
	}
	if failed != nil {
		chosen.Reason = reason(failed)
	}
	if w.inotify == nil {
		return errors.Join(failed, w.noInotify)
	}
	chosen.Method = watch.Inotify
	if err := w.inotify.Cover(fd, p); p == change.Root || errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrClosed) {
		return err
	}
	// Inotify keeps its own gaps, one for each directory.
	return nil
}

// local watches what is changed by this machine, as far as it can be.
func (w *Watcher) local(fd int, p change.Path) error {
	if w.inotify == nil {
		return nil
	}
	if err := w.inotify.Cover(fd, p); errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keep remembers what was chosen, and says so where it is new.
func (w *Watcher) keep(at mounts.Place, chosen part) {
	w.mu.Lock()
	defer w.mu.Unlock()
	chosen.since = time.Now()
	old := w.parts[at]
	if old != nil && old.gap != nil {
		chosen.since = old.since
	}
	w.parts[at] = &chosen
	if old != nil && old.Method == chosen.Method && old.Reason == chosen.Reason {
		return
	}
	w.opts.Log.Info("watching", "path", chosen.Path.String(), "method", chosen.Method, "reason", chosen.Reason)
}
