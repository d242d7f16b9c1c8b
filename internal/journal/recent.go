package journal

import (
	"time"

	"sersync/internal/change"
)

const (
	// recentTime is for how long a target may hold in memory only what it acked: a file system writes back within
	// half a minute.
	recentTime = time.Minute
	// recentMax bounds the paths that are known to have been acked in that time.
	recentMax = 100_000
)

// recent are the paths that were changed on the target within one second.
type recent struct {
	second int64
	paths  []Changed
}

// Changed is a path that was changed on a target.
type Changed struct {
	Path change.Path
	// Bits are those of the mark that finds what a loss of power brought back there: Extras where it may be a directory that went, Content where
	// it may have the size and mtime of what came after it.
	Bits change.Bits
}

// Changed says that the paths were changed on the target, before they are acked. What was changed a minute before that is on
// its disk by now.
func (t *Target) Changed(paths ...Changed) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	second := time.Now().Unix()
	old := second - int64(recentTime/time.Second)
	for len(t.recent) > 0 && (t.recent[0].second < old || t.recents+len(paths) > recentMax) {
		if t.recent[0].second >= old {
			t.crowded = second
		}
		t.dropRecent()
	}
	if room := recentMax - t.recents; len(paths) > room {
		paths, t.crowded = paths[:room], second
	}
	if len(paths) == 0 {
		return
	}
	if n := len(t.recent); n == 0 || t.recent[n-1].second != second {
		t.recent = append(t.recent, recent{second: second})
	}
	last := &t.recent[len(t.recent)-1]
	last.paths = append(last.paths, paths...)
	t.recents += len(paths)
	t.unsaved.recent.add(second)
}

// Surplus counts the paths of which nobody saw that they went at the source: they are not owed to go, alone or with a directory above, and what is there
// was not changed on the target within the last minute.
func (t *Target) Surplus(paths ...change.Path) int {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	recent := map[change.Path]change.Bits{}
	for _, r := range t.recent {
		for _, c := range r.paths {
			recent[c.Path] |= c.Bits
		}
	}
	goes := func(p change.Path) bool {
		if _, ok := recent[p]; ok || t.lacksJust(p) {
			return true
		}
		for at := p; at != change.Root; at = at.Parent() {
			if (t.bitsOf(at)|recent[at])&(change.WasDir|change.Extras) != 0 {
				return true
			}
		}
		return false
	}
	n := 0
	for _, p := range paths {
		if !goes(p) {
			n++
		}
	}
	return n
}

func (t *Target) dropRecent() {
	t.recents -= len(t.recent[0].paths)
	t.unsaved.recent.add(t.recent[0].second)
	t.recent = t.recent[1:]
}

// seconds are how many seconds recent tells of; one may stand there twice after the clock was set back.
func (t *Target) seconds() int {
	seconds := keys[int64]{}
	for _, r := range t.recent {
		seconds.add(r.second)
	}
	return len(seconds)
}

// Synced says that what was changed on the target before a time is on its disk.
func (t *Target) Synced(before time.Time) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for len(t.recent) > 0 && t.recent[0].second < before.Unix() {
		t.dropRecent()
	}
	if t.crowded < before.Unix() {
		t.crowded = 0
	}
}

// LookAgain owes what was changed on the target within the last minute before the last contact. It is called when the contact
// is lost: the target may have lost what it had not written to its disk. What is found there as it should be is not remembered
// anew, so that this ends.
func (t *Target) LookAgain() {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	now := time.Now()
	if n := len(t.recent); n > 0 && t.crowded >= t.recent[n-1].second-int64(recentTime/time.Second) {
		t.owe(change.Mark{Path: change.Root, Since: now, Bits: change.Tree | change.Extras})
	}
	for _, r := range t.recent {
		for _, c := range r.paths {
			if o := t.owed[c.Path]; o == nil || c.Bits&^o.Bits != 0 || o.State == InFlight {
				t.owe(change.Mark{Path: c.Path, Since: now, Bits: c.Bits})
			}
		}
	}
	t.bound()
	t.wake()
}
