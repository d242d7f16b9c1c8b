package inotify

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// limit is the file of a sysctl.
type limit string

const (
	maxUserWatches   limit = "/proc/sys/fs/inotify/max_user_watches"
	maxQueuedEvents  limit = "/proc/sys/fs/inotify/max_queued_events"
	maxUserInstances limit = "/proc/sys/fs/inotify/max_user_instances"
)

// queueSize is the number of events that a queue should hold: what some ten writers make in
// a second.
const queueSize = 262144

// sysctl is the name that a person sets the limit by.
func (l limit) sysctl() string {
	return strings.ReplaceAll(strings.TrimPrefix(string(l), "/proc/sys/"), "/", ".")
}

func (l limit) get() (int, error) {
	text, err := os.ReadFile(string(l))
	if err != nil {
		return 0, fmt.Errorf("read limit %q: %w", l.sysctl(), err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read limit %q: %w", l.sysctl(), err)
	}
	return n, nil
}

// raise sets the limit from to to, and says so. The caller has just read from; a limit is never lowered.
func (l limit) raise(log *slog.Logger, from, to int) error {
	if to <= from {
		return nil
	}
	if err := os.WriteFile(string(l), []byte(strconv.Itoa(to)), 0); err != nil {
		return fmt.Errorf("raise limit %q from %d to %d: %w", l.sysctl(), from, to, err)
	}
	log.Info("inotify limit raised", "limit", l.sysctl(), "from", from, "to", to)
	return nil
}

// remedy names the limit, its value and how to set a higher one.
func (l limit) remedy() string {
	n, err := l.get()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("the limit %s is %d; raise it: sysctl -w %s=%d", l.sysctl(), n, l.sysctl(), 2*n)
}

// RaiseQueue makes the queues of watchers that are made from now on hold at least 262144 events.
// It never lowers the limit. It needs root.
func RaiseQueue(log *slog.Logger) error {
	n, err := maxQueuedEvents.get()
	if err != nil {
		return err
	}
	return maxQueuedEvents.raise(log, n, queueSize)
}

// instanceError is why there is no inotify instance, with the remedy.
func instanceError(err error) error {
	if errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("%w: %s (or too many files are open: ulimit -n)", err, maxUserInstances.remedy())
	}
	return err
}

// watchError is why a directory cannot be watched, with the remedy.
func (w *Watcher) watchError(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: %s", err, w.watches.remedy())
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: watching needs the right to read the directory; run as root or grant it", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: the kernel has no memory for the watch (about 1 KiB)", err)
	case errors.Is(err, unix.ENOENT):
		// The directory is open, so it is the way to it that is missing. Not wrapped: ENOENT would
		// say that the directory is gone.
		return errors.New("no /proc/self/fd: mount /proc")
	}
	return err
}

// raiseWatches doubles the limit of watches, when that is wanted and may help.
func (w *Watcher) raiseWatches() bool {
	if !w.opts.RaiseLimits || w.noRaise {
		return false
	}
	from, err := w.watches.get()
	if err == nil {
		err = w.watches.raise(w.opts.Log, from, 2*from)
	}
	if err != nil {
		w.noRaise = true
		w.opts.Log.Warn("inotify limit not raised", "error", err)
		return false
	}
	return true
}
