package rsync

import (
	"maps"
	"slices"
	"sync"
	"time"

	"sersync/internal/change"
)

const (
	// standsFor is how long a directory of the target is taken for one after it was one: whoever puts a file in its place does so behind our back.
	standsFor = time.Minute
	// standingMax bounds the directories that are known.
	standingMax = 4096
)

// standing are directories that were directories on the target a moment ago, with when. What is above a file goes along with it, and a file
// that is in the place of such a directory there would be gone.
type standing struct {
	mu sync.Mutex
	at map[change.Path]time.Time // guarded by mu
}

// unsure are the directories that hold paths and may be something else on the target.
func (s *standing) unsure(paths []change.Path) []change.Path {
	s.mu.Lock()
	defer s.mu.Unlock()
	unsure := map[change.Path]struct{}{}
	for _, p := range paths {
		dir := p.Parent()
		if at, known := s.at[dir]; dir != change.Root && (!known || time.Since(at) > standsFor) {
			unsure[dir] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(unsure))
}

// stand notes that directories are there, and so are those above.
func (s *standing) stand(dirs []change.Path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, dir := range dirs {
		for ; dir != change.Root && s.at[dir] != now; dir = dir.Parent() {
			if s.at == nil || len(s.at) >= standingMax {
				s.at = map[change.Path]time.Time{}
			}
			s.at[dir] = now
		}
	}
}

// gone notes that something else than directories may be at paths, and nothing below.
func (s *standing) gone(paths []change.Path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.at) == 0 {
		return
	}
	at := make(map[change.Path]struct{}, len(paths))
	for _, p := range paths {
		at[p] = struct{}{}
	}
	maps.DeleteFunc(s.at, func(dir change.Path, _ time.Time) bool {
		for ; dir != change.Root; dir = dir.Parent() {
			if _, is := at[dir]; is {
				return true
			}
		}
		return false
	})
}

// forget forgets all.
func (s *standing) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = nil
}
