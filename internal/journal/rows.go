package journal

import "slices"

// List are the paths in any of the states, oldest first, at the most max of them, and how many there are.
func (t *Target) List(max int, states ...State) (rows []Owed, count int) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for _, o := range t.owed {
		if slices.Contains(states, o.State) {
			rows = append(rows, o.Owed)
		}
	}
	return oldest(rows, max), len(rows)
}

// Retry makes everything ready that failed, dead letters too, and returns how many paths that are.
func (t *Target) Retry() (count int) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for _, o := range t.owed {
		if o.State == Retry || o.State == Dead {
			o.State = Ready
			t.unsaved.owed.add(o.Path)
			t.enqueue(o)
			count++
		}
	}
	t.wake()
	return count
}

// Forget forgets dead letters: what the rows say and the target lacks does not matter. A new mark owes the path anew.
func (t *Target) Forget(rows ...Owed) (forgotten []Owed) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for _, r := range rows {
		if o := t.owed[r.Path]; o != nil && o.State == Dead && o.Seq == r.Seq {
			t.drop(o)
			forgotten = append(forgotten, r)
		}
	}
	return forgotten
}
