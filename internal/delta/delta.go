// Package delta says how a file is made of what is there already: of the file that a target has, of the part of the new
// one that arrived before a cut, or of nothing. It is what a transport of our own sends of a large file, so the last step
// of the path of a change. It knows neither names nor networks.
//
// The receiver cuts its bases into blocks and signs them (Sign). The sender reads the new file once, in order, and tells
// it as operations (Diff): copy this range of a base, here are bytes, here is a hole. The receiver builds a new file of
// them (Builder) and shows it when its sum is that of the sender. An append, a change in the middle, a shift and a
// resumption are the same thing: a block of a base is found again, wherever it is by now.
//
// Two hashes find a block, and one proves the file. A rolling sum says cheaply, at each byte, that a block may begin
// there; XXH3, with a seed that nobody knew when the files were written, that it does. Neither is trusted: the sum of the
// file is a hash that nobody can collide who does not know its key (Key), which the sender draws for each file that it sends,
// and it is made of what was read back of the bases while the file was built.
// A wrong match, a base that changed meanwhile and a liar are one case: the sum differs, nothing is shown, and the file is
// sent again without bases.
package delta

import (
	"errors"
	"io"
	"math/bits"
	"slices"
)

const (
	// MaxData bounds the bytes of one Data operation.
	MaxData = 256 << 10
	// MaxCopy bounds a Copy, so that whoever applies operations can stop between two of them.
	MaxCopy = maxBlock
	// MaxBases is how many bases a signature may have: the old file and what arrived of the new one, and some to spare.
	MaxBases = 4

	// A block is 4 KiB to 16 MiB, and a power of two.
	minPower, maxPower = 12, 24
	minBlock, maxBlock = 1 << minPower, 1 << maxPower
	// maxBlocks bounds a signature, to 14 MiB on the wire and some 60 in memory. From 1 TiB on the blocks grow so that
	// it suffices; what is beyond 16 TiB is not signed, and so sent.
	maxBlocks = 1 << 20
)

var (
	// ErrMalformed says that the other side sent what no correct one sends.
	ErrMalformed = errors.New("malformed delta")
	// ErrChanged says that a file ended before the size that it had.
	ErrChanged = errors.New("file changed while it was read")
	// ErrSum says that what was built is not what the sender read. Sending it again without bases helps.
	ErrSum = errors.New("sum of the file differs from that of the sender")
)

// Base is a file that the receiver has, or the first Size bytes of it.
type Base struct {
	// File tells its holes if it is an *os.File.
	File io.ReaderAt
	Size int64
	// InPlace says that it is all of the Output itself, which holds what arrived of the new file before a cut. What is in its
	// place is read and stays; only what is at or behind the place where the file goes on can be copied. One base at most
	// is so.
	InPlace bool
}

// blockSize is that for bases of this many bytes together. The root of their number makes a signature as dear as a
// handful of blocks that differ: 1 GiB has 32768 blocks of 32 KiB, signed by 448 KiB.
func blockSize(total int64) int {
	block := minBlock
	for block < maxBlock && (int64(block)*int64(block) < total || total/int64(block) >= maxBlocks) {
		block <<= 1
	}
	return block
}

// inPlace is the number of the base that is in place, or -1.
func inPlace(bases []Base) int {
	return slices.IndexFunc(bases, func(b Base) bool { return b.InPlace })
}

// blocks is how many blocks a base of this size has, the last of which may be short.
func blocks(size int64, block int) int64 {
	shift := bits.TrailingZeros(uint(block))
	n := size >> shift
	if size&int64(block-1) != 0 {
		n++
	}
	return n
}
