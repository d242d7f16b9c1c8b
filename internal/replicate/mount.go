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
	// Dev is the file system that was there before, Entries are some of what it had there: the number of a file system may
	// be given to another one.
	Dev     uint64
	Entries []lostEntry
	Since   time.Time
}

// lostEntry is an entry of the topmost directory of a file system. A name may hold what is no text.
type lostEntry struct {
	Name []byte
	Ino  uint64
}

// mountFact is what is kept of a lostMount.
type mountFact struct {
	Path []byte
	lostMount
}

// entriesMax is how many entries tell a file system from another.
const entriesMax = 16

// entriesOf is what the index knows of the file system dev at p. What it already knows of another one, that has come since, is left out.
func (s *Source) entriesOf(p change.Path, dev uint64) lostMount {
	m := lostMount{Dev: dev, Since: time.Now()}
	for _, name := range s.journal.Names(p) {
		if len(m.Entries) == entriesMax {
			break
		}
		if st := s.journal.Stat(p.Join(name)); st.Dev == dev {
			m.Entries = append(m.Entries, lostEntry{[]byte(name), st.Ino})
		}
	}
	return m
}

// back reports whether the file system that was at p is there again, with some of what it had.
func (s *session) back(p change.Path, m lostMount) bool {
	seen, err := s.root.Look(p)
	if err != nil || seen.At != p || seen.Stat.Dev != m.Dev {
		return false
	}
	return slices.ContainsFunc(m.Entries, func(e lostEntry) bool {
		at := p.Join(string(e.Name))
		seen, err := s.root.Look(at)
		return err == nil && seen.At == at && seen.Stat.Dev == m.Dev && seen.Stat.Ino == e.Ino
	})
}

// loseMount holds the removals at and below p, where a file system came or went.
func (b *brake) loseMount(log *slog.Logger, p change.Path, m lostMount) {
	b.mu.Lock()
	_, known := b.mounts[p]
	if !known {
		if b.mounts == nil {
			b.mounts = map[change.Path]lostMount{}
		}
		b.mounts[p] = m
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
		if m := b.mounts[p]; on.Since.IsZero() || m.Since.Before(on.Since) {
			on.Since = m.Since
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
	released := false
	for p, m := range lost {
		if !s.back(p, m) {
			continue
		}
		released = true
		b.mu.Lock()
		delete(b.mounts, p)
		b.save()
		b.mu.Unlock()
		s.src.log.Info("removals below a directory are released: its file system is mounted again", "path", p.String())
		s.walks.add(p, time.Now())
	}
	if released {
		for _, r := range s.src.running() {
			r.sender.owed.Release()
		}
	}
}
