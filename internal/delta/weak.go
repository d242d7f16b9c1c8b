package delta

import "encoding/binary"

// weak is the rolling sum of a window: of its bytes, and of the sums of all its beginnings, as rsync has it. Its fields
// wrap around.
type weak struct{ bytes, sums uint32 }

// lane and half take each second byte, and each second pair of bytes, of a word.
const (
	lane = 0x00ff00ff00ff00ff
	half = 0x0000ffff0000ffff
)

// weakOf is the sum of p, whose length is a multiple of 128. It adds the bytes of a word side by side, in lanes of 16
// bits, which hold what 16 words can make: 255 * (1 + ... + 16).
func weakOf(p []byte) weak {
	var w weak
	for ; len(p) >= 128; p = p[128:] {
		var even, odd, evens, odds uint64
		group := (*[128]byte)(p)
		for i := 0; i < len(group); i += 16 { // two words a round, which takes a quarter less time
			one, two := binary.LittleEndian.Uint64(group[i:]), binary.LittleEndian.Uint64(group[i+8:])
			even1, odd1 := one&lane, one>>8&lane
			even2, odd2 := even1+two&lane, odd1+two>>8&lane
			evens += 2*even + even1 + even2
			odds += 2*odd + odd1 + odd2
			even += even2
			odd += odd2
		}
		// Byte t of word k counts 128-(8k+t) times; the lanes counted it 16-k times.
		within := uint32(even>>16&0xffff)*2 + uint32(even>>32&0xffff)*4 + uint32(even>>48)*6 +
			uint32(odd&0xffff) + uint32(odd>>16&0xffff)*3 + uint32(odd>>32&0xffff)*5 + uint32(odd>>48)*7
		w.sums += 128*w.bytes + 8*(across(evens)+across(odds)) - within
		w.bytes += across(even) + across(odd)
	}
	return w
}

func across(lanes uint64) uint32 {
	pairs := lanes&half + lanes>>16&half
	return uint32(pairs) + uint32(pairs>>32)
}

// key is what a signature holds of the sum: 48 bits.
func (w weak) key() uint64 { return uint64(uint16(w.bytes))<<32 | uint64(w.sums) }

// roll moves the window on, one byte out and one in at a time, until the sieve has its sum: then it was moved n bytes.
func (w *weak) roll(out, in []byte, block uint32, s *sieve) (n int, found bool) {
	in = in[:len(out)]
	sum, sums := w.bytes, w.sums
	for i, o := range out {
		sum += uint32(in[i]) - uint32(o)
		sums += sum - block*uint32(o)
		if s.has(uint64(uint16(sum))<<32 | uint64(sums)) {
			*w = weak{sum, sums}
			return i + 1, true
		}
	}
	*w = weak{sum, sums}
	return len(out), false
}

// A sieve says of nearly all keys that are not in a set that they are not: of 98 in 100 or more, by one look into memory that stays
// in the cache.
type sieve struct {
	words []uint64
	shift uint
}

// newSieve is for at most n keys; 64 bits each.
func newSieve(n int) *sieve {
	s := &sieve{shift: 58}
	for words := 1; words < n; words <<= 1 {
		s.shift--
	}
	s.words = make([]uint64, 1<<(58-s.shift))
	return s
}

func (s *sieve) place(key uint64) (word, bit uint64) {
	// The upper bits of a product with 2^64 divided by the golden ratio depend on all of the key.
	at := key * 0x9e3779b97f4a7c15 >> s.shift
	return at >> 6, at & 63
}

func (s *sieve) add(key uint64) {
	word, bit := s.place(key)
	s.words[word] |= 1 << bit
}

func (s *sieve) has(key uint64) bool {
	word, bit := s.place(key)
	return s.words[word&uint64(len(s.words)-1)]>>bit&1 != 0
}
