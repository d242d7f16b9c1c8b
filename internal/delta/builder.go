package delta

import (
	"context"
	"fmt"
	"io"
	"os"
)

// page is the smallest hole that is left in a file, at a multiple of it.
const page = 4 << 10

// Output is the new file, which nobody sees, and which is empty or a base that is in place. An *os.File is one.
type Output interface {
	io.WriterAt
	Truncate(size int64) error
}

// Builder makes a file of operations, whoever sent them: nothing is read beyond a base nor written beyond the size. It
// gathers what is small, shares blocks with a base where the file system can, and leaves out pages of zeros, so that what
// has holes at the source has them here.
type Builder struct {
	out   Output
	size  int64
	bases []Base
	sum   *summer // nil before the first operation
	clone cloner
	// old is the end of what the file held before: what is to be zero up to there has to be made so.
	old int64
	// at is where the content goes on that filled bytes of the buffer hold.
	at     int64
	buffer []byte
	filled int
	// free are the buffers for what is read ahead; nil before the first one is needed.
	free chan []byte
}

// direct is from how many bytes on data is written as it came, where nothing was gathered.
const direct = 64 << 10

// NewBuilder is for a file of this size, which the caller has found fit to be stored.
func NewBuilder(out Output, size int64, bases []Base) *Builder {
	b := &Builder{out: out, size: size, bases: bases}
	b.clone.out, _ = out.(*os.File)
	if i := inPlace(bases); i >= 0 {
		b.old = bases[i].Size
	}
	return b
}

// Apply does one operation. The file is whole when it has done the End; an operation that cannot be is ErrMalformed, and a
// file that is not the sender's ErrSum. After an error nothing more is applied.
func (b *Builder) Apply(op Op) error {
	if op.Kind != Start && b.sum == nil {
		b.sum = newSummer(b.size, nil)
	}
	var err error
	switch op.Kind {
	case Start:
		err = b.start(op.Key)
	case Data:
		err = b.data(op.Data)
	case Copy:
		err = b.copy(op)
	case Hole:
		err = b.hole(op.Length)
	case End:
		err = b.end(op.Sum)
	default:
		err = fmt.Errorf("operation of kind %d: %w", op.Kind, ErrMalformed)
	}
	if err != nil {
		return fmt.Errorf("build file at %d: %w", b.offset(), err)
	}
	return nil
}

func (b *Builder) start(key Key) error {
	if b.sum != nil {
		return fmt.Errorf("start of a file that has begun: %w", ErrMalformed)
	}
	b.sum = newSummer(b.size, &key)
	return nil
}

// offset is how much there is of the file.
func (b *Builder) offset() int64 { return b.at + int64(b.filled) }

// fits says whether the file may go on with so many bytes.
func (b *Builder) fits(n int64) error {
	if n <= 0 || n > b.size-b.offset() {
		return fmt.Errorf("%d bytes in a file of %d: %w", n, b.size, ErrMalformed)
	}
	return nil
}

func (b *Builder) data(p []byte) error {
	if err := b.fits(int64(len(p))); err != nil {
		return err
	}
	return b.add(p)
}

// add goes on with p.
func (b *Builder) add(p []byte) error {
	if b.filled == 0 && len(p) >= direct {
		return b.put(p)
	}
	for len(p) > 0 {
		n := copy(b.room(), p)
		p = p[n:]
		if err := b.fill(n); err != nil {
			return err
		}
	}
	return nil
}

func (b *Builder) copy(op Op) error {
	if err := b.fits(op.Length); err != nil {
		return err
	}
	if op.Length > MaxCopy || op.Base < 0 || op.Base >= len(b.bases) {
		return fmt.Errorf("copy of %d bytes of base %d of %d: %w", op.Length, op.Base, len(b.bases), ErrMalformed)
	}
	base := b.bases[op.Base]
	if op.Offset < 0 || op.Offset > base.Size || op.Length > base.Size-op.Offset {
		return fmt.Errorf("copy of %d bytes at %d of a base of %d: %w", op.Length, op.Offset, base.Size, ErrMalformed)
	}
	if base.InPlace {
		return b.copyInPlace(base, op)
	}
	before, shared := b.clone.split(base.File, op.Offset, b.offset(), op.Length)
	if err := b.read(base, op.Offset, before); err != nil {
		return err
	}
	if shared > 0 {
		if err := b.share(base, op.Offset+before, shared); err != nil {
			return err
		}
	}
	return b.read(base, op.Offset+before+shared, op.Length-before-shared)
}

