package inotify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/watch"
)

const (
	// bufferSize bounds one read: some thousands of events.
	bufferSize = 128 << 10
	// fullRead is what a read brings at least when it left events in the queue.
	fullRead = bufferSize - unix.SizeofInotifyEvent - unix.NAME_MAX - 1

	// nap is how long Run waits before it reads again while much happens. A reader that reads at
	// once takes half of the time away from who writes.
	nap = time.Millisecond
	// burst events are read at once, and so many of each millisecond; more than that is much.
	burst, perNap = 16, 4

	// tidyEvery is how often the root, the strays and the gaps are looked at.
	tidyEvery = time.Second
	// gapLooks is at how many gaps one tidying looks.
	gapLooks = 256
	// removals is how many watches one tidying ends: a quarter of the shortest usual queue.
	removals = 4096
	// doubtTime is how long after an overflow the walk may take until what it did not find again is let go.
	doubtTime = 10 * time.Minute
)

// Run reads events and hands them to sink until ctx ends.
func (w *Watcher) Run(ctx context.Context, sink func([]watch.Event)) error {
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(rung)
		w.ring()
	})
	defer func() {
		if !stop() {
			<-rung
		}
	}()
	r := reader{w: w, sink: sink, buf: make([]byte, bufferSize), credit: burst, tidied: time.Now()}
	for ctx.Err() == nil {
		if err := r.step(); err != nil {
			return fmt.Errorf("read events of %q: %w", w.root.Name(), err)
		}
	}
	return nil
}

// reader is what one Run needs.
type reader struct {
	w    *Watcher
	sink func([]watch.Event)
	buf  []byte
	// credit is how many events may still be read at once.
	credit int
	read   time.Time
	tidied time.Time
}

// step waits for something to do and does it.
func (r *reader) step() error {
	if err := r.w.startSyncs(); err != nil {
		return err
	}
	if since := time.Since(r.tidied); since >= tidyEvery {
		r.tidied = time.Now()
		r.hand(r.w.tidy(r.tidied))
	}
	queued, rung, err := r.w.wait(time.Until(r.tidied.Add(tidyEvery)), true)
	if err != nil {
		return err
	}
	if rung {
		// What it rang for is found at the next step.
		var b [8]byte
		_, _ = unix.Read(r.w.bell, b[:])
	}
	if !queued {
		return nil
	}
	if r.credit <= 0 && !rung && !r.w.syncing() {
		if _, _, err := r.w.wait(nap, false); err != nil {
			return err
		}
	}
	return r.readBatch()
}

// wait returns when there are events (if those are asked for), when the bell rang, or after d.
func (w *Watcher) wait(d time.Duration, events bool) (queued, rung bool, err error) {
	fds := []unix.PollFd{{Fd: int32(w.bell), Events: unix.POLLIN}, {Fd: int32(w.fd), Events: unix.POLLIN}}
	if !events {
		fds = fds[:1]
	}
	// Rounded up: a poll of 0 ms would spin.
	ms := int((d + time.Millisecond - 1) / time.Millisecond)
	_, err = unix.Poll(fds, max(ms, 0))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, false, fmt.Errorf("poll: %w", err)
	}
	return events && fds[len(fds)-1].Revents != 0, fds[0].Revents != 0, nil
}

func (w *Watcher) syncing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.syncs) > 0
}

func (r *reader) readBatch() error {
	n, err := unix.Read(r.w.fd, r.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read inotify queue: %w", err)
	}
	now := time.Now()
	events, raw := r.w.translate(r.buf[:n], now)
	r.hand(events)
	r.w.mu.Lock()
	r.w.finishSyncs(n)
	r.w.mu.Unlock()

	earned := int(min(now.Sub(r.read), time.Second) * perNap / nap)
	r.credit = max(min(r.credit+earned, burst)-raw, 0)
	if n >= fullRead {
		// There is more: the queue must not overflow while we nap.
		r.credit = 1
	}
	r.read = now
	return nil
}

func (r *reader) hand(events []watch.Event) {
	if len(events) > 0 {
		r.sink(events)
		clear(events) // lets go of the paths
	}
}

// batch gathers the events of one read.
type batch struct {
	events []watch.Event
	path   []byte
	at     time.Time
}

// add reports kind for the entry name of dir; an empty name is dir itself. An event that says
// what the last one said is merged with it.
func (b *batch) add(kind watch.Kind, dir []byte, name []byte, isDir bool) {
	b.path = append(b.path[:0], dir...)
	if len(dir) > 0 && len(name) > 0 {
		b.path = append(b.path, '/')
	}
	b.path = append(b.path, name...)
	if i := len(b.events) - 1; i >= 0 {
		if last := &b.events[i]; last.Kind == kind && last.Dir == isDir && string(last.Path) == string(b.path) {
			return
		}
	}
	b.events = append(b.events, watch.Event{Path: change.Path(b.path), Kind: kind, Dir: isDir, At: b.at})
}

// translate turns what was read into events, and brings the places up to date. The events
// are good until the next call. It also says how many the kernel's were.
func (w *Watcher) translate(buf []byte, now time.Time) (events []watch.Event, raw int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batch.events, w.batch.at = w.batch.events[:0], now
	for len(buf) >= unix.SizeofInotifyEvent {
		wd, bits := int32(binary.NativeEndian.Uint32(buf)), binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		name := buf[unix.SizeofInotifyEvent:end]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		w.one(wd, bits, name, now)
		buf = buf[end:]
		raw++
	}
	return w.batch.events, raw
}
