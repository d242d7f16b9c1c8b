package delta

import (
	"context"
	"io"
)

// baseReader reads bases while what it read is signed, or written: both take about as long.
type baseReader struct {
	ctx    context.Context
	cancel context.CancelFunc
	pieces chan piece
	// free are the buffers that nobody uses.
	free chan []byte
	// done is closed at the end, after err was set.
	done chan struct{}
	err  error
}

// A piece is a number of blocks of zeros, or bytes, which are in a buffer: to be signed, those of whole blocks and of the short one at
// the end of a base.
type piece struct {
	zeros         int64
	bytes, buffer []byte
}

// slack is how much longer a buffer is than what is read into it.
const slack = 128

// apart is the part of a buffer into which to read what is at offset of a file. A copy takes two to three times as long with some
// processors (AMD, up to Zen 4) when it goes to a little behind where it comes from, counted within a page.
func apart(buffer []byte, offset int64) []byte {
	if offset%page > page-64 {
		return buffer[slack:]
	}
	return buffer[:len(buffer)-slack]
}

// newBuffers are for a baseReader: its pieces have up to so many bytes.
func newBuffers(size int64) chan []byte {
	free := make(chan []byte, 2)
	for range cap(free) {
		free <- make([]byte, size+slack)
	}
	return free
}

// startReader has read send pieces until it returns. What it finds out is known once stop was called.
func startReader(ctx context.Context, free chan []byte, read func(*baseReader) error) *baseReader {
	r := &baseReader{pieces: make(chan piece, 1), free: free, done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.done)
		defer close(r.pieces)
		r.err = read(r)
	}()
	return r
}

// stop ends the reading and gives back the buffers. Where err, which is that of whoever used the pieces, is nil, it is that of the reading.
func (r *baseReader) stop(err error) error {
	r.cancel()
	for p := range r.pieces {
		r.took(p)
	}
	if <-r.done; err == nil {
		err = r.err
	}
	return err
}

// took gives back the buffer of a piece.
func (r *baseReader) took(p piece) {
	if p.buffer != nil {
		r.free <- p.buffer
	}
}

// all reads as much of the bases as may be signed.
func (r *baseReader) all(bases []Base, block int) error {
	left := int64(maxBlocks)
	for _, b := range bases {
		size := b.Size
		if blocks(size, block) > left {
			size = left * int64(block)
		}
		left -= blocks(size, block)
		if err := r.base(b.File, size, int64(block)); err != nil {
			return err
		}
	}
	return nil
}

func (r *baseReader) base(file io.ReaderAt, size, block int64) error {
	for offset := int64(0); offset < size; {
		if n := (holeEnd(file, offset, size) - offset) / block; n > 0 {
			if err := r.send(piece{zeros: n}); err != nil {
				return err
			}
			offset += n * block
			continue
		}
		n, err := r.bytes(file, offset, size-offset)
		if err != nil {
			return err
		}
		offset += n
	}
	return nil
}

// bytes sends up to so many bytes at offset, and says how many.
func (r *baseReader) bytes(file io.ReaderAt, offset, most int64) (int64, error) {
	var p piece
	select {
	case p.buffer = <-r.free:
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
	p.bytes = apart(p.buffer, offset)
	p.bytes = p.bytes[:min(int64(len(p.bytes)), most)]
	err := readFull(file, p.bytes, offset)
	if err == nil {
		err = r.send(p)
	}
	if err != nil {
		r.free <- p.buffer
	}
	return int64(len(p.bytes)), err
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
