package delta

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Sign writes the signature of the bases to w, in pieces of at most 64 KiB, while it reads them. The seed is random, and
// of this transfer alone. A base that changes meanwhile makes a signature that fits nothing, and no harm.
func Sign(ctx context.Context, w io.Writer, seed uint64, bases []Base) error {
	var total int64
	for _, b := range bases {
		total += b.Size
	}
	if len(bases) > MaxBases {
		return fmt.Errorf("sign %d bases: at most %d are possible", len(bases), MaxBases)
	}
	s := signer{w: w, seed: seed, block: blockSize(total)}
	s.out = append(make([]byte, 0, signChunk), version, byte(bits.TrailingZeros(uint(s.block))))
	s.out = binary.LittleEndian.AppendUint64(s.out, seed)
	s.out = append(s.out, byte(len(bases)), byte(1+inPlace(bases)))
	for _, b := range bases {
		s.out = binary.LittleEndian.AppendUint64(s.out, uint64(b.Size))
	}
	free := newBuffers(min(max(readAhead, int64(s.block)), total))
	r := startReader(ctx, free, func(r *baseReader) error { return r.all(bases, s.block) })
	if err := r.stop(s.all(r)); err != nil {
		return fmt.Errorf("sign %d bases: %w", len(bases), err)
	}
	return s.flush()
}

type signer struct {
	w     io.Writer
	seed  uint64
	block int
	out   []byte
}

// all signs what the reader reads.
func (s *signer) all(r *baseReader) error {
	for piece := range r.pieces {
		for range piece.zeros {
			if err := s.entry(0, 0); err != nil {
				return err
			}
		}
		for p := piece.bytes; len(p) > 0; {
			n := min(s.block, len(p))
			if err := s.one(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		r.took(piece)
	}
	return nil
}

func (s *signer) one(block []byte) error {
	switch {
	case zero(block):
		return s.entry(0, 0)
	case len(block) < s.block:
		return s.entry(0, xxh3.HashSeed(block, s.seed))
	}
	return s.entry(weakOf(block).key(), xxh3.HashSeed(block, s.seed))
}

func (s *signer) entry(key, strong uint64) error {
	if cap(s.out)-len(s.out) < entrySize {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.out = binary.LittleEndian.AppendUint32(s.out, uint32(key))
	s.out = binary.LittleEndian.AppendUint16(s.out, uint16(key>>32))
	s.out = binary.LittleEndian.AppendUint64(s.out, strong)
	return nil
}

func (s *signer) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.w.Write(s.out)
	s.out = s.out[:0]
	return err
}
