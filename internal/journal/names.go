package journal

import "sersync/internal/change"

// Has is another name of the file at p, which is st, under which the target has it as it is: it is owed nothing there. It is empty when none
// is known. kept says of a name whether targets get it.
func (t *Target) Has(p change.Path, st change.Stat, kept func(change.Path) bool) (name change.Path) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for _, q := range t.j.index.names(p, st) {
		if (name == "" || q < name) && !t.owes(q) && t.j.index.find(q).stat.Renamed(st) && kept(q) {
			name = q
		}
	}
	return name
}

// owes reports whether a path is owed by itself.
func (t *Target) owes(p change.Path) bool {
	e := t.j.entries[p]
	return t.owed[p] != nil || e != nil && e.place > t.cursor
}
