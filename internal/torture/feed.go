package torture

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"sersync/internal/httpd"
)

// feed gathers the batches that the daemon under test says it handed to rsync. Of most of them rsync's own log says nothing: what is the
// same on the target leaves no line there. It shows whether more is looked at than has changed.
type feed struct {
	mu      sync.Mutex
	batches []batch
}

// batch is one of them, with when the life began that it is of.
type batch struct {
	began time.Time
	httpd.Event
}

// follow reads along in one life after the other, until ctx ends.
func (f *feed) follow(ctx context.Context, s *subject) error {
	for ctx.Err() == nil {
		began := s.since()
		// How it ends says nothing: it is killed again and again.
		_ = s.client.Events(ctx, func() {}, func(e httpd.Event) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.batches = append(f.batches, batch{began, e})
			return nil
		})
		pause(ctx, 10*time.Millisecond)
	}
	return nil
}

func (f *feed) take() []batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.batches
	f.batches = nil
	return all
}

// judgeFeed finds batches that hold what had not changed: by the names that are told of each, and by their number.
func (t *torture) judgeFeed() (wrong []string, err error) {
	for _, b := range t.feed.take() {
		target := t.targetOf(b.Target)
		floor := t.oracle.askFloor(target, b.began)
		if target < 0 || floor.IsZero() {
			continue
		}
		t.asked += b.Paths
		for _, name := range b.Names {
			if rel := unquoted(name); !isPartial(rel) && !t.oracle.reason(rel, true, floor) {
				wrong = append(wrong, fmt.Sprintf("target %d was asked about %q (%s), which had not changed since %s",
					target+1, rel, b.Op, floor.Format(clockFormat)))
			}
		}
		if b.Paths < askedMin {
			continue
		}
		most, err := t.oracle.changedSince(floor)
		if err != nil {
			return nil, err
		}
		if b.Paths > most {
			wrong = append(wrong, fmt.Sprintf("target %d was asked about %d paths in one batch (%s), %d had changed since %s",
				target+1, b.Paths, b.Op, most, floor.Format(clockFormat)))
		}
	}
	return wrong, nil
}

// askedMin is from how many paths on a batch is counted.
const askedMin = 100

const clockFormat = "15:04:05.000"

func (t *torture) targetOf(name string) int {
	for i := range t.rsyncds {
		if t.targetURL(i) == name {
			return i
		}
	}
	return -1
}

// unquoted is a name as an event shows it.
func unquoted(name string) string {
	if strings.HasPrefix(name, `"`) {
		if plain, err := strconv.Unquote(name); err == nil {
			return plain
		}
	}
	return name
}

// askFloor is as floor, but in the first minute everything may be looked at again: it was acked in the last minute.
func (o *oracle) askFloor(target int, began time.Time) time.Time {
	floor := o.settledBefore(target, began.Add(-tailTime))
	if floor.Before(o.filled) && began.Sub(o.filled) > lastMinute {
		floor = o.filled
	}
	return floor
}

// changedSince is how many paths there was a reason to send since floor: those that are there, and those that are named in what was
// done.
func (o *oracle) changedSince(floor time.Time) (n int, err error) {
	err = filepath.WalkDir(o.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a writer was quicker
		}
		rel, err := filepath.Rel(o.root, path)
		if err == nil && o.reason(rel, d.IsDir(), floor) {
			n++
		}
		return err
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, at := range o.self {
		if !at.Before(floor) {
			n++
		}
	}
	return n, err
}
