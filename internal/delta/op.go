package delta

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Kind is what an operation does. The numbers are those of the wire.
type Kind byte

// What the new file goes on with.
const (
	Data Kind = 1 + iota // bytes
	Copy                 // a range of a base
	Hole                 // zeros that take no room
	End                  // nothing: it is whole
)

// Op is one step of building a file from its beginning to its end.
type Op struct {
	Kind Kind
	// Base and Offset say where a Copy is from.
	Base   int
	Offset int64
	// Length is that of a Copy, up to MaxCopy, or of a Hole; at least 1.
	Length int64
	// Data has 1 to MaxData bytes, which are valid until the call returns that was given them, or until the next Read.
	Data []byte
	// Sum is that of the file, at its End.
	Sum Sum
}

// Append appends the operation as the wire has it: its kind, and then numbers as uvarints: the length before the bytes of
// Data; base, offset and length of a Copy; the length of a Hole; for the End the 32 bytes of the sum.
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
	}
	return binary.AppendUvarint(p, uint64(o.Length))
}

// Reader reads operations up to an End. It takes no byte beyond it.
type Reader struct {
	from *bufio.Reader
	data []byte
	over bool
}

// NewReader reads from r, which stays with the caller: what follows the End is still in it.
func NewReader(r *bufio.Reader) *Reader { return &Reader{from: r} }

// Read reads one operation; after the End it is io.EOF. What no operation can be is ErrMalformed; whether it fits the
// bases is for the Builder to say.
func (r *Reader) Read() (Op, error) {
	if r.over {
		return Op{}, io.EOF
	}
	kind, err := r.from.ReadByte()
	if err != nil {
		return Op{}, cut(err)
	}
	op := Op{Kind: Kind(kind)}
	switch op.Kind {
	case Data:
		err = r.readData(&op)
	case Copy:
		var base int64
		if base, err = r.number(0, MaxBases-1); err != nil {
			break
		}
		op.Base = int(base)
		if op.Offset, err = r.number(0, 1<<63-1); err == nil {
			op.Length, err = r.number(1, MaxCopy)
		}
	case Hole:
		op.Length, err = r.number(1, 1<<63-1)
	case End:
		r.over = true
		_, err = io.ReadFull(r.from, op.Sum[:])
	default:
		err = fmt.Errorf("operation of kind %d: %w", kind, ErrMalformed)
	}
	if err != nil {
		return Op{}, cut(err)
	}
	return op, nil
}

func (r *Reader) readData(op *Op) error {
	n, err := r.number(1, MaxData)
	if err != nil {
		return err
	}
	if int64(cap(r.data)) < n {
		r.data = make([]byte, n)
	}
	op.Data = r.data[:n]
	_, err = io.ReadFull(r.from, op.Data)
	return err
}

// number reads an uvarint of at most 9 bytes, which is all that 63 bits need.
func (r *Reader) number(low, high int64) (int64, error) {
	var n uint64
	for shift := 0; shift < 63; shift += 7 {
		b, err := r.from.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if n < uint64(low) || n > uint64(high) {
				return 0, fmt.Errorf("number %d is not in %d to %d: %w", n, low, high, ErrMalformed)
			}
			return int64(n), nil
		}
	}
	return 0, fmt.Errorf("number of more than 63 bits: %w", ErrMalformed)
}

// cut makes an end in the middle of what it is.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
