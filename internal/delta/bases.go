package delta

import (
	"context"
	"io"
)

// baseReader reads the bases for Sign ahead of it, as reading takes about as long as signing.
type baseReader struct {
	ctx    context.Context
	block  int
	pieces chan piece
	// free are the buffers that nobody uses.
	free chan []byte
	// done is closed at the end, after err was set.
	done chan struct{}
	err  error
}

// A piece is a number of blocks of zeros, or the bytes of whole blocks and of the short one at the end of a base.
type piece struct {
	zeros int64
	bytes []byte
}

func newBaseReader(ctx context.Context, block int, total int64) *baseReader {
	r := &baseReader{
		ctx: ctx, block: block,
		pieces: make(chan piece, 1), free: make(chan []byte, 2), done: make(chan struct{}),
	}
	for range cap(r.free) {
		r.free <- make([]byte, min(max(readAhead, int64(block)), total))
	}
	return r
}

// run reads as much of the bases as may be signed.
func (r *baseReader) run(bases []Base) {
	defer close(r.done)
	defer close(r.pieces)
	left := int64(maxBlocks)
	for _, b := range bases {
		size := b.Size
		if blocks(size, r.block) > left {
			size = left * int64(r.block)
		}
		left -= blocks(size, r.block)
		if r.err = r.base(b.File, size); r.err != nil {
			return
		}
	}
}

func (r *baseReader) base(file io.ReaderAt, size int64) error {
	for offset := int64(0); offset < size; {
		if n := (holeEnd(file, offset, size) - offset) / int64(r.block); n > 0 {
			if err := r.send(piece{zeros: n}); err != nil {
				return err
			}
			offset += n * int64(r.block)
			continue
		}
		var p []byte
		select {
		case p = <-r.free:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
		p = p[:min(int64(cap(p)), size-offset)]
		if err := readFull(file, p, offset); err != nil {
			return err
		}
		if err := r.send(piece{bytes: p}); err != nil {
			return err
		}
		offset += int64(len(p))
	}
	return nil
}

func (r *baseReader) send(p piece) error {
	select {
	case r.pieces <- p:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// readFull reads all of p, which lies within the size that the file had.
func readFull(file io.ReaderAt, p []byte, offset int64) error {
	n, err := file.ReadAt(p, offset)
	switch {
	case n == len(p):
		return nil
	case err == io.EOF:
		return ErrChanged
	}
	return err
}
