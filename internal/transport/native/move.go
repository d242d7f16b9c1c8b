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

// Move implements transport.Mover: each directory is renamed there, with all that the target has in it. What the source does not have there
// is for the comparison to find.
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
		seen, err := b.looks.Look(m.To)
		if err != nil || seen.At != m.To || !seen.Stat.IsDir() {
			continue
		}
		b.mu.Lock()
		b.sent = append(b.sent, sent{path: m.To})
		b.mu.Unlock()
		if err := b.c.put(&wire.Move{From: m.From, To: m.To, Clear: m.Clear, Attr: wire.AttrOf(seen.Stat)}); err != nil {
			return err
		}
	}
	if err := errors.Join(b.c.put(&wire.End{}), b.c.flush()); err != nil {
		return err
	}
	_, err := await(context.WithoutCancel(ctx), b.c, b.done)
	return err
}
