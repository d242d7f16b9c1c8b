package session

import (
	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/wire"
)

// placeMoves does all moves of the batch, which may be chains and rings. One that cannot be done is no failure.
func (b *batch) placeMoves() error {
	if len(b.moves) == 0 || b.c.s.o.RefuseRemovals || b.c.s.o.Exclude.Any() {
		return nil // what must not be removed would go from where it is
	}
	froms := map[change.Path]bool{}
	for _, m := range b.moves {
		froms[m.From] = true
	}
	var moves []apply.Move
	var indexes []int
	for _, m := range b.moves {
		if b.there(&m.Move) && (!m.Exact || b.nothingElse(&m.Move)) && (!m.Clear || froms[m.To] || b.cleared(m.To)) {
			moves = append(moves, apply.Move{From: m.From, To: m.To, Over: m.Attr.IsRegular() && b.replaces(m.To)})
			indexes = append(indexes, m.index)
		}
	}
	for i, err := range b.c.s.tree.Rename(moves) {
		if err != nil {
			continue
		}
		b.changed = true
		if err := b.c.put(&wire.Result{Index: indexes[i], Outcome: wire.Changed}); err != nil {
			return err
		}
	}
	return nil
}

// replaces reports whether a file may be renamed over what is at p: with a trash, what is no file goes there, and the new one is sent.
func (b *batch) replaces(p change.Path) bool {
	if b.Day == "" {
		return true
	}
	st, err := b.c.s.tree.Look(p)
	return err == nil && (!st.Exists() || st.IsRegular())
}

// there reports whether what is to be moved is there: a directory, or the same file.
func (b *batch) there(m *wire.Move) bool {
	st, err := b.c.s.tree.Look(m.From)
	if err != nil {
		return false
	}
	differs, err := b.c.s.tree.Same(m.From, st, attrOf(&wire.Entry{Attr: m.Attr}))
	return err == nil && differs&apply.Type == 0 && (m.Attr.IsDir() || differs&(apply.Content|apply.Mtime|apply.Target) == 0)
}

// nothingElse reports whether all that is in a directory is what the sender says: what it does not know stays where it is.
func (b *batch) nothingElse(m *wire.Move) bool {
	maybe := make(map[change.Path]struct{}, len(m.Maybe))
	for _, p := range m.Maybe {
		maybe[p] = struct{}{}
	}
	var names wire.Names
	err := b.c.s.tree.Below(m.From, func(p change.Path) error {
		if _, ok := maybe[p]; !ok {
			names.Add(p)
		}
		return nil
	})
	return err == nil && names == m.Names
}

// cleared removes what is where something else is to be moved to.
func (b *batch) cleared(p change.Path) bool {
	done, err := b.c.s.away(p, b.Day)
	b.changed = b.changed || done.Changed
	return err == nil
}
