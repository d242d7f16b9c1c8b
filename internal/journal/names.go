package journal

import (
	"strings"

	"sersync/internal/change"
)

// namesMax bounds the files of which a target keeps a name under which they were acked last.
const namesMax = 1 << 16

// named is a name under which a target got a file, with the row that the name had. Where it has another one by now, what was there went meanwhile.
type named struct {
	path change.Path
	row  *row
}

// Name is a name of a file.
type Name struct {
	Path change.Path
	File change.Inode
}

// Got notes names of files with several that were acked.
func (t *Target) Got(names ...Name) {
	if len(names) == 0 {
		return
	}
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	for _, n := range names {
		r := t.j.index.find(n.Path)
		if r == nil {
			continue
		}
		if t.named == nil || len(t.named) >= namesMax {
			t.named = map[change.Inode]named{}
		}
		t.named[n.File] = named{n.Path, r}
	}
}

// Has is a name of the file at p, which is st, under which the target has it as it is, as far as is known; empty when none is. kept says of a name
// whether targets get it. It is the one that was acked last, p itself perhaps. That may be owed again, but not by its content: by its size, time and
// attributes the target knows whether it is as it should be. Else it is another name of which the target is owed nothing, or one that waits for its turn
// and may merely be owed again. While a target is compared it may lack what it is not owed yet: so it is the one of which a comparison tells first. When
// that is before p, the target has it.
func (t *Target) Has(p change.Path, st change.Stat, kept func(change.Path) bool) (name change.Path) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	is := func(q change.Path, r *row) bool { return r.stat.Renamed(st) && kept(q) }
	last, known := t.named[st.Inode()]
	if known && t.j.index.find(last.path) == last.row && t.plain(last.path) && is(last.path, last.row) {
		return last.path
	}
	names := t.j.index.links[st.Inode()]
	for _, may := range []func(change.Path) bool{
		func(q change.Path) bool { return !t.lacksJust(q) },
		func(q change.Path) bool {
			o := t.owed[q]
			return t.plain(q) && (o == nil || o.State == Ready && o.Tries == 0)
		},
	} {
		for q := range names {
			if q != p && (name == "" || toldBefore(q, name)) && may(q) && is(q, t.j.index.find(q)) {
				name = q
			}
		}
		if name != "" {
			break
		}
	}
	return name
}

// plain reports whether what is owed of a name of a file, if anything, says nothing of other content.
func (t *Target) plain(p change.Path) bool { return t.bitsOf(p)&^change.Live == 0 }

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
