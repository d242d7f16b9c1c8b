package mixed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/mounts"
)

// checkEvery is how often the root is looked at when there is nobody else who does.
const checkEvery = time.Second

func newBell() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) }

func closeBell(fd int) error { return unix.Close(fd) }

// watchMounts has a look taken at each path at which something is mounted or unmounted, until ctx ends.
func (w *Watcher) watchMounts(ctx context.Context) error {
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(rung)
		_, _ = unix.Write(w.bell, []byte{1, 0, 0, 0, 0, 0, 0, 1})
	})
	defer func() {
		if !stop() {
			<-rung
		}
	}()
	bell, err := mounts.NewBell()
	if err != nil {
		return fmt.Errorf("watch source root %q: %w", w.root.Name(), err)
	}
	defer bell.Close()
	// Once at the start, for what was mounted before there was a bell.
	rings := true
	for gone := false; ctx.Err() == nil; {
		if rings {
			err = w.checkMounts()
		}
		if len(w.watchers()) == 0 {
			gone = w.checkRoot(gone)
		}
		if err == nil {
			rings, err = w.waitMounts(bell)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkMounts looks at what is mounted now.
func (w *Watcher) checkMounts() error {
	w.mounting.Lock()
	defer w.mounting.Unlock()
	now, err := mounts.Read(w.root.File())
	if err != nil {
		return fmt.Errorf("watch source root %q: %w", w.root.Name(), err)
	}
	differ := w.mounted.Differ(now)
	w.mounted = now
	w.mu.Lock()
	for at, part := range w.parts {
		// The walk finds those again that are still there.
		if at != w.home && touched(part.Path, differ) {
			delete(w.parts, at)
		}
	}
	w.mu.Unlock()
	w.look(differ)
	return nil
}

// waitMounts waits for a change of the mounts, for the end of Run, or for the time to look at the root.
func (w *Watcher) waitMounts(bell *mounts.Bell) (rings bool, err error) {
	wait := -1
	if len(w.watchers()) == 0 {
		wait = int(checkEvery.Milliseconds())
	}
	fds := []unix.PollFd{{Fd: int32(w.bell), Events: unix.POLLIN}, bell.Poll()}
	if _, err := unix.Poll(fds, wait); err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("watch mounts below %q: %w", w.root.Name(), err)
	}
	return fds[1].Revents != 0, nil
}

// checkRoot tells when the root has gone.
func (w *Watcher) checkRoot(gone bool) bool {
	err := w.root.Check()
	now := errors.Is(err, scan.ErrRootGone) || errors.Is(err, scan.ErrRootReplaced)
	if now && !gone {
		w.sink([]watch.Event{{Kind: watch.RootGone, Dir: true, At: time.Now()}})
	}
	if err != nil && !now {
		return gone
	}
	return now
}

// touched reports whether p is one of the paths or below one.
func touched(p change.Path, paths []change.Path) bool {
	for _, q := range paths {
		if p == q || p.Below(q) {
			return true
		}
	}
	return false
}
