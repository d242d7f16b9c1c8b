package torture

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxQueuedEvents is read by the kernel when a watcher is made.
const maxQueuedEvents = "/proc/sys/fs/inotify/max_queued_events"

// withShortQueue has do start a program while the kernel's queue of events for new watchers is 64 events long, and puts the
// limit back when do returns. What do is given belongs on the thread that starts the program: the program sees a long queue, and so does
// not make it longer as it otherwise would.
func withShortQueue(do func(before func() error) error) (err error) {
	was, err := os.ReadFile(maxQueuedEvents)
	if err != nil {
		return fmt.Errorf("read limit of events: %w", err)
	}
	seen, err := os.CreateTemp("", "sersync-torture")
	if err != nil {
		return fmt.Errorf("make a limit to be seen: %w", err)
	}
	defer os.Remove(seen.Name())
	_, err = seen.WriteString("1000000\n")
	if err := errors.Join(err, seen.Close(), setLimit("64")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, setLimit(strings.TrimSpace(string(was)))) }()
	return do(func() error { return hideLimit(seen.Name()) })
}

func setLimit(value string) error {
	if err := os.WriteFile(maxQueuedEvents, []byte(value), 0); err != nil {
		return fmt.Errorf("set limit of events: %w", err)
	}
	return nil
}

// hideLimit puts another file in place of the limit, for this thread and what it starts. What is mounted elsewhere
// comes and goes there as before.
func hideLimit(file string) error {
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	}
	if err == nil {
		err = unix.Mount(file, maxQueuedEvents, "", unix.MS_BIND, "")
	}
	if err != nil {
		return fmt.Errorf("hide limit of events: %w", err)
	}
	return nil
}
