package torture

import (
	"cmp"
	"slices"
	"sync"
)

// tally counts what was done.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func newTally() *tally { return &tally{n: map[string]int{}} }

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[what]++
}

func (t *tally) count(what string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[what]
}

func (t *tally) total() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.n {
		n += m
	}
	return n
}

// counted is how often something was done.
type counted struct {
	what string
	n    int
}

// all are the counts, the most frequent first.
func (t *tally) all() []counted {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []counted
	for what, n := range t.n {
		all = append(all, counted{what, n})
	}
	slices.SortFunc(all, func(a, b counted) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.what, b.what)) })
	return all
}
