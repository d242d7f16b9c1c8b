package replicate_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// syncing is a target that says what is on its disk.
type syncing struct {
	*fakeTransport
	mu     sync.Mutex
	before time.Time
	losses int
}

func (s *syncing) Synced() (time.Time, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.before, s.losses
}

func (s *syncing) say(before time.Time, losses int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.losses = before, losses
}

// withSyncing makes the one target of a bubble one that says what is on its disk.
func withSyncing(s **syncing) func(*fake) {
	return func(f *fake) {
		*s = &syncing{fakeTransport: f.targets["one"], before: time.Now()}
		f.opts.Targets[0].Transport = *s
	}
}

// sentPaths are the paths of the updates since the last call.
func (f *fakeTransport) sentPaths() (paths []change.Path) {
	for _, c := range f.take() {
		paths = append(paths, c.paths...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// A path that was found as it should be was perhaps brought over another connection a moment ago, and is not on the disk either.
func TestP2WhatIsNotOnTheDiskOfATargetIsSentAgainAfterALossAlsoIfItWasFoundEqual(t *testing.T) {
	var s *syncing
	inBubble(t, withSyncing(&s), func(f *fake) {
		s.say(time.Now().Add(-time.Hour), 0)
		f.write("a", "b") // the fake says of nothing that it was changed
		f.rest(10 * time.Second)
		if got := s.sentPaths(); !slices.Contains(got, "a") || !slices.Contains(got, "b") {
			t.Fatalf("sent %v", got)
		}
		fails := true
		s.set(func(context.Context, transport.Batch) (transport.Report, error) {
			if fails {
				fails = false
				return transport.Report{}, &transport.Error{Kind: transport.Away, Err: errors.New("cut")}
			}
			return transport.Report{}, nil
		})
		f.write("c")
		f.rest(10 * time.Second)
		got := s.sentPaths()
		for _, p := range []change.Path{"a", "b", "c"} {
			if !slices.Contains(got, p) {
				t.Errorf("after the loss %v were sent, want %s too", got, p)
			}
		}
	})
}

func TestP3WhatIsOnTheDiskOfATargetIsNotSentAgainAfterALoss(t *testing.T) {
	var s *syncing
	inBubble(t, withSyncing(&s), func(f *fake) {
		f.write("a")
		f.rest(10 * time.Second)
		s.say(time.Now(), 0) // all of it is on the disk
		f.write("b")
		f.rest(10 * time.Second)
		s.take()
		s.say(time.Now(), 0)
		fails := true
		s.set(func(context.Context, transport.Batch) (transport.Report, error) {
			if fails {
				fails = false
				return transport.Report{}, &transport.Error{Kind: transport.Away, Err: errors.New("cut")}
			}
			return transport.Report{}, nil
		})
		f.write("c")
		f.rest(10 * time.Second)
		if got := s.sentPaths(); slices.Contains(got, "a") || slices.Contains(got, "b") {
			t.Errorf("after the loss %v were sent, which were on the disk", got)
		}
	})
}

// The other lane of a target loses its connection while a batch is on its way: what the batch acked may have gone with it.
func TestP2AConnectionThatIsLostDuringABatchIsNoticedByTheBatch(t *testing.T) {
	var s *syncing
	inBubble(t, withSyncing(&s), func(f *fake) {
		s.say(time.Now().Add(-time.Hour), 0)
		lost := false
		s.set(func(context.Context, transport.Batch) (transport.Report, error) {
			if !lost {
				lost = true
				s.say(time.Now().Add(time.Hour), 1) // asked later, nothing is missing
			}
			return transport.Report{}, nil
		})
		f.write("a")
		f.rest(10 * time.Second)
		times := 0
		for _, c := range s.take() {
			if slices.Contains(c.paths, "a") {
				times++
			}
		}
		if times < 2 {
			t.Errorf("it was sent %d times, want again after the loss", times)
		}
	})
}
