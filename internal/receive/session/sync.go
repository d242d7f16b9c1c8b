package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sersync/internal/apply"
)

// syncer brings to the disk what was changed, some time after it was.
type syncer struct {
	tree   *apply.Tree
	every  time.Duration
	most   int64
	unsure func() // called when something may be lost
	wake   chan struct{}

	// recovered is closed when what an end without warning left is in order: until then more of it may be lost with the next one, and nobody is
	// told that anything is durable.
	recovered chan struct{}

	mu sync.Mutex
	// bytes are not on the disk for sure; changed counts what was changed so far, durable what of it is on the disk. The first change is what
	// somebody did here before us: it is found to be as it should be, and perhaps is not on the disk yet.
	bytes            int64
	changed, durable uint64
	since            time.Time
	news             chan struct{} // closed, and made anew, when durable grows
}

func newSyncer(tree *apply.Tree, o Options, unsure func()) *syncer {
	return &syncer{
		tree: tree, every: o.SyncEvery, most: o.SyncBytes, unsure: unsure, wake: make(chan struct{}, 1), recovered: make(chan struct{}),
		changed: 1, since: time.Now(), news: make(chan struct{}),
	}
}

// note says that a batch changed something, with so many bytes.
func (s *syncer) note(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.changed == s.durable
	if first {
		s.since = time.Now()
	}
	s.changed++
	s.bytes += bytes
	if first || s.due() {
		poke(s.wake)
	}
}

// due reports whether so much was changed that no time is waited for. The caller holds mu.
func (s *syncer) due() bool { return s.bytes >= s.most || s.tree.Crowded() }

// now is what durable has to be for all that was changed so far to be on the disk.
func (s *syncer) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// onDisk is how much of what was changed is on the disk.
func (s *syncer) onDisk() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable
}

// recover puts in order what an end without warning left.
func (s *syncer) recover(ctx context.Context, log *slog.Logger) {
	defer close(s.recovered)
	if err := s.tree.Recover(ctx); err != nil && !errors.Is(err, context.Canceled) {
		log.Warn("what an end without warning left is not all put in order", "error", err)
	}
}

// run syncs when it is time to, until ctx ends.
func (s *syncer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		wait := time.Hour
		if s.changed > s.durable {
			wait = time.Until(s.since.Add(s.every))
			if s.due() {
				wait = 0
			}
		}
		s.mu.Unlock()
		timer.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			_ = s.sync()
			return
		case <-s.wake:
			continue
		case <-timer.C:
		}
		_ = s.sync() // whoever looks again at what may be lost finds a disk that fails
	}
}

// durably syncs for somebody who waits for it.
func (s *syncer) durably(ctx context.Context) error {
	select {
	case <-s.recovered:
		return s.sync()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sync brings all that was changed so far to the disk. The kernel tells of what it could not write once, and takes it for
// written from then on.
func (s *syncer) sync() error {
	s.mu.Lock()
	upTo, bytes := s.changed, s.bytes
	done := s.durable >= upTo
	s.mu.Unlock()
	if done {
		return nil
	}
	err := s.tree.Sync()
	if err != nil {
		s.unsure()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.since = time.Now()
		return err
	}
	s.bytes -= bytes
	if upTo > s.durable {
		s.durable = upTo
		close(s.news)
		s.news = make(chan struct{})
	}
	s.since = time.Now()
	return nil
}

// tell tells the sender of a connection which of its batches are on the disk.
func (s *syncer) tell(ctx context.Context, c *conn) {
	for {
		s.mu.Lock()
		durable, news := s.durable, s.news
		s.mu.Unlock()
		told, err := c.tell(durable)
		if err == nil && told {
			err = c.flush()
		}
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}
