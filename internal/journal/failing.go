package journal

import (
	"cmp"
	"slices"
)

// Failing are the rows of paths that failed and are not there yet, oldest first, at the most max, and how many others
// there are. With all, they are everything that is owed but what a brake holds.
func (t *Target) Failing(max int, all bool) (rows []Owed, more int) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	total := 0
	add := func(o Owed) {
		total++
		if rows = append(rows, o); len(rows) >= 2*max {
			rows = oldest(rows, max)
		}
	}
	for _, o := range t.owed {
		if o.State != Braked && (all || o.Tries > 0) {
			add(o.Owed)
		}
	}
	for e := t.next; all && e != nil; e = e.next {
		if t.owed[e.path] == nil {
			add(Owed{Mark: e.mark()})
		}
	}
	rows = oldest(rows, max)
	return rows, total - len(rows)
}

// oldest keeps the oldest max rows, in their order.
func oldest(rows []Owed, max int) []Owed {
	slices.SortFunc(rows, func(a, b Owed) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Path, b.Path))
	})
	return rows[:min(max, len(rows))]
}
