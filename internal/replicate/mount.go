package replicate

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"sersync/internal/change"
)

// lostMount is a directory where a file system came or went.
type lostMount struct {
	// dev is the file system that was there before.
	dev   uint64
	since time.Time
}

// mountFact is what is kept of a lostMount. A path may hold what is no text.
type mountFact struct {
	Path  []byte
	Dev   uint64
	Since time.Time
}

// loseMount holds the removals at and below p, where the file system dev was.
func (b *brake) loseMount(log *slog.Logger, p change.Path, dev uint64, since time.Time) {
	b.mu.Lock()
	_, known := b.mounts[p]
	if !known {
		if b.mounts == nil {
			b.mounts = map[change.Path]lostMount{}
		}
		b.mounts[p] = lostMount{dev: dev, since: since}
		b.save()
	}
	b.mu.Unlock()
	if !known {
		log.Error("removals below a directory are held: a file system was mounted or unmounted there", "path", p.String(),
			"hint", "bring it back as it was, or run 'sersync deletes approve' when it is meant to be so")
	}
}

// holds reports whether removing p would take anything of a directory where a file system came or went.
func (b *brake) holds(p change.Path) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := range b.mounts {
		if p == at || p.Below(at) || at.Below(p) {
			return true
		}
	}
	return false
}

// shown is what a person is told of: what holds all removals, or else what holds some.
func (b *brake) shown() *Brake {
	if on := b.engaged(); on != nil {
		return on
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mounts) == 0 {
		return nil
	}
	on := &Brake{Kind: mountChanged}
	var names []string
	for _, p := range slices.Sorted(maps.Keys(b.mounts)) {
		names = append(names, p.String())
		if m := b.mounts[p]; on.Since.IsZero() || m.since.Before(on.Since) {
			on.Since = m.since
		}
	}
	on.Reason = fmt.Sprintf("a file system was mounted or unmounted at %s; what was below is held", strings.Join(names, ", "))
	return on
}

// mountsAgain releases what is held below directories that are on the file system again on which they were.
func (s *session) mountsAgain() {
	b := &s.src.brake
	b.mu.Lock()
	lost := maps.Clone(b.mounts)
	b.mu.Unlock()
	back := false
	for p, m := range lost {
		seen, err := s.root.Look(p)
		if err != nil || seen.At != p || seen.Stat.Dev != m.dev {
			continue
		}
		back = true
		b.mu.Lock()
		delete(b.mounts, p)
		b.save()
		b.mu.Unlock()
		s.src.log.Info("removals below a directory are released: its file system is mounted again", "path", p.String())
		s.walks.add(p, time.Now())
	}
	if back {
		for _, r := range s.src.running() {
			r.sender.owed.Release()
		}
	}
}
