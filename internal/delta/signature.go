package delta

import (
	"encoding/binary"
	"fmt"
)

// A signature on the wire: its version, the power of two of the block, the seed, the number of bases, which of them is in
// place (the first is 1), the size of each (8 bytes each), and then for each block of each base, in order, 6 bytes of the
// rolling sum and 8 of XXH3. All is little-endian. A block of zeros has 14 bytes of zero: it is never copied. The rolling
// sum of a short block is zero.
const (
	version   = 1
	headSize  = 12
	entrySize = 14
	signChunk = 64 << 10
)

// A Signature is what the sender knows of the bases. The zero Signature takes the bytes of one by Write, in pieces of any
// size, and grows with what was received, never with what is announced.
type Signature struct {
	block  int
	seed   uint64
	bases  []signed
	blocks int
	// inPlace is the base that the new file is written over, or -1.
	inPlace int
	// keys and strong are those of all blocks, base after base.
	keys, strong []uint64
	// part is the beginning of what is not whole yet.
	part []byte

	sieve  *sieve
	weak   map[uint64]struct{}
	places map[uint64]int32
}

// signed is a base: its blocks are those from first up to end.
type signed struct {
	size       int64
	first, end int
}

// Write takes the bytes that follow. An error is ErrMalformed, and the signature of no use.
func (s *Signature) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		want := s.wanted()
		if want == 0 {
			return 0, fmt.Errorf("signature goes on after its end: %w", ErrMalformed)
		}
		if len(s.part) == 0 && len(p) >= want {
			if err := s.take(p[:want]); err != nil {
				return 0, err
			}
			p = p[want:]
			continue
		}
		take := min(want-len(s.part), len(p))
		s.part = append(s.part, p[:take]...)
		p = p[take:]
		if len(s.part) == want {
			if err := s.take(s.part); err != nil {
				return 0, err
			}
			s.part = s.part[:0]
		}
	}
	return n, nil
}

// Complete reports whether all of the signature was taken.
func (s *Signature) Complete() bool { return s.block > 0 && len(s.part) == 0 && s.wanted() == 0 }

// wanted is how long the piece is that comes next: the head, the sizes, a block, or nothing.
func (s *Signature) wanted() int {
	switch {
	case s.block == 0:
		return headSize
	case len(s.bases) > 0 && s.bases[0].size < 0:
		return 8 * len(s.bases)
	case len(s.keys) < s.blocks:
		return entrySize
	}
	return 0
}

func (s *Signature) take(p []byte) error {
	switch {
	case s.block == 0:
		if p[0] != version || p[1] < minPower || p[1] > maxPower || p[10] > MaxBases || p[11] > p[10] {
			return fmt.Errorf("signature of version %d with blocks of 2^%d and %d bases, in place %d: %w", p[0], p[1], p[10], p[11], ErrMalformed)
		}
		s.block, s.seed, s.inPlace = 1<<p[1], binary.LittleEndian.Uint64(p[2:]), int(p[11])-1
		for range p[10] {
			s.bases = append(s.bases, signed{size: -1})
		}
	case len(p) == entrySize:
		s.keys = append(s.keys, uint64(binary.LittleEndian.Uint32(p))|uint64(binary.LittleEndian.Uint16(p[4:]))<<32)
		s.strong = append(s.strong, binary.LittleEndian.Uint64(p[6:]))
	default:
		return s.takeSizes(p)
	}
	return nil
}

func (s *Signature) takeSizes(p []byte) error {
	for i := range s.bases {
		size := int64(binary.LittleEndian.Uint64(p[8*i:]))
		if size < 0 {
			return fmt.Errorf("signature of a base of %d bytes: %w", uint64(size), ErrMalformed)
		}
		n := min(blocks(size, s.block), int64(maxBlocks-s.blocks))
		s.bases[i] = signed{size: size, first: s.blocks, end: s.blocks + int(n)}
		s.blocks += int(n)
	}
	return nil
}

// index makes ready what finds a block.
func (s *Signature) index() {
	if s.sieve != nil {
		return
	}
	s.sieve = newSieve(len(s.keys))
	s.weak = make(map[uint64]struct{}, len(s.keys))
	s.places = make(map[uint64]int32, len(s.keys))
	s.sieve.add(0) // zeros, which are a hole
	// The base in place comes last: what another one has too can always be copied from there.
	for n, b := range s.bases {
		if n != s.inPlace {
			s.indexBase(b)
		}
	}
	if s.inPlace >= 0 {
		s.indexBase(s.bases[s.inPlace])
	}
}

func (s *Signature) indexBase(b signed) {
	for i := b.first; i < b.end; i++ {
		if s.length(b, i) < s.block || s.strong[i] == 0 {
			continue
		}
		s.sieve.add(s.keys[i])
		s.weak[s.keys[i]] = struct{}{}
		if _, known := s.places[s.strong[i]]; !known {
			s.places[s.strong[i]] = int32(i)
		}
	}
}

// here is the block of the base in place that is at this offset, or -1.
func (s *Signature) here(offset int64) int {
	if s.inPlace < 0 || offset%int64(s.block) != 0 {
		return -1
	}
	b := s.bases[s.inPlace]
	if n := offset / int64(s.block); n < int64(b.end-b.first) {
		return b.first + int(n)
	}
	return -1
}

// there reports whether block i is still there when the file goes on at offset.
func (s *Signature) there(i int, offset int64) bool {
	base := s.baseOf(i)
	return base != s.inPlace || s.offset(s.bases[base], i) >= offset
}

// length is that of block i, which is one of b.
func (s *Signature) length(b signed, i int) int {
	return int(min(int64(s.block), b.size-s.offset(b, i)))
}

// offset is where block i is in b, its base.
func (s *Signature) offset(b signed, i int) int64 { return int64(i-b.first) * int64(s.block) }

// lengthOf is that of block i.
func (s *Signature) lengthOf(i int) int { return s.length(s.bases[s.baseOf(i)], i) }

// baseOf is the number of the base that has block i.
func (s *Signature) baseOf(i int) int {
	at := 0
	for i >= s.bases[at].end {
		at++
	}
	return at
}

// after is the n-th block after block i of the same base, or -1.
func (s *Signature) after(i int, n int64) int {
	if n >= int64(s.bases[s.baseOf(i)].end-i) {
		return -1
	}
	return i + int(n)
}
