package replicate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

// syncing is a target that says what is on its disk.
type syncing struct {
	*fakeTransport
	mu     sync.Mutex
	before time.Time
	losses int
	lost   chan struct{}
}

func (s *syncing) Synced() (time.Time, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.before, s.losses
}

func (s *syncing) Lost() <-chan struct{} { return s.lost }

func (s *syncing) say(before time.Time, losses int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.losses = before, losses
}

// withSyncing makes the one target of a bubble one that says what is on its disk.
func withSyncing(s **syncing) func(*fake) {
	return func(f *fake) {
		*s = &syncing{fakeTransport: f.targets["one"], before: time.Now(), lost: make(chan struct{}, 1)}
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
		s.lose()
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

// Also when nothing changes any more.
func TestP2WhatIsNotOnTheDiskOfATargetIsSentAgainAsSoonAsItsConnectionIsLost(t *testing.T) {
	var s *syncing
	inBubble(t, withSyncing(&s), func(f *fake) {
		s.say(time.Now().Add(-time.Hour), 0)
		f.write("a")
		f.rest(10 * time.Second)
		s.take()
		s.say(time.Now().Add(-time.Hour), 1)
		s.lost <- struct{}{}
		f.rest(10 * time.Second)
		if got := s.sentPaths(); !slices.Contains(got, "a") {
			t.Errorf("after the loss %v were sent, want a", got)
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
		s.lose()
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

// lose has the next batch end with the connection.
func (s *syncing) lose() {
	fails := true
	s.set(func(context.Context, transport.Batch) (transport.Report, error) {
		if fails {
			fails = false
			return transport.Report{}, &transport.Error{Kind: transport.Away, Err: errors.New("cut")}
		}
		return transport.Report{}, nil
	})
}

// A loss of power brings back a directory that was removed; when the source has another one of that name by then, what it lacks must go.
func TestP2ADirectoryThatALossMayBringBackIsComparedWhenItWasMadeAnew(t *testing.T) {
	var s *syncing
	inBubble(t, withSyncing(&s), func(f *fake) {
		s.say(time.Now().Add(-time.Hour), 0)
		f.write("d/old")
		f.rest(10 * time.Second)
		if err := os.RemoveAll(filepath.Join(f.dir, "d")); err != nil {
			t.Fatal(err)
		}
		f.happened(watch.Removed, "d")
		f.rest(10 * time.Second)
		f.write("d/new")
		f.rest(10 * time.Second)
		var compared []change.Path
		s.fakeTransport.mu.Lock()
		s.sweep = func(_ context.Context, w transport.Sweep, _ func(transport.Difference) error) error {
			if w.Extras {
				compared = append(compared, w.Under...)
			}
			return nil
		}
		s.fakeTransport.mu.Unlock()
		for range 2 { // what was compared is compared again, too
			compared = nil
			s.lose()
			f.write("c")
			f.rest(10 * time.Second)
			if !slices.Contains(compared, "d") {
				t.Errorf("after the loss %v were compared, want d", compared)
			}
		}
	})
}

// What a loss of power brings back may have size and mtime of what came after it, where that had not got them by being written.
func TestP2ContentWhoseTimeWasSetIsComparedAfterALoss(t *testing.T) {
	var s *syncing
	inBubble(t, withSyncing(&s), func(f *fake) {
		s.say(time.Now().Add(-time.Hour), 0)
		at := time.Unix(1_500_000_000, 0)
		f.write("plain", "set")
		if err := os.Chtimes(filepath.Join(f.dir, "set"), at, at); err != nil {
			t.Fatal(err)
		}
		f.happened(watch.Attrib, "set")
		f.rest(10 * time.Second)
		s.take()
		s.lose()
		f.write("c")
		f.rest(10 * time.Second)
		var contents []change.Path
		for _, c := range s.take() {
			if c.op == transport.UpdateContent {
				contents = append(contents, c.paths...)
			}
		}
		if !slices.Equal(contents, []change.Path{"set"}) {
			t.Errorf("after the loss %v were compared by content, want set alone", contents)
		}
	})
}

// The batch that was to bring a directory is lost, and the comparison finds what an earlier connection has brought: it may not be on the disk.
func TestP2WhatAComparisonFindsAsItShouldBeIsComparedAgainAfterALoss(t *testing.T) {
	var s *syncing
	inBubble(t, withSyncing(&s), func(f *fake) {
		s.say(time.Now().Add(-time.Hour), 0)
		f.write("d/old")
		f.happened(watch.Created, "d")
		f.rest(10 * time.Second)
		var compared atomic.Int64
		var away atomic.Bool
		away.Store(true)
		s.fakeTransport.mu.Lock()
		s.sweep = func(_ context.Context, w transport.Sweep, _ func(transport.Difference) error) error {
			if slices.Contains(w.Under, "d") {
				compared.Add(1)
			}
			return nil
		}
		s.fakeTransport.mu.Unlock()
		s.set(func(context.Context, transport.Batch) (transport.Report, error) {
			if away.Load() {
				return transport.Report{}, &transport.Error{Kind: transport.Away, Err: errors.New("cut")}
			}
			return transport.Report{}, nil
		})
		d := filepath.Join(f.dir, "d")
		if err := errors.Join(os.Rename(d, filepath.Join(t.TempDir(), "away")), os.Mkdir(d, 0o755)); err != nil {
			t.Fatal(err)
		}
		f.happened(watch.Removed, "d")
		f.rest(time.Minute)
		away.Store(false)
		f.rest(time.Minute)
		if compared.Swap(0) == 0 {
			t.Fatal("it was not compared")
		}
		s.lose()
		f.write("c")
		f.rest(10 * time.Second)
		if compared.Load() == 0 {
			t.Error("it was not compared again")
		}
	})
}
