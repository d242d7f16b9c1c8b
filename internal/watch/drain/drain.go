// Package drain reads a queue of events of the kernel for a watcher: when to read at once and when to nap, and who
// waits until what is queued was read.
package drain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// BufferSize bounds one read: some thousands of events.
	BufferSize = 128 << 10

	// nap is how long Run waits before it reads again while much happens. A reader that reads at
	// once takes half of the time away from who writes.
	nap = time.Millisecond
	// burst events are read at once, and so many of each millisecond; more than that is much.
	burst, perNap = 16, 4

	// tidyEvery is how often Tidy is called.
	tidyEvery = time.Second
)

// Reader is what a watcher does with its queue. All is called in the goroutine of Run.
type Reader interface {
	// Take turns what was read into events and hands them on. It says how many events they were, and how much of
	// what the kernel had said to have queued (FIONREAD) they stand for.
	Take(buf []byte, now time.Time) (events, queued int)
	// Settle hands on what the events that were taken left in doubt, before a Sync ends.
	Settle(now time.Time)
	// Tidy does what no event asks for, every second.
	Tidy(now time.Time)
}

// Queue is the descriptor of an inotify instance or a fanotify group, which does not block.
type Queue struct {
	// FD is the kernel's descriptor.
	FD int
	// name is that of the root, for errors.
	name string
	// bell is an eventfd: rung for a Sync and for the end of Run.
	bell int
	// full is what a read brings at least when it left events in the queue.
	full int

	mu     sync.Mutex
	closed bool
	syncs  []*pendingSync

	// Of Run alone.
	buf []byte
	// credit is how many events may still be read at once.
	credit int
	read   time.Time
	tidied time.Time
}

// New takes the descriptor over, also when it fails. No event is larger than largest.
func New(fd int, name string, largest int) (*Queue, error) {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make eventfd for %q: %w", name, err)
	}
	return &Queue{FD: fd, name: name, bell: bell, full: BufferSize - largest}, nil
}

// Close closes the descriptor; Run must have returned or never been called.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	return errors.Join(unix.Close(q.FD), unix.Close(q.bell))
}

// pendingSync is one call of Sync. It is done when as much as the queue held when Run took it up was handed on.
type pendingSync struct {
	left    int
	started bool
	done    chan struct{}
}

// Sync returns when every event that the kernel had queued before the call was taken.
func (q *Queue) Sync(ctx context.Context) error {
	s := &pendingSync{done: make(chan struct{})}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return fmt.Errorf("sync watcher of %q: %w", q.name, os.ErrClosed)
	}
	q.syncs = append(q.syncs, s)
	q.ring()
	q.mu.Unlock()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	q.syncs = slices.DeleteFunc(q.syncs, func(other *pendingSync) bool { return other == s })
	q.mu.Unlock()
	return fmt.Errorf("sync watcher of %q: %w", q.name, ctx.Err())
}

// ring wakes Run. An eventfd that is full has rung already.
func (q *Queue) ring() {
	_, _ = unix.Write(q.bell, []byte{1, 0, 0, 0, 0, 0, 0, 1})
}

// startSyncs measures the queue for the Syncs that came since.
func (q *Queue) startSyncs() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.syncs {
		if s.started {
			continue
		}
		queued, err := unix.IoctlGetInt(q.FD, unix.TIOCINQ) // FIONREAD
		if err != nil {
			return fmt.Errorf("measure queue: %w", err)
		}
		s.left, s.started = queued, true
	}
	q.finishSyncs(0)
	return nil
}

// finishSyncs ends the Syncs whose events are among those that were handed on now.
func (q *Queue) finishSyncs(n int) {
	q.syncs = slices.DeleteFunc(q.syncs, func(s *pendingSync) bool {
		s.left -= n
		if !s.started || s.left > 0 {
			return false
		}
		close(s.done)
		return true
	})
}

func (q *Queue) syncing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.syncs) > 0
}

// Run reads until ctx ends.
func (q *Queue) Run(ctx context.Context, r Reader) error {
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(rung)
		q.ring()
	})
	defer func() {
		if !stop() {
			<-rung
		}
	}()
	q.credit, q.tidied = burst, time.Now()
	for ctx.Err() == nil {
		if err := q.step(r); err != nil {
			return fmt.Errorf("read events of %q: %w", q.name, err)
		}
	}
	return nil
}

// step waits for something to do and does it.
func (q *Queue) step(r Reader) error {
	if q.syncing() {
		r.Settle(time.Now())
	}
	if err := q.startSyncs(); err != nil {
		return err
	}
	if since := time.Since(q.tidied); since >= tidyEvery {
		q.tidied = time.Now()
		r.Tidy(q.tidied)
	}
	queued, rung, err := q.wait(time.Until(q.tidied.Add(tidyEvery)), true)
	if err != nil {
		return err
	}
	if rung {
		// What it rang for is found at the next step.
		var b [8]byte
		_, _ = unix.Read(q.bell, b[:])
	}
	if !queued {
		return nil
	}
	if q.credit <= 0 && !rung && !q.syncing() {
		if _, _, err := q.wait(nap, false); err != nil {
			return err
		}
	}
	return q.ReadOnce(r)
}

// wait returns when there are events (if those are asked for), when the bell rang, or after d.
func (q *Queue) wait(d time.Duration, events bool) (queued, rung bool, err error) {
	fds := []unix.PollFd{{Fd: int32(q.bell), Events: unix.POLLIN}, {Fd: int32(q.FD), Events: unix.POLLIN}}
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

// ReadOnce reads what is queued, as far as it fits into the buffer.
func (q *Queue) ReadOnce(r Reader) error {
	if q.buf == nil {
		q.buf = make([]byte, BufferSize)
	}
	n, err := unix.Read(q.FD, q.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read queue: %w", err)
	}
	now := time.Now()
	events, queued := r.Take(q.buf[:n], now)
	if q.syncing() {
		r.Settle(now)
	}
	q.mu.Lock()
	q.finishSyncs(queued)
	q.mu.Unlock()

	earned := int(min(now.Sub(q.read), time.Second) * perNap / nap)
	q.credit = max(min(q.credit+earned, burst)-events, 0)
	if n >= q.full {
		// There is more: the queue must not overflow while we nap.
		q.credit = 1
	}
	q.read = now
	return nil
}
