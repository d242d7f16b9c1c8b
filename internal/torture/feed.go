package torture

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sersync/internal/httpd"
)

// feed gathers the batches that the daemon under test says it handed to a transport. Of most of them rsync's own log says nothing: what is the
// same on the target leaves no line there.
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

// judgeFeed counts what was handed to a transport without having changed, as far as its names are told. That is not wrong: what was acked within
// a minute before a loss of contact is looked at again, and nothing of it is sent. It should be little. To a target that has no other witness content
// of it must not have been sent.
func (t *torture) judgeFeed() {
	for _, b := range t.feed.take() {
		target := t.targetOf(b.Target)
		floor := t.oracle.floor(target, b.began)
		t.asked += b.Paths
		t.named += len(b.Names)
		inVain := t.inVain
		for _, name := range b.Names {
			if rel := unquoted(name); !isPartial(rel) && !t.oracle.reason(rel, true, floor) {
				t.inVain++
				t.note("target %d was asked about %q (%s), which had not changed since %s", target+1, rel, b.Op, floor.Format(clockFormat))
			}
		}
		if t.inVain-inVain == b.Paths && b.Files > 0 && target >= 0 && t.targets[target].ours() {
			t.found(fmt.Sprintf("target %d was sent %q (%s), which had not changed since %s", target+1, b.Names, b.Op, floor.Format(clockFormat)))
		}
	}
}

const clockFormat = "15:04:05.000"

func (t *torture) targetOf(name string) int {
	return slices.IndexFunc(t.targets, func(g *target) bool { return g.url() == name })
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
