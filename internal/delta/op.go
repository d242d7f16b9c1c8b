package delta

import (
	"encoding/binary"
	"fmt"
)

// Kind is what an operation does. The numbers are those of the wire.
type Kind byte

// What the new file goes on with.
const (
	Data Kind = 1 + iota // bytes
	Copy                 // a range of a base
	Hole                 // zeros that take no room
	End                  // nothing: it is whole
	// Start goes before all others. Without one the Sum has no key.
	Start
)

// Op is one step of building a file from its beginning to its end.
type Op struct {
	Kind Kind
	// Base and Offset say where a Copy is from.
	Base   int
	Offset int64
	// Length is that of a Copy, up to MaxCopy, or of a Hole; at least 1.
	Length int64
	// Data has 1 to MaxData bytes, which are valid until the call returns that was given them.
	Data []byte
	// Sum is that of the file, at its End, and Key what it is made with, at the Start.
	Sum Sum
	Key Key
}

// Append appends the operation as the wire has it: its kind, and then numbers as uvarints: the length before the bytes of
// Data; base, offset and length of a Copy; the length of a Hole; for the End the 32 bytes of the sum, for the Start those of the key.
func (o Op) Append(p []byte) []byte {
	p = append(p, byte(o.Kind))
	switch o.Kind {
	case Data:
		p = binary.AppendUvarint(p, uint64(len(o.Data)))
		return append(p, o.Data...)
	case Copy:
		p = binary.AppendUvarint(p, uint64(o.Base))
		p = binary.AppendUvarint(p, uint64(o.Offset))
	case End:
		return append(p, o.Sum[:]...)
	case Start:
		return append(p, o.Key[:]...)
	}
	return binary.AppendUvarint(p, uint64(o.Length))
}

// Parse is the operation that p is, all of it; its Data is in p. What no operation can be is ErrMalformed; whether it fits the
// bases is for the Builder to say.
func Parse(p []byte) (Op, error) {
	if len(p) == 0 {
		return Op{}, fmt.Errorf("no operation: %w", ErrMalformed)
	}
	op, n := Op{Kind: Kind(p[0])}, numbered{rest: p[1:]}
	switch op.Kind {
	case Data:
		op.Data = n.bytes(int(n.next(1, MaxData)))
	case Copy:
		op.Base = int(n.next(0, MaxBases-1))
		op.Offset = n.next(0, 1<<63-1)
		op.Length = n.next(1, MaxCopy)
	case Hole:
		op.Length = n.next(1, 1<<63-1)
	case End:
		copy(op.Sum[:], n.bytes(len(op.Sum)))
	case Start:
		copy(op.Key[:], n.bytes(len(op.Key)))
	default:
		n.bad = true
	}
	if n.bad || len(n.rest) > 0 {
		return Op{}, fmt.Errorf("operation of kind %d in %d bytes: %w", op.Kind, len(p), ErrMalformed)
	}
	return op, nil
}

// numbered takes an operation apart. What comes after a mistake is zero.
type numbered struct {
	rest []byte
	bad  bool
}

// next is a number from low to high.
func (n *numbered) next(low, high uint64) int64 {
	v, size := binary.Uvarint(n.rest)
	if size <= 0 || v < low || v > high || n.bad {
		n.bad = true
		return 0
	}
	n.rest = n.rest[size:]
	return int64(v)
}

func (n *numbered) bytes(length int) []byte {
	if n.bad || length > len(n.rest) {
		n.bad = true
		return nil
	}
	b := n.rest[:length]
	n.rest = n.rest[length:]
	return b
}
