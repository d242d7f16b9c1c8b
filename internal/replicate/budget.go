package replicate

import (
	"fmt"
	"time"
)

// RemovalBudget bounds by how much the tree of a source may shrink within a window before its removals are held. What
// counts is the tree and not the removals: a rename, or a deployment that puts back as much as it takes, costs nothing. Nor
// does what is removed within a minute of its making.
// The zero value of a bound is its default.
type RemovalBudget struct {
	// Off bounds nothing.
	Off bool
	// Paths and Percent (of the tree) must both be exceeded. Defaults 1000 and 20.
	Paths, Percent int
	// Most is the percentage of a tree of smallTree paths or more that is too much by itself. Default 50; 100 is never.
	Most int
	// Window is how long the size that the tree had is remembered. Default 1 min.
	Window time.Duration
}

// smallTree is the size below which only the first bound holds: half of three files is no accident.
const smallTree = 100

func (b RemovalBudget) complete() RemovalBudget {
	b.Paths = orElse(b.Paths, 1000)
	b.Percent = orElse(b.Percent, 20)
	b.Most = orElse(b.Most, 50)
	b.Window = orElse(b.Window, time.Minute)
	return b
}

// exceeded reports whether gone of had paths are too many.
func (b RemovalBudget) exceeded(had, gone int) bool {
	switch {
	case b.Off:
		return false
	case gone > b.Paths && 100*gone > b.Percent*had:
		return true
	}
	return had >= smallTree && 100*gone > b.Most*had
}

func (b RemovalBudget) String() string {
	return fmt.Sprintf("%d and %d %%, or %d %%", b.Paths, b.Percent, b.Most)
}

// size is how many paths the index held at a time.
type size struct {
	at    time.Time
	paths int
	// gone counts the paths that went by then and had been there for a while.
	gone uint64
}

// lost is how many paths went since then, now that there are paths and gone. What came and went meanwhile, and what went
// and came back, is not lost.
func (s size) lost(paths int, gone uint64) int {
	return min(s.paths-paths, int(gone-s.gone))
}

// spending is what a source spent of its budget. It lives under the lock of its brake.
type spending struct {
	// sizes of the last window, each smaller than the one before it, so that the first is the highest.
	sizes []size
	// over is since when the budget is exceeded; zero when it is not.
	over time.Time
	// had is the size of the tree when the brake was engaged; 0 when it is not known.
	had int
}

// sample notes the size of the tree and returns the highest that it had within the window.
func (s *spending) sample(paths int, gone uint64, now time.Time, window time.Duration) (had size) {
	if !s.over.IsZero() {
		// While it is not decided what became of a tree, its size is not forgotten.
		return s.sizes[0]
	}
	for len(s.sizes) > 0 && s.sizes[len(s.sizes)-1].paths <= paths {
		s.sizes = s.sizes[:len(s.sizes)-1]
	}
	for len(s.sizes) > 0 && now.Sub(s.sizes[0].at) > window {
		s.sizes = s.sizes[1:]
	}
	// A few for each window are enough.
	if n := len(s.sizes); n == 0 || now.Sub(s.sizes[n-1].at) > window/60 {
		s.sizes = append(s.sizes, size{now, paths, gone})
	}
	return s.sizes[0]
}

// verdict says what becomes of removals.
type verdict uint8

const (
	allowed verdict = iota
	// undecided: what went may be on its way to another name.
	undecided
	held
)

const (
	// unpaired is how long the other half of a rename may be on its way from the kernel.
	unpaired = 250 * time.Millisecond
	// judgeAgain is when removals that are undecided are judged again.
	judgeAgain = 100 * time.Millisecond
)

// sample notes the size of the tree.
func (s *session) sample() {
	window := s.src.options().RemovalBudget.Window
	b := &s.src.brake
	b.mu.Lock()
	defer b.mu.Unlock()
	paths, gone := s.src.journal.Census()
	b.spent.sample(paths, gone, time.Now(), window)
}

// judge engages the brake when the tree shrank by more than the budget. What was renamed is back in the index when it
// was walked, so the walks are waited for.
func (s *session) judge() verdict {
	opts := s.src.options()
	now := time.Now()
	b := &s.src.brake
	b.mu.Lock()
	paths, gone := s.src.journal.Census()
	had := b.spent.sample(paths, gone, now, opts.RemovalBudget.Window)
	lost := had.lost(paths, gone)
	if opts.NoRemovals || !opts.RemovalBudget.exceeded(had.paths, lost) {
		b.spent.over = time.Time{}
		b.mu.Unlock()
		return allowed
	}
	if b.spent.over.IsZero() {
		b.spent.over = now
	}
	over := b.spent.over
	since, walking := s.walks.oldest()
	// New directories all the time do not put it off for ever. Where nobody watches any more, nothing will be walked.
	waits := now.Sub(over) < unpaired || walking && since.Before(over.Add(opts.RemovalBudget.Window))
	if waits && !s.ended() {
		b.mu.Unlock()
		return undecided
	}
	b.spent.had = had.paths
	b.mu.Unlock()
	b.engage(s.src.log, removalBudget, fmt.Sprintf("%d of %d paths of the source went within %v; the budget is %v",
		lost, had.paths, opts.RemovalBudget.Window, opts.RemovalBudget))
	return held
}

// ended reports whether the intake has ended: nothing that happens is noticed any more.
func (s *session) ended() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// regained reports whether removals are held by the budget, and most of what had gone is back.
func (s *session) regained() bool {
	budget := s.src.options().RemovalBudget
	_, walking := s.walks.oldest()
	b := &s.src.brake
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := b.spent.had - s.src.journal.Indexed()
	// Half of what would be too much, so that it does not come and go.
	return b.budget != nil && b.spent.had > 0 && !walking && !budget.exceeded(b.spent.had, 2*gone)
}
