package wire

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// What goes to the target goes in packs: a byte that says how it is packed, the length of what follows in four bytes, and that. A pack
// holds whole or parts of frames.
const (
	packHeader = 5
	packPlain  = 0
	packZstd   = 1
	// packMax bounds what a pack holds before it is packed.
	packMax = 512 << 10
	// packMin is the smallest that is compressed.
	packMin = 4 << 10
)

// What does not get smaller than worthRatio of what it was is not compressed, and nor are the next ones, up to restMax packs at a time.
const (
	worthRatio = 0.9
	restMax    = 64
)

// Packer writes packs. It is for one goroutine.
type Packer struct {
	w io.Writer
	// Pays says whether compression pays on the link; nil for never.
	Pays func() bool
	zstd *zstd.Encoder
	// plain and packed are the last pack, as it is and compressed.
	plain, packed []byte
	// rest is how many packs are not tried yet, after so many that did not get smaller.
	rest, vain int
}

// NewPacker makes a Packer.
func NewPacker(w io.Writer) *Packer { return &Packer{w: w} }

func (p *Packer) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), packMax)]
		p.plain = append(append(p.plain[:0], make([]byte, packHeader)...), part...)
		if err := p.writeRoomy(p.plain); err != nil {
			return n, err
		}
		n += len(part)
		b = b[len(part):]
	}
	return n, nil
}

// writeRoomy writes one pack of what stands in b behind room for its header: where it is not compressed, nothing is copied.
func (p *Packer) writeRoomy(b []byte) error {
	pack, kind := b, byte(packPlain)
	if packed := p.compress(b[packHeader:]); packed != nil {
		pack, kind = packed, packZstd
	}
	pack[0] = kind
	binary.LittleEndian.PutUint32(pack[1:], uint32(len(pack)-packHeader))
	_, err := p.w.Write(pack)
	return err
}

// compress has room for the header in front of what it makes of b; nil where that does not pay.
func (p *Packer) compress(b []byte) []byte {
	if !p.tries(len(b)) {
		return nil
	}
	if p.zstd == nil {
		// One goroutine, which is the caller's; the options are right, so there is no error.
		p.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	p.packed = p.zstd.EncodeAll(b, append(p.packed[:0], make([]byte, packHeader)...))
	if float64(len(p.packed)-packHeader) > worthRatio*float64(len(b)) {
		p.vain = min(p.vain+1, restMax)
		p.rest = p.vain
		return nil
	}
	p.vain = 0
	return p.packed
}

func (p *Packer) tries(n int) bool {
	if n < packMin || p.Pays == nil || !p.Pays() {
		return false
	}
	if p.rest > 0 {
		p.rest--
		return false
	}
	return true
}

// Unpacker reads packs. It is for one goroutine.
type Unpacker struct {
	r      io.Reader
	zstd   *zstd.Decoder
	left   int // of a plain pack
	head   [packHeader]byte
	packed []byte
	out    []byte // what was unpacked
	ready  []byte // the part of out that nobody took
}

// NewUnpacker makes an Unpacker. It reads little at a time where packs are small: r should have a buffer.
func NewUnpacker(r io.Reader) *Unpacker { return &Unpacker{r: r} }

func (u *Unpacker) Read(p []byte) (int, error) {
	for u.left == 0 && len(u.ready) == 0 {
		if err := u.next(); err != nil {
			return 0, err
		}
	}
	if len(u.ready) > 0 {
		n := copy(p, u.ready)
		u.ready = u.ready[n:]
		return n, nil
	}
	n, err := u.r.Read(p[:min(len(p), u.left)])
	u.left -= n
	if err == io.EOF && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next begins a pack.
func (u *Unpacker) next() error {
	if _, err := io.ReadFull(u.r, u.head[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(u.head[1:])
	switch kind := u.head[0]; {
	case n > packMax || n == 0:
		return fmt.Errorf("read pack of %d bytes: %w", n, ErrFrame)
	case kind == packPlain:
		u.left = int(n)
		return nil
	case kind != packZstd:
		return fmt.Errorf("read pack of kind %d: %w", kind, ErrFrame)
	}
	if u.zstd == nil {
		// What comes in is bounded, whatever it says of itself.
		var err error
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(packMax), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return err
		}
		u.packed = make([]byte, packMax)
	}
	if _, err := io.ReadFull(u.r, u.packed[:n]); err != nil {
		return noEOF(err)
	}
	out, err := u.zstd.DecodeAll(u.packed[:n], u.out[:0])
	if err != nil || len(out) > packMax {
		return fmt.Errorf("unpack %d bytes: %w: %w", n, ErrFrame, err)
	}
	u.out, u.ready = out, out
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
