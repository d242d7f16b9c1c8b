package delta

import (
	"encoding/binary"
	"hash"

	"github.com/minio/highwayhash"
	"github.com/zeebo/blake3"
)

// Sum stands for the whole content of a file. It is a hash of all bytes outside of holes, of the hash of the holes if there
// are any, of their number and of the size; so a hole costs nothing, however large. The same content with other holes has
// another Sum: it serves to compare two ends of one transfer, which agree on the holes, and for nothing else.
type Sum [32]byte

// Key is what the hash of a Sum is made with: random, and of one transfer alone. The hash is HighwayHash, of which nobody can
// make two contents with one Sum who does not know the key: 12 GB/s on a core with AVX2. Without a key, as versions of the stream
// have it that know none, it is BLAKE3, with 4 GB/s there.
type Key [32]byte

// newHash is that of a key, or of none.
func newHash(key *Key) hash.Hash {
	if key == nil {
		return blake3.New()
	}
	h, _ := highwayhash.New(key[:]) // of a key that has the right size
	return h
}

// summer makes a Sum. It is used where the bytes are in the cache: to hash them there takes less time than to have another processor
// do it.
type summer struct {
	size  int64
	key   *Key
	data  hash.Hash
	holes hash.Hash // nil: there was none
	count int64
}

// newSummer is for a file of this size.
func newSummer(size int64, key *Key) *summer {
	return &summer{size: size, key: key, data: newHash(key)}
}

// add takes the bytes that follow.
func (s *summer) add(p []byte) { _, _ = s.data.Write(p) } // a hash never fails

func (s *summer) hole(offset, length int64) {
	if s.holes == nil {
		s.holes = newHash(s.key)
	}
	s.count++
	_, _ = s.holes.Write(numbers(offset, length))
}

func numbers(a, b int64) []byte {
	p := binary.LittleEndian.AppendUint64(make([]byte, 0, 16), uint64(a))
	return binary.LittleEndian.AppendUint64(p, uint64(b))
}

// sum is that of the file. Nothing is added after it.
func (s *summer) sum() Sum {
	if s.holes != nil {
		s.add(s.holes.Sum(nil))
	}
	s.add(numbers(s.count, s.size))
	return Sum(s.data.Sum(nil))
}
