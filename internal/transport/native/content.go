package native

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/scan"
	"sersync/internal/wire"
)

// content sends the content of an offer that the target wants.
func (b *batch) content(ctx context.Context, index int) error {
	b.mu.Lock()
	s := b.sent[index]
	signature := s.offer.signature
	s.offer.signature = nil
	b.held -= len(signature)
	b.mu.Unlock()
	var sig *delta.Signature
	if len(signature) > 0 {
		sig = new(delta.Signature)
		if _, err := sig.Write(signature); err != nil || !sig.Complete() {
			return fmt.Errorf("read the signature of %q: %w", string(s.path), errors.Join(err, wire.ErrFrame))
		}
	}
	end := &wire.ContentEnd{}
	err := b.stream(ctx, index, s, sig)
	b.Reads.Drop(s.path)
	if err != nil {
		b.mu.Lock()
		b.sent[index].failed = true
		b.mu.Unlock()
	}
	var lost *lostError
	switch {
	case errors.As(err, &lost):
		return lost.error
	case err == nil:
		end.Whole = true
	case errors.Is(err, errMoves) || errors.Is(err, errOther) || errors.Is(err, delta.ErrChanged):
		return b.again(s)
	case scan.NotThere(err) || ctx.Err() != nil || errors.Is(err, errRefused):
		// It went: whoever removed it is told of by an event. Or nobody wants it any more.
	default:
		b.fail(s.path, fmt.Errorf("read %q: %w", string(s.path), err))
	}
	return b.c.put(end)
}

// again offers a file anew that is not what was offered.
func (b *batch) again(s sent) error {
	if err := b.c.put(&wire.ContentEnd{}); err != nil {
		return err
	}
	if s.offer.tried+1 == tries {
		b.fail(s.path, fmt.Errorf("read %q: %w", string(s.path), errMoves))
		return nil
	}
	return b.entry(s.path, change.Root, s.offer.tried+1)
}

// lostError is one of the connection.
type lostError struct{ error }

// stream sends a file. What went over is whole when there is no error.
func (b *batch) stream(ctx context.Context, index int, s sent, sig *delta.Signature) error {
	fd, st, err := b.looks.Open(s.path)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), string(s.path))
	defer file.Close()
	if st != s.offer.stat && !(longer(s.offer.stat, st) && bornBefore(fd, s.offer.at)) {
		return errOther
	}
	settle(st)
	start := b.c.sent()
	key, err := b.key()
	if err != nil {
		return err
	}
	var at, told int64
	sum, err := delta.Diff(ctx, file, s.offer.stat.Size, sig, key, func(op delta.Op) error {
		if err := b.c.put(&wire.Content{Op: op}); err != nil {
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
		return err
	}
	if err := b.c.put(&wire.Content{Op: delta.Op{Kind: delta.End, Sum: sum}}); err != nil {
		return &lostError{err}
	}
	if b.Progress != nil && b.large() {
		b.Progress(at)
	}
	b.mu.Lock()
	b.sent[index].bytes += b.c.sent() - start
	b.mu.Unlock()
	return b.proven(file, st, func() (delta.Sum, error) {
		return delta.Diff(ctx, file, s.offer.stat.Size, sig, key, func(delta.Op) error { return b.unrefused() })
	}, sum)
}

// key draws the key of a sum and sends it; nil where the target knows of none.
func (b *batch) key() (*delta.Key, error) {
	if b.c.version < wire.Keyed {
		return nil, nil
	}
	key := new(delta.Key)
	_, _ = rand.Read(key[:]) // never fails
	if err := b.c.put(&wire.Content{Op: delta.Op{Kind: delta.Start, Key: *key}}); err != nil {
		return nil, &lostError{err}
	}
	return key, nil
}

// proven reports by errMoves that a file, which was st before it was read, is no proof of what was read and had this sum. again
// reads it once more.
func (b *batch) proven(file *os.File, st change.Stat, again func() (delta.Sum, error), sum delta.Sum) error {
	var end unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &end); err != nil {
		return err
	}
	after := change.StatOf(&end)
	switch {
	case after == st:
		return nil
	case !longer(st, after):
		return errMoves
	}
	second, err := again()
	if err == nil && second != sum {
		err = errMoves
	}
	return err
}

// progressEvery is after how many bytes of a large file somebody is told.
const progressEvery = 1 << 20

// unrefused is an error when the target has refused the batch.
func (b *batch) unrefused() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused != nil {
		return errRefused
	}
	return nil
}

// errRefused: the target does nothing more of the batch.
var errRefused = errors.New("the batch was refused")
