package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// observer sees by inotify what appears and vanishes in directories of a target. It costs nothing while nothing
// happens, and is the same for all competitors.
type observer struct {
	root string
	fd   int
	dirs map[int32]string
	buf  []byte
}

// sighting is a name at which something happened, as seen at a time.
type sighting struct {
	path string
	at   time.Time
}

// observed are the events after which a file may have become what it should be: renamed into place, linked there,
// written there, or gone.
const observed = unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_DELETE |
	unix.IN_ONLYDIR

// newObserver watches the named directories below root, or all that there are when none is named.
func newObserver(s *stage, root string, dirs ...string) (*observer, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make observer: %w", err)
	}
	o := &observer{root: root, fd: fd, dirs: make(map[int32]string), buf: make([]byte, 64<<10)}
	s.onClose(func() error { return unix.Close(fd) })
	if len(dirs) == 0 {
		if dirs, err = directories(root); err != nil {
			return nil, err
		}
	}
	for _, dir := range dirs {
		wd, err := unix.InotifyAddWatch(fd, filepath.Join(root, dir), observed)
		if err != nil {
			return nil, fmt.Errorf("observe %q: %w", dir, err)
		}
		o.dirs[int32(wd)] = dir
	}
	return o, nil
}

// directories are the root, as ".", and all directories below it.
func directories(root string) ([]string, error) {
	dirs := []string{"."}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root {
			dirs = append(dirs, path[len(root)+1:])
		}
		return err
	})
	return dirs, err
}

// until returns when done was first seen to be true: at the time of the event, not that of the look after it.
func (o *observer) until(ctx context.Context, limit time.Duration, done func() bool) (time.Time, error) {
	at := time.Now()
	deadline := at.Add(limit)
	for !done() {
		seen, err := o.next(ctx, deadline)
		if err != nil {
			return at, err
		}
		at = seen[0].at
	}
	return at, nil
}

// next waits for events and returns their names. It is an error when there are none until the deadline.
func (o *observer) next(ctx context.Context, deadline time.Time) ([]sighting, error) {
	for {
		n, err := unix.Read(o.fd, o.buf)
		if err == nil {
			return o.parse(o.buf[:n], time.Now())
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("read observer: %w", err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if time.Now().After(deadline) {
			return nil, errTimeout
		}
		// Short enough to notice the end of ctx.
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}}, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("poll observer: %w", err)
		}
	}
}

// errTimeout says that something did not arrive in the time that the row allows.
var errTimeout = errors.New("it did not arrive in time")

// parse reads inotify events.
func (o *observer) parse(data []byte, at time.Time) ([]sighting, error) {
	var seen []sighting
	for len(data) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(data))
		mask := binary.NativeEndian.Uint32(data[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(data[12:]))
		name := unix.ByteSliceToString(data[unix.SizeofInotifyEvent:end])
		data = data[end:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			return nil, errors.New("read observer: too many events")
		}
		seen = append(seen, sighting{filepath.Join(o.dirs[wd], name), at})
	}
	return seen, nil
}
