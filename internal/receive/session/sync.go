package session

import (
	"context"
	"sync"
	"time"

	"sersync/internal/apply"
	"sersync/internal/wire"
)

// syncer brings to the disk what was changed, some time after it was.
type syncer struct {
	tree  *apply.Tree
	every time.Duration
	most  int64
	wake  chan struct{}

	mu sync.Mutex
	// bytes are not on the disk for sure; changed counts what was changed so far, durable what of it is on the disk.
	bytes            int64
	changed, durable uint64
	since            time.Time
	news             chan struct{} // closed, and made anew, when durable grows
	err              error
}

func newSyncer(tree *apply.Tree, o Options) *syncer {
	return &syncer{tree: tree, every: o.SyncEvery, most: o.SyncBytes, wake: make(chan struct{}, 1), news: make(chan struct{})}
}

// note says that a batch changed something, with so many bytes. It returns what durable has to be for that to be on the disk.
func (s *syncer) note(bytes int64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == s.durable {
		s.since = time.Now()
	}
	s.changed++
	s.bytes += bytes
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.changed
}

// now is what durable has to be for all that was changed so far to be on the disk.
func (s *syncer) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *syncer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		wait := time.Hour
		if s.changed > s.durable {
			wait = time.Until(s.since.Add(s.every))
			if s.bytes >= s.most {
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
		_ = s.sync() // a disk that fails is told of by the batches; nothing is durable meanwhile
	}
}

// sync brings all that was changed so far to the disk.
func (s *syncer) sync() error {
	s.mu.Lock()
	upTo, bytes := s.changed, s.bytes
	done := s.durable >= upTo
	s.mu.Unlock()
	if done {
		return nil
	}
	err := s.tree.Sync()
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
	var told uint64
	for {
		s.mu.Lock()
		durable, news := s.durable, s.news
		s.mu.Unlock()
		if n := c.durable(durable); n > told {
			told = n
			if c.say(&wire.Durable{Batch: n}) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}
