package native

import (
	"context"
	"errors"
	"fmt"
	"os"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

var _ transport.Mover = (*Transport)(nil)

// Move implements transport.Mover: each is renamed there, a directory with all that the target has in it. What the source does not have there
// is for the comparison to find. Where a filter drops something, a directory goes only as a whole, when nothing is in it that the source does not know.
func (t *Transport) Move(ctx context.Context, root *os.File, moves []transport.Move) ([]bool, error) {
	done := make([]bool, len(moves))
	if err := ctx.Err(); err != nil {
		return done, fmt.Errorf("move: %w", err)
	}
	report, err := t.exchange(ctx, transport.Batch{Op: transport.Update, Root: root}, func(b *batch) error { return b.moves(ctx, moves) })
	if err != nil {
		return done, err
	}
	placed := map[change.Path]bool{}
	for _, p := range report.Changed {
		placed[p] = true
	}
	for i, m := range moves {
		done[i] = placed[m.To]
	}
	return done, nil
}

// moves sends moves and waits for their end.
func (b *batch) moves(ctx context.Context, moves []transport.Move) error {
	b.c.begin()
	if err := b.c.put(&wire.Begin{Op: transport.Update, Day: b.day}); err != nil {
		return err
	}
	for _, m := range moves {
		// The directory that it goes into is there first.
		if err := b.above(m.To); err != nil {
			return err
		}
		like, ok := b.like(m)
		if !ok {
			continue
		}
		ask := wire.Move{From: m.From, To: m.To, Clear: m.Clear, Exact: m.Exact, Attr: wire.AttrOf(like)}
		if m.Exact && !list(&ask, m) {
			continue
		}
		b.mu.Lock()
		b.sent = append(b.sent, sent{path: m.To})
		b.mu.Unlock()
		if err := b.c.put(&ask); err != nil {
			return err
		}
	}
	if err := errors.Join(b.c.put(&wire.End{}), b.c.flush()); err != nil {
		return err
	}
	_, err := await(context.WithoutCancel(ctx), b.c, b.done)
	return err
}

// like is what is moved; false when the source has something else there by now.
func (b *batch) like(m transport.Move) (change.Stat, bool) {
	seen, err := b.looks.Look(m.To)
	switch {
	case err != nil || seen.At != m.To:
		return change.Stat{}, false
	case m.File.Exists():
		return m.File, seen.Stat.SameFile(m.File)
	}
	return seen.Stat, seen.Stat.IsDir()
}

// list says which names may be below a directory that is moved; false when they are too many.
func list(ask *wire.Move, m transport.Move) bool {
	size, maybe := 0, make(map[change.Path]struct{}, len(m.Maybe))
	for _, p := range m.Maybe {
		maybe[p] = struct{}{}
		p = p[len(m.To)+1:]
		size += len(p)
		ask.Maybe = append(ask.Maybe, p)
	}
	for _, p := range m.Known {
		if _, ok := maybe[p]; !ok {
			ask.Names.Add(p[len(m.To)+1:])
		}
	}
	return len(ask.Maybe) <= wire.MaxMaybe && size <= wire.MaxMaybeBytes
}
