package native

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/wire"
)

// content sends the content of an offer that the target wants.
func (b *batch) content(ctx context.Context, index int) error {
	b.mu.Lock()
	s := b.sent[index]
	b.sent[index].signature = nil
	b.mu.Unlock()
	var sig *delta.Signature
	if len(s.signature) > 0 {
		sig = new(delta.Signature)
		if _, err := sig.Write(s.signature); err != nil || !sig.Complete() {
			return fmt.Errorf("read the signature of %q: %w", string(s.path), errors.Join(err, wire.ErrFrame))
		}
	}
	end := &wire.ContentEnd{}
	after, err := b.stream(ctx, index, s, sig)
	var lost *lostError
	switch {
	case errors.As(err, &lost):
		return lost.error
	case err == nil && grown(s.offered, after):
		end.Whole = true
	case err == nil || errors.Is(err, errOther) || errors.Is(err, delta.ErrChanged):
		return b.again(index, s)
	case notThere(err) || ctx.Err() != nil:
		// It went: whoever removed it is told of by an event. Or nobody wants it any more.
	default:
		b.fail(s.path, fmt.Errorf("read %q: %w", string(s.path), err))
	}
	return b.c.w.Write(end)
}

// grown reports whether a file is what it was before it was read, or only longer: what was read of it is what it was then.
func grown(before, after change.Stat) bool {
	if after.Size > before.Size && after.SameFile(before) {
		return true
	}
	return before == after
}

// again offers a file anew that is not what was offered.
func (b *batch) again(index int, s sent) error {
	if err := b.c.w.Write(&wire.ContentEnd{}); err != nil {
		return err
	}
	if s.tried+1 == tries {
		b.fail(s.path, fmt.Errorf("read %q: it changes all the time while it is read", string(s.path)))
		return nil
	}
	return b.entry(s.path, s.tried+1)
}

// lostError is one of the connection.
type lostError struct{ error }

// stream sends a file, and says what it was after that.
func (b *batch) stream(ctx context.Context, index int, s sent, sig *delta.Signature) (after change.Stat, err error) {
	fd, st, err := b.looks.Open(s.path)
	if err != nil {
		return after, err
	}
	file := os.NewFile(uintptr(fd), string(s.path))
	defer file.Close()
	if !grown(s.offered, st) {
		return after, errOther
	}
	start := b.c.w.Sent()
	var at, told int64
	sum, err := delta.Diff(ctx, file, s.offered.Size, sig, func(op delta.Op) error {
		if err := b.c.w.Write(&wire.Content{Op: op}); err != nil {
			return &lostError{err}
		}
		at += op.Length + int64(len(op.Data))
		if b.Progress != nil && at-told >= progressEvery {
			told = at
			b.Progress(at)
		}
		return b.unrefused()
	})
	if err != nil {
		return after, err
	}
	if err := b.c.w.Write(&wire.Content{Op: delta.Op{Kind: delta.End, Sum: sum}}); err != nil {
		return after, &lostError{err}
	}
	if b.Progress != nil && b.large() {
		b.Progress(at)
	}
	b.mu.Lock()
	b.sent[index].bytes += b.c.w.Sent() - start
	b.mu.Unlock()
	var end unix.Stat_t
	if err := unix.Fstat(fd, &end); err != nil {
		return after, err
	}
	return change.StatOf(&end), nil
}

// progressEvery is after how many bytes of a large file somebody is told.
const progressEvery = 1 << 20

// unrefused is an error when the target has refused the batch.
func (b *batch) unrefused() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused != nil {
		return context.Canceled
	}
	return nil
}
