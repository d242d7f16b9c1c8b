// Package wire is the language of our own stream, between a sender and a target that runs our binary: frames, and the
// messages in them. It belongs to the step of the path of a change that puts it onto a target; what is done with the messages
// is in internal/transport/native on this side and in internal/receive on the other.
//
// A connection does one thing at a time: the sender begins a batch or a comparison, and ends it before the next. Both sides are written against a
// hostile other one: every length has a bound, which is checked before anything of that length is kept.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"sersync/internal/delta"
)

// Type is the first byte of a frame.
type Type uint8

// A frame is its type, the length of what follows in three bytes, and that.
const (
	headerSize = 4
	// MaxFrame bounds what follows the header, in bytes.
	MaxFrame = 1 << 20
	// MaxData is how much content goes in one frame.
	MaxData = 128 << 10
)

// ErrFrame is what every message is that is not as it must be: the other side is broken, hostile, or no sersync. There is
// nothing to go on with on this connection.
var ErrFrame = errors.New("a frame that must not be")

// Writer writes frames through a buffer. It is for one goroutine.
type Writer struct {
	w io.Writer
	// packer is w, where that is one: it gets what is gathered with room for its header in front.
	packer *Packer
	room   int
	// buf is empty, or room and what is gathered; small is what it was before it was exchanged.
	buf, small []byte
	sent       int64
	err        error
}

// flushAt is how much is gathered, in bytes, before it is written.
const flushAt = 64 << 10

// A buffer that holds more than bufferLeast is exchanged for one of bufferSize. These are shared: of many connections, few write.
const (
	bufferLeast = 8 << 10
	bufferSize  = delta.MaxData + 16<<10
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, bufferSize)
	return &b
}}

// NewWriter makes a Writer. It writes nothing by itself.
func NewWriter(w io.Writer) *Writer {
	p, ok := w.(*Packer)
	if !ok {
		return &Writer{w: w}
	}
	return &Writer{w: w, packer: p, room: packHeader}
}

// Message is what a frame holds.
type Message interface {
	// frame is the type of the frame.
	frame() Type
	// encode appends the message.
	encode(b []byte) []byte
}

// Write puts a message into the buffer, and writes the buffer when it is full. An error stays.
func (w *Writer) Write(m Message) error {
	if len(w.buf) == 0 {
		w.buf = append(w.buf, make([]byte, w.room)...)
	}
	if len(w.buf)+bulk(m) > bufferLeast && cap(w.buf) < bufferSize {
		w.small, w.buf = w.buf, append(*buffers.Get().(*[]byte), w.buf...)
	}
	at := len(w.buf)
	w.buf = m.encode(append(w.buf, byte(m.frame()), 0, 0, 0))
	n := len(w.buf) - at - headerSize
	if n > MaxFrame {
		w.buf = w.buf[:at] // it may be the room alone
		return fmt.Errorf("write frame of %d bytes: %w", n, ErrFrame)
	}
	w.buf[at+1], w.buf[at+2], w.buf[at+3] = byte(n), byte(n>>8), byte(n>>16)
	if len(w.buf) >= flushAt {
		return w.Flush()
	}
	return w.err
}

// bulk is about how long a message is that can be long.
func bulk(m Message) int {
	switch m := m.(type) {
	case *Content:
		return len(m.Op.Data)
	case *Entry:
		return len(m.Content)
	}
	return 0
}

// Flush writes what is in the buffer.
func (w *Writer) Flush() error {
	if n := len(w.buf) - w.room; w.err == nil && n > 0 {
		w.err = w.write(n)
	}
	if b := w.buf[:0]; cap(b) == bufferSize {
		buffers.Put(&b)
	}
	if cap(w.buf) >= bufferSize {
		w.buf, w.small = w.small, nil
	}
	if w.buf = w.buf[:0]; cap(w.buf) > 2*bufferLeast {
		w.buf = nil
	}
	return w.err
}

// write writes the n bytes that are gathered.
func (w *Writer) write(n int) (err error) {
	if w.packer != nil && n <= packMax {
		if err = w.packer.writeRoomy(w.buf); err == nil {
			w.sent += int64(n)
		}
		return err
	}
	n, err = w.w.Write(w.buf[w.room:])
	w.sent += int64(n)
	return err
}

// Sent is how many bytes were written or are in the buffer.
func (w *Writer) Sent() int64 { return w.sent + int64(max(0, len(w.buf)-w.room)) }

// Reader reads frames. It is for one goroutine.
type Reader struct {
	r          io.Reader
	buf        []byte
	start, end int
	// frequent are the messages of which there are many: each is used again for the next one of its type.
	frequent struct {
		entry   Entry
		remove  Remove
		content Content
		result  Result
	}
}

// readSize is the size of the buffer as long as no frame needs more.
const readSize = 32 << 10

// NewReader makes a Reader.
func NewReader(r io.Reader) *Reader { return &Reader{r: r, buf: make([]byte, readSize)} }

// Next reads a frame. What it holds is there until the next call. The end of the connection between two frames is io.EOF.
func (r *Reader) Next() (Type, []byte, error) {
	if err := r.fill(headerSize); err != nil {
		return 0, nil, err
	}
	h := r.buf[r.start:]
	n := int(h[1]) | int(h[2])<<8 | int(h[3])<<16
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("read frame of %d bytes: %w", n, ErrFrame)
	}
	if err := r.fill(headerSize + n); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	t := Type(r.buf[r.start])
	payload := r.buf[r.start+headerSize : r.start+headerSize+n]
	r.start += headerSize + n
	return t, payload, nil
}

// Buffered reports whether there is more to read without waiting, as far as is known.
func (r *Reader) Buffered() bool { return r.end > r.start }

// fill has n bytes or more in the buffer.
func (r *Reader) fill(n int) error {
	for r.end-r.start < n {
		if r.start > 0 && (r.start == r.end || len(r.buf)-r.start < n) {
			r.end = copy(r.buf, r.buf[r.start:r.end])
			r.start = 0
		}
		if len(r.buf) < n {
			// Not all at once: whoever announces much has to send it, too.
			bigger := make([]byte, min(n+readSize, 2*len(r.buf)))
			r.end = copy(bigger, r.buf[r.start:r.end])
			r.start, r.buf = 0, bigger
		}
		m, err := r.r.Read(r.buf[r.end:])
		r.end += m
		if r.end-r.start >= n {
			break
		}
		if err == io.EOF && r.end > r.start {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decoder takes a message apart. The first mistake stays, and all that follows is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// number is a uvarint that must not be above most.
func (d *decoder) number(most uint64) uint64 {
	n := d.uvarint()
	if n > most {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) u8() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// bytes are n bytes, which are those of the frame.
func (d *decoder) bytes(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// text is a length of up to most and so many bytes.
func (d *decoder) text(most int) []byte { return d.bytes(int(d.number(uint64(most)))) }

func (d *decoder) fail() { d.b, d.bad = nil, true }

// end reports whether all was as it must be, and nothing is left.
func (d *decoder) end() bool { return !d.bad && len(d.b) == 0 }

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
