package journal

import (
	"strings"

	"sersync/internal/change"
)

// Has is another name of the file at p, which is st, under which the target has it as it is: it is owed nothing there. It is empty when none
// is known. kept says of a name whether targets get it. While a target is compared it may lack what it is not owed yet: so it is last, a name that
// was acked, or else the one of which a comparison tells first. When that is before p, the target has it.
func (t *Target) Has(p change.Path, st change.Stat, last change.Path, kept func(change.Path) bool) (name change.Path) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	names := t.j.index.links[st.Inode()]
	has := func(q change.Path) bool {
		return q != p && !t.owes(q) && t.j.index.find(q).stat.Renamed(st) && kept(q)
	}
	if _, known := names[last]; known && has(last) {
		return last
	}
	for q := range names {
		if (name == "" || toldBefore(q, name)) && has(q) {
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

// toldBefore reports whether a comparison tells of p before it does of q: of all entries of a directory by name, then of what is below the
// directories among them.
func toldBefore(p, q change.Path) bool {
	for {
		a, below, deepP := strings.Cut(string(p), "/")
		b, under, deepQ := strings.Cut(string(q), "/")
		switch {
		case deepP != deepQ:
			return deepQ
		case a != b || !deepP:
			return a < b
		}
		p, q = change.Path(below), change.Path(under)
	}
}
