package rsync

import (
	"context"
	"errors"
	"fmt"

	"sersync/internal/transport"
)

// errYield marks an error of the caller's own function.
type errYield struct{ error }

func (e errYield) Unwrap() error { return e.error }

// Sweep implements transport.Transport. It is one dry run; while yield blocks, rsync waits to
// write its output, and past the daemon's time-out the connection is lost.
func (t *Transport) Sweep(ctx context.Context, s transport.Sweep, yield func(transport.Difference) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	sp, err := t.spawnerFor(s.Root)
	if err != nil {
		return err
	}
	defer sp.release()
	if err := t.learnHere(ctx, sp); err != nil {
		return err
	}
	l := sweep
	switch {
	case s.Shallow && s.Extras:
		l = sweepEntriesExtras
	case s.Shallow:
		l = sweepEntries
	case s.Extras:
		l = sweepExtras
	}
	if s.Content {
		l |= hashing
	}
	old := t.old()
	e, err := t.compare(ctx, l, old, sp, s, yield)
	if err != nil {
		return err
	}
	again, reason := t.diagnose(ctx, l, sp, e, old)
	switch {
	case reason != nil:
		return reason
	case again:
		if e, err = t.compare(ctx, l, true, sp, s, yield); err != nil {
			return err
		}
	}
	return sweepError(e)
}

// compare is one dry run.
func (t *Transport) compare(ctx context.Context, l line, old bool, sp *spawner, s transport.Sweep, yield func(transport.Difference) error) (ending, error) {
	r, err := sp.startRun(&t.o, l, t.o.args(l, old, s.Exclude...))
	if err != nil {
		return ending{}, startError(err)
	}
	lim := t.limits()
	lim.silence = max(lim.silence, 2*t.o.patience(l))
	e := r.finish(ctx, listOf(l, s.Under), lim, func(line []byte) error {
		it, ok := parseItem(line)
		// --force takes what is in the way of another type, and says so; only asked for is it an extra.
		if !ok || it.deleted && !s.Extras {
			return nil
		}
		d := transport.Difference{Path: it.path, Extra: it.deleted, Missing: it.missing, Dir: it.dir}
		if it.sent {
			d.Size = it.length
		}
		if err := yield(d); err != nil {
			return errYield{err}
		}
		return nil
	})
	var stop errYield
	if errors.As(e.cause, &stop) {
		return e, stop.error
	}
	return e, nil
}

// sweepError is why a dry run did not compare everything. A file that vanished meanwhile is no
// failure; any other partial run is, for after an error at the source rsync reports no deletions.
func sweepError(e ending) error {
	if e.code == exitVanished && e.cause == nil {
		return nil
	}
	c := newClassifier(&Options{}, "", sweep, nil)
	if e.code == exitPartial && e.cause == nil {
		return &transport.Error{Kind: transport.Broken, Err: fmt.Errorf("compare incompletely: %w", e.err())}
	}
	e.began = false // a dry run leaves nothing at work over there
	return c.verdict(e, 0, &transport.Report{})
}
