package delta

import (
	"context"
	"io"
)

// readAhead is how much of a file is read at once, where a block is not longer: what is still in the cache when its sum is
// made and when it is sent. With 1 MiB that takes a tenth more processor time.
const readAhead = 256 << 10

// window is the part of the file that the sender has in memory: buf, which is in memory and begins at offset at of the file. What is
// before summed went into the sum, what is before sent was told, and next is where the search is:
// summed, sent <= next <= len(buf).
type window struct {
	ctx   context.Context
	file  io.ReaderAt
	size  int64
	block int
	sum   *summer

	memory, buf        []byte
	at                 int64
	summed, sent, next int
}

func newWindow(ctx context.Context, file io.ReaderAt, size int64, block int, sum *summer) *window {
	return &window{
		ctx: ctx, file: file, size: size, block: block, sum: sum,
	}
}

// offset is where the search is in the file.
func (w *window) offset() int64 { return w.at + int64(w.next) }

// rest is what is in memory and was not searched.
func (w *window) rest() []byte { return w.buf[w.next:] }

// atEnd reports whether nothing is left to be read.
func (w *window) atEnd() bool { return w.at+int64(len(w.buf)) == w.size }

// pass has all before next go into the sum, as data.
func (w *window) pass() {
	w.sum.add(w.buf[w.summed:w.next])
	w.summed = w.next
}

// skip goes over a hole of n bytes, whether they are in memory or not. All before it was passed and sent.
func (w *window) skip(n int64) {
	if int64(w.next)+n <= int64(len(w.buf)) {
		w.next += int(n)
	} else {
		w.at = w.offset() + n
		w.buf, w.next = w.buf[:0], 0
	}
	w.summed, w.sent = w.next, w.next
}

// more reads what follows, behind what was not searched. All before next was sent.
func (w *window) more() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.pass()
	kept := w.rest()
	w.at, w.next, w.summed, w.sent = w.offset(), 0, 0, 0
	length := min(max(readAhead, 2*int64(w.block)), w.size-w.at)
	if int64(len(w.memory)) < length+slack {
		w.memory = make([]byte, length+slack)
	}
	w.buf = apart(w.memory, w.at)[:length]
	n := copy(w.buf, kept)
	return readFull(w.file, w.buf[n:], w.at+int64(n))
}