// copyInPlace leaves what is in its place, and moves what is behind it.
func (b *Builder) copyInPlace(base Base, op Op) error {
	switch {
	case op.Offset < b.offset():
		return fmt.Errorf("copy of what was at %d of the base in place: %w", op.Offset, ErrMalformed)
	case op.Offset > b.offset():
		return b.read(base, op.Offset, op.Length)
	}
	if err := b.flush(); err != nil {
		return err
	}
	return b.keep(base.File, op.Length)
}

// share goes on with n bytes at offset of a base, which the new file shares from now on, if it can.
func (b *Builder) share(base Base, offset, n int64) error {
	if err := b.flush(); err != nil {
		return err
	}
	if !b.clone.clone(base.File, offset, b.at, n) {
		return b.read(base, offset, n)
	}
	// What the sum is made of is what the file has, whatever the base is by now.
	return b.keep(b.clone.out, n)
}

// keep goes on with n bytes that out, which is the Output, has here already.
func (b *Builder) keep(out io.ReaderAt, n int64) error {
	for end := b.at + n; b.at < end; {
		p := b.room()
		p = p[:min(int64(len(p)), end-b.at)]
		if err := readFull(out, p, b.at); err != nil {
			return err
		}
		b.at += int64(len(p))
		b.sum.add(p)
	}
	return nil
}

// read goes on with n bytes at offset of a base: with what is more than a buffer while the next one is read.
func (b *Builder) read(base Base, offset, n int64) error {
	if n > 2*MaxData {
		return b.readAhead(base, offset, n)
	}
	for end := offset + n; offset < end; {
		p := b.room()
		p = p[:min(int64(len(p)), end-offset)]
		if err := readFull(base.File, p, offset); err != nil {
			return fmt.Errorf("read base at %d: %w", offset, err)
		}
		offset += int64(len(p))
		if err := b.fill(len(p)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Builder) readAhead(base Base, offset, n int64) error {
	if b.free == nil {
		b.free = newBuffers(MaxData)
	}
	// Up to where writes are aligned, and from there on as much at a time.
	first := MaxData - b.offset()%MaxData
	r := startReader(context.Background(), b.free, func(r *baseReader) error {
		for most, end := first, offset+n; offset < end; most = MaxData {
			n, err := r.bytes(base.File, offset, min(most, end-offset))
			if err != nil {
				return fmt.Errorf("read base at %d: %w", offset, err)
			}
			offset += n
		}
		return nil
	})
	var err error
	for piece := range r.pieces {
		err = b.add(piece.bytes)
		r.took(piece)
		if err != nil {
			break
		}
	}
	return r.stop(err)
}

func (b *Builder) hole(n int64) error {
	if err := b.fits(n); err != nil {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	if b.at < b.old {
		if err := punch(b.out, b.at, min(n, b.old-b.at)); err != nil {
			return err
		}
	}
	b.sum.hole(b.at, n)
	b.at += n
	return nil
}

func (b *Builder) end(sum Sum) error {
	if b.offset() != b.size {
		return fmt.Errorf("end of a file of %d: %w", b.size, ErrMalformed)
	}
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.out.Truncate(b.size); err != nil {
		return err
	}
	if b.sum.sum() != sum {
		return ErrSum
	}
	return nil
}

// room is what is free of the buffer, up to a multiple of its size in the file, so that writes are aligned.
func (b *Builder) room() []byte {
	if b.buffer == nil {
		b.buffer = make([]byte, min(MaxData, b.size))
	}
	return b.buffer[b.filled:min(int64(len(b.buffer)), MaxData-b.at%MaxData)]
}

// fill counts n bytes more of the buffer, and writes it when it is full.
func (b *Builder) fill(n int) error {
	b.filled += n
	if len(b.room()) > 0 {
		return nil
	}
	return b.flush()
}

// flush writes what the buffer holds.
func (b *Builder) flush() error {
	p := b.buffer[:b.filled]
	b.filled = 0
	return b.put(p)
}

// put goes on with p, which goes into the sum and, but for pages of zeros, into the file.
func (b *Builder) put(p []byte) error {
	b.sum.add(p)
	at := b.at
	b.at += int64(len(p))
	// from..to is what is to be written.
	from, to := 0, 0
	for to < len(p) {
		n := min(page-int((at+int64(to))%page), len(p)-to)
		if n == page && at+int64(to) >= b.old && zero(p[to:to+n]) {
			if err := b.write(p[from:to], at+int64(from)); err != nil {
				return err
			}
			from = to + n
		}
		to += n
	}
	return b.write(p[from:], at+int64(from))
}

func (b *Builder) write(p []byte, at int64) error {
	if len(p) == 0 {
		return nil
	}
	_, err := b.out.WriteAt(p, at)
	return err
}
