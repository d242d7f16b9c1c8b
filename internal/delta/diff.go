package delta

import (
	"context"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

const (
	// blind is the block where there is no signature: what must be zero to be a hole.
	blind = 64 << 10
	// maxRun bounds a Copy, so that the receiver works while the sender goes on.
	maxRun = 4 << 20
	// eager is for how many blocks without a match each byte is tried as the beginning of one. Then only one block in
	// sparse is, until there is a match again: a run of sparse+1 blocks is still found, at the cost of sparse blocks.
	eager  = 128
	sparse = 8
	// A rolling sum that proves false costs a block's XXH3. This many bytes may be wasted so, and this many for each
	// byte of the file; so the worst file that somebody can make costs no more than a constant a byte.
	wasteFree = 64 << 20
	wasteRate = 8
)

// Diff reads the first size bytes of file once and emits what makes them of the bases of the signature, which is complete,
// or nil where there are none. The key, nil for none, is that of their sum, which it returns. The Start with the one and the End
// with the other are the caller's to emit: the End not if the file changed meanwhile in a way that matters to it. An error of
// emit ends it.
func Diff(ctx context.Context, file io.ReaderAt, size int64, sig *Signature, key *Key, emit func(Op) error) (Sum, error) {
	block := blind
	if sig != nil {
		if !sig.Complete() {
			return Sum{}, fmt.Errorf("compare with a signature that is not complete: %w", ErrMalformed)
		}
		sig.index()
		block = sig.block
		if sig.blocks == 0 {
			sig = nil
		}
	}
	d := differ{window: newWindow(ctx, file, size, block, newSummer(size, key)), sig: sig, emit: emit, want: -1}
	if sig != nil {
		d.want = 0
	}
	if err := d.run(); err != nil {
		return Sum{}, err
	}
	return d.sum.sum(), nil
}

type differ struct {
	*window
	sig  *Signature // nil: all is sent
	emit func(Op) error
	// last is a Copy, or the Hole at holeAt, that may still grow. All that was not sent comes after it.
	last   Op
	holeAt int64
	// want is the block that follows the last match, or -1.
	want int
	// missed is how much went by since the last match, wasted how much was hashed in vain.
	missed, wasted int64
}

func (d *differ) run() error {
	for {
		if len(d.rest()) < d.block && !d.atEnd() {
			if err := d.refill(); err != nil {
				return err
			}
		}
		rest := d.rest()
		var err error
		switch {
		case len(rest) == 0:
			return d.finish()
		case len(rest) >= d.block && zero(rest[:d.block]):
			err = d.hole()
		case d.sig == nil:
			err = d.miss(min(d.block, len(rest)))
		default:
			err = d.match()
		}
		if err != nil {
			return err
		}
	}
}

// match goes on with a block of a base, if one begins here, or else to where one does.
func (d *differ) match() error {
	rest := d.rest()
	for _, i := range [2]int{d.sig.here(d.offset()), d.want} {
		if i < 0 {
			continue
		}
		if n := d.sig.lengthOf(i); n <= len(rest) && d.is(i, rest[:n], d.offset()) {
			return d.copy(i, n)
		}
	}
	if len(rest) < d.block {
		return d.tail()
	}
	if at := d.find(rest[:d.block]); at >= 0 {
		return d.copy(at, d.block)
	}
	return d.roll()
}

// is reports whether block i is p, which is at this offset, and can be copied there.
func (d *differ) is(i int, p []byte, offset int64) bool {
	return xxh3.HashSeed(p, d.sig.seed) == d.sig.strong[i] && d.sig.there(i, offset)
}

// find tells the block that is p, which is here, or else -1.
func (d *differ) find(p []byte) int {
	at, found := d.sig.places[xxh3.HashSeed(p, d.sig.seed)]
	if !found || !d.sig.there(int(at), d.offset()) {
		return -1
	}
	return int(at)
}

// roll searches from the next byte on. It returns after a match, before zeros, at the end, or when it left out a stretch.
func (d *differ) roll() error {
	sum := weakOf(d.rest()[:d.block])
	for tried := 0; ; {
		if len(d.rest()) == d.block {
			if d.atEnd() {
				return d.tail()
			}
			if err := d.refill(); err != nil {
				return err
			}
		}
		rest := d.rest()
		n := min(len(rest)-d.block, d.block)
		n, found := sum.roll(rest[:n], rest[d.block:d.block+n], uint32(d.block), d.sig.sieve)
		if err := d.miss(n); err != nil {
			return err
		}
		tried += n
		if found {
			at, stop := d.confirm(sum)
			if at >= 0 {
				return d.copy(at, d.block)
			}
			if stop {
				return nil
			}
		}
		if tried >= d.block && d.missed > eager*int64(d.block) {
			return d.leaveOut()
		}
	}
}

// confirm tells the block that is here if the sum is that of one, or else -1, and to stop if here are zeros.
func (d *differ) confirm(sum weak) (at int, stop bool) {
	here := d.rest()[:d.block]
	if sum == (weak{}) && zero(here) {
		return -1, true
	}
	if _, known := d.sig.weak[sum.key()]; !known || d.wasted > wasteFree+wasteRate*d.offset() {
		return -1, false
	}
	if at := d.find(here); at >= 0 {
		return at, false
	}
	d.wasted += int64(d.block)
	return -1, false
}

// leaveOut takes blocks as data that were not searched, up to a hole or the end.
func (d *differ) leaveOut() error {
	for range sparse - 1 {
		if len(d.rest()) < d.block && !d.atEnd() {
			if err := d.refill(); err != nil {
				return err
			}
		}
		rest := d.rest()
		if len(rest) < d.block || zero(rest[:d.block]) {
			return nil
		}
		if err := d.miss(d.block); err != nil {
			return err
		}
	}
	return nil
}

// tail takes what is left, which is no longer than a block: data, but for the short block at the end of a base.
func (d *differ) tail() error {
	for _, b := range d.sig.bases {
		if b.first == b.end {
			continue
		}
		rest := d.rest()
		n := d.sig.lengthOf(b.end - 1)
		before := len(rest) - n
		if before < 0 || !d.is(b.end-1, rest[before:], d.offset()+int64(before)) {
			continue
		}
		if err := d.miss(before); err != nil {
			return err
		}
		return d.copy(b.end-1, n)
	}
	return d.miss(len(d.rest()))
}

// miss takes n bytes as data. They are sent when there are enough of them, or when something else follows.
func (d *differ) miss(n int) error {
	d.next += n
	d.missed += int64(n)
	d.want = -1
	if d.next-d.sent < MaxData {
		return nil
	}
	return d.send(MaxData)
}

// send emits the data that is due, in pieces, as long as there are at least so many bytes.
func (d *differ) send(least int) error {
	if d.sent == d.next {
		return nil
	}
	if err := d.settle(); err != nil {
		return err
	}
	for d.next-d.sent >= max(least, 1) {
		n := min(d.next-d.sent, MaxData)
		if err := d.emit(Op{Kind: Data, Data: d.buf[d.sent : d.sent+n]}); err != nil {
			return err
		}
		d.sent += n
	}
	return nil
}

func (d *differ) refill() error {
	if err := d.send(1); err != nil {
		return err
	}
	return d.more()
}

// settle emits what may not grow any more.
func (d *differ) settle() error {
	if d.last.Kind == 0 {
		return nil
	}
	op := d.last
	d.last = Op{}
	if op.Kind == Hole {
		d.sum.hole(d.holeAt, op.Length)
	}
	return d.emit(op)
}

func (d *differ) finish() error {
	if err := d.send(1); err != nil {
		return err
	}
	d.pass()
	return d.settle()
}

// copy goes over n bytes that are block i.
func (d *differ) copy(i, n int) error {
	if err := d.send(1); err != nil {
		return err
	}
	base := d.sig.baseOf(i)
	offset := d.sig.offset(d.sig.bases[base], i)
	l := &d.last
	if l.Kind != Copy || l.Base != base || l.Offset+l.Length != offset || l.Length+int64(n) > maxRun {
		if err := d.settle(); err != nil {
			return err
		}
		*l = Op{Kind: Copy, Base: base, Offset: offset}
	}
	l.Length += int64(n)
	d.next += n
	d.sent = d.next
	d.missed = 0
	d.want = d.sig.after(i, 1)
	return nil
}

// hole goes over the block of zeros that is here, and with it over as many as the file system knows to be a hole.
func (d *differ) hole() error {
	if err := d.send(1); err != nil {
		return err
	}
	d.pass()
	offset, n := d.offset(), int64(d.block)
	if end := holeEnd(d.file, offset, d.size); end == d.size {
		n = end - offset
	} else {
		n = max(n, (end-offset)/n*n)
	}
	if d.last.Kind != Hole {
		if err := d.settle(); err != nil {
			return err
		}
		d.last, d.holeAt = Op{Kind: Hole}, offset
	}
	d.last.Length += n
	d.skip(n)
	if d.want >= 0 {
		d.want = d.sig.after(d.want, n/int64(d.block))
	}
	return nil
}
