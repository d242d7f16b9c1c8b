// Package raw hands on the events of the kernel as they are, for people and scripts that used inotifywait. It is no step
// of the path of a change: marks come from internal/watch/inotify, which keeps what a mark needs and merges the rest.
package raw

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Event is one event of the kernel.
type Event struct {
	// Dir is the watched path, with a slash at the end when it is a directory; Name is the entry in it, empty for itself.
	Dir, Name string
	Mask      uint32
	Cookie    uint32
}

// Options are how a Watcher is made.
type Options struct {
	// Mask are the events that are asked for.
	Mask      uint32
	Recursive bool
	// Exclude drops what lies at a path that it matches, and does not watch a directory there; nil for none.
	Exclude *regexp.Regexp
	// Lost is told what could not be watched, or that events were lost.
	Lost func(error)
}

// followed are the events that tell of directories to watch.
const followed = unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO

// Watcher watches paths and, where that is wanted, all directories below them.
type Watcher struct {
	opts Options
	fd   int
	dirs map[int32]string
	// moving is the path that the last event moved away from, and its cookie.
	moving string
	cookie uint32
	// tops are the paths that were asked for.
	tops []string
}

// New makes a watcher of nothing.
func New(opts Options) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make inotify instance: %w", err)
	}
	return &Watcher{opts: opts, fd: fd, dirs: make(map[int32]string)}, nil
}

// Close ends the watching.
func (w *Watcher) Close() error { return unix.Close(w.fd) }

// Add watches a file or a directory.
func (w *Watcher) Add(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() && !strings.HasSuffix(name, "/") {
		name += "/"
	}
	w.tops = append(w.tops, name)
	return w.cover(name, true)
}

// cover watches a path and what is below it: first watched, then read, so that nothing falls between. Below the top
// no link is followed: it may lead out of the tree, or into itself.
func (w *Watcher) cover(name string, top bool) error {
	if w.opts.Exclude != nil && w.opts.Exclude.MatchString(name) && !top {
		return nil
	}
	mask := w.opts.Mask
	if w.opts.Recursive {
		mask |= followed
	}
	if !top {
		mask |= unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	}
	// Without the slash: with it, a link would be followed all the same.
	path := strings.TrimRight(name, "/")
	if path == "" || top {
		path = name
	}
	wd, err := unix.InotifyAddWatch(w.fd, path, mask)
	if err != nil {
		return &fs.PathError{Op: "watch", Path: name, Err: err}
	}
	w.dirs[int32(wd)] = name
	if !w.opts.Recursive || !strings.HasSuffix(name, "/") {
		return nil
	}
	entries, err := os.ReadDir(name)
	for _, e := range entries {
		if e.IsDir() {
			w.below(name + e.Name() + "/")
		}
	}
	return err
}

// below covers a directory below the top. One that is gone again is no loss.
func (w *Watcher) below(name string) {
	err := w.cover(name, false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		w.opts.Lost(err)
	}
}

// Run hands each event to sink until sink returns false (then Run returns true), ctx ends, or nothing happened for so
// long as idle; 0 is for ever.
func (w *Watcher) Run(ctx context.Context, idle time.Duration, sink func(Event) bool) (bool, error) {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return false, fmt.Errorf("make eventfd: %w", err)
	}
	defer unix.Close(bell)
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(rung)
		_, _ = unix.Write(bell, []byte{1, 0, 0, 0, 0, 0, 0, 1})
	})
	defer func() {
		if !stop() {
			<-rung
		}
	}()
	buf := make([]byte, 64<<10)
	last := time.Now()
	for ctx.Err() == nil {
		wait := -1
		if idle > 0 {
			wait = max(0, int((idle-time.Since(last)+time.Millisecond-1)/time.Millisecond))
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(bell), Events: unix.POLLIN}}, wait)
		if err == nil && ready == 0 && time.Since(last) >= idle {
			return false, os.ErrDeadlineExceeded
		}
		n, err := unix.Read(w.fd, buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, fmt.Errorf("read inotify queue: %w", err)
		}
		handed, done := w.batch(buf[:n], sink)
		if done {
			return true, nil
		}
		if handed {
			last = time.Now()
		}
	}
	return false, nil
}

// batch takes what one read brought. It says whether an event was handed on, and whether sink has enough.
func (w *Watcher) batch(buf []byte, sink func(Event) bool) (handed, done bool) {
	for len(buf) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(buf))
		e := Event{Mask: binary.NativeEndian.Uint32(buf[4:]), Cookie: binary.NativeEndian.Uint32(buf[8:])}
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		name, _, _ := bytes.Cut(buf[unix.SizeofInotifyEvent:end], []byte{0})
		e.Name = string(name)
		buf = buf[end:]
		if e.Mask&unix.IN_Q_OVERFLOW != 0 {
			w.overflow()
			continue
		}
		w.movedOut(e)
		dir, ok := w.dirs[wd]
		if !ok {
			continue
		}
		e.Dir = dir
		// That a directory below went is not the end of what is watched.
		asked := e.Mask&w.opts.Mask != 0 || e.Mask&followed == 0 && slices.Contains(w.tops, dir)
		if asked && (w.opts.Exclude == nil || !w.opts.Exclude.MatchString(e.Dir+e.Name)) {
			handed = true
			if !sink(e) {
				return true, true
			}
		}
		w.follow(wd, e)
	}
	return handed, false
}

// overflow says so, and covers again what may have been missed.
func (w *Watcher) overflow() {
	w.opts.Lost(errors.New("events were lost: the queue of the kernel was full (fs.inotify.max_queued_events)"))
	for _, top := range w.tops {
		if err := w.cover(top, true); err != nil {
			w.opts.Lost(err)
		}
	}
}

// follow brings the table up to date: new directories are watched, moved ones get their new name.
func (w *Watcher) follow(wd int32, e Event) {
	if e.Mask&unix.IN_IGNORED != 0 {
		delete(w.dirs, wd)
		return
	}
	if !w.opts.Recursive {
		return
	}
	path := e.Dir + e.Name + "/"
	switch {
	case e.Mask&unix.IN_ISDIR == 0:
	case e.Mask&unix.IN_MOVED_FROM != 0:
		w.moving, w.cookie = path, e.Cookie
	case w.moving != "":
		w.rename(w.moving, path)
		w.moving = ""
	case e.Mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		w.below(path)
	}
}

// movedOut lets go of a directory that was moved away, and not to a place in the tree: then that is the next event, but
// for what the directory says of itself.
func (w *Watcher) movedOut(next Event) {
	if w.moving == "" || next.Mask&unix.IN_MOVE_SELF != 0 || next.Mask&unix.IN_MOVED_TO != 0 && next.Cookie == w.cookie {
		return
	}
	w.forget(w.moving)
	w.moving = ""
}

func (w *Watcher) rename(from, to string) {
	for wd, dir := range w.dirs {
		if rest, ok := strings.CutPrefix(dir, from); ok {
			w.dirs[wd] = to + rest
		}
	}
	// A directory that was made in it since then may have been looked for under its old name.
	w.below(to)
}

// forget ends the watches of a directory that was moved out of the tree.
func (w *Watcher) forget(from string) {
	for wd, dir := range w.dirs {
		if strings.HasPrefix(dir, from) {
			delete(w.dirs, wd)
			// EINVAL: it is gone, and its watch with it.
			_, _ = unix.InotifyRmWatch(w.fd, uint32(wd))
		}
	}
}
