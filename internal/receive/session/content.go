package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// wantedMax bounds the files that are asked for and did not come yet: each holds descriptors.
const wantedMax = 256

// wanted is a file whose content was asked for.
type wanted struct {
	index int
	entry wire.Entry
	bases []*os.File
	sizes []delta.Base
	// part and old are the numbers of bases: what arrived before a cut, and the file that is there now; -1 for none.
	part, old int
}

func (w *wanted) close() {
	for _, f := range w.bases {
		f.Close()
	}
}

func (b *batch) large() bool {
	return b.Op == transport.UpdateLarge || b.Op == transport.UpdateLargeContent
}

// want asks for the content of a file, with a signature of what is there of it already.
func (b *batch) want(ctx context.Context, m *wire.Entry, index int, st change.Stat) error {
	if len(b.wanted) >= wantedMax {
		return fmt.Errorf("more than %d files are offered at a time: %w", wantedMax, wire.ErrFrame)
	}
	if err := b.hold(m); err != nil {
		return err
	}
	w := wanted{index: index, entry: *m, part: -1, old: -1}
	if b.large() {
		w.part = w.add(b.c.s.tree.Partial(m.Path))
	}
	if st.IsRegular() {
		w.old = w.add(b.c.s.tree.OpenOld(m.Path))
	}
	b.wanted = append(b.wanted, w)
	if len(w.bases) > 0 {
		if err := delta.Sign(ctx, signature{b.c, index}, rand.Uint64(), w.sizes); err != nil {
			return err
		}
	}
	return b.c.put(&wire.Want{Index: index, Last: true})
}

// add adds a base and says its number. One that cannot be read is none.
func (w *wanted) add(f *os.File, err error) int {
	if err != nil || f == nil {
		return -1
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		f.Close()
		return -1
	}
	w.bases = append(w.bases, f)
	w.sizes = append(w.sizes, delta.Base{File: f, Size: info.Size()})
	return len(w.bases) - 1
}

// identity is for finding out that the new file is the old one.
func (w *wanted) identity() identity {
	if w.old < 0 || w.sizes[w.old].Size != w.entry.Attr.Size {
		return identity{}
	}
	return identity{old: w.bases[w.old], base: w.old}
}

// surpassed reports whether the part that is there already is of more use than one of so many bytes, of which some are copies of it.
func (w *wanted) surpassed(bytes, copies int64) bool {
	return w.part >= 0 && w.sizes[w.part].Size > bytes && copies >= bytes/2
}

// release counts that an entry is not kept any more.
func (b *batch) release(m *wire.Entry) { b.held -= sizeOf(m) }

// signature sends what is written to it as pieces of a signature.
type signature struct {
	c     *conn
	index int
}

func (s signature) Write(p []byte) (int, error) {
	if err := s.c.put(&wire.Want{Index: s.index, Signature: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// content takes the content of the file that was asked for first. first is its first message.
func (b *batch) content(ctx context.Context, first wire.Message) error {
	if b.refusal != nil {
		return nil // it was on its way when the batch was refused
	}
	if len(b.wanted) == 0 {
		return fmt.Errorf("content that nobody asked for: %w", wire.ErrFrame)
	}
	w := b.wanted[0]
	b.wanted = b.wanted[1:]
	defer w.close()
	defer b.release(&w.entry)
	b.awaited = true
	in := &stream{b: b, next: first}
	done, sent, err := b.build(ctx, &w, in)
	b.bytes += in.bytes
	switch {
	case in.err != nil:
		return in.err
	case errors.Is(err, wire.ErrFrame), errors.Is(err, delta.ErrMalformed):
		return err
	case errors.Is(err, errCut), err == nil && !sent && !done.Changed && len(done.Limits) == 0:
		err = b.result(&wire.Result{Index: w.index})
	default:
		err = b.outcome(w.index, sent, done, err)
	}
	if err != nil || b.refusal != nil {
		return err
	}
	// Whatever became of it, the next file begins after its end.
	_, err = in.rest()
	return err
}

// errCut: the sender ended a file that is not whole.
var errCut = errors.New("the sender ended it")

// build makes the new file and places it. Where it turns out to be the old one only the attributes are set, and nothing was sent.
func (b *batch) build(ctx context.Context, w *wanted, in *stream) (done apply.Done, sent bool, err error) {
	a := attrOf(&w.entry)
	f, err := b.c.s.tree.Create(w.entry.Path, a, b.old())
	if err != nil {
		return done, false, err
	}
	var bytes, copies int64
	defer func() {
		if b.large() && worthKeeping(err) && !w.surpassed(bytes, copies) {
			_ = f.Keep() // else it is sent anew
		}
		f.Discard()
	}()
	builder := delta.NewBuilder(output{f}, w.entry.Attr.Size, w.sizes)
	same := w.identity()
	for over := false; !over; {
		op, err := in.op()
		if err != nil {
			return done, false, err
		}
		if err := builder.Apply(op); err != nil {
			return done, false, err
		}
		over = op.Kind == delta.End
		same.add(op)
		bytes += op.Length + int64(len(op.Data))
		if op.Kind == delta.Copy && op.Base == w.part {
			copies += op.Length
		}
	}
	end, err := in.rest()
	switch {
	case err != nil:
		return done, false, err
	case !end.Whole:
		return done, false, errCut
	case same.old != nil:
		done, err = b.c.s.tree.Put(w.entry.Path, a, b.old())
		if !errors.Is(err, apply.ErrContent) {
			f.Discard()
			break
		}
		// Its attributes are those of other names of it as well, and stay.
		fallthrough
	default:
		sent = true
		done, err = f.Place()
	}
	if err == nil && b.large() {
		err = b.c.s.tree.DropPartial(w.entry.Path)
	}
	return done, sent, err
}

// output is a file of a delta.Builder.
type output struct{ *apply.File }

// Truncate makes a hole of what is missing at the end.
func (o output) Truncate(size int64) error {
	o.Hole(size)
	return nil
}

// worthKeeping reports whether somebody may go on with a part after an error.
func worthKeeping(err error) bool {
	return err != nil && !errors.Is(err, delta.ErrSum) && !errors.Is(err, delta.ErrMalformed) && apply.KindOf(err) != apply.Full
}

// stream is the content of one file, up to its ContentEnd.
type stream struct {
	b     *batch
	next  wire.Message // read, and not taken yet; nil when there is none
	end   *wire.ContentEnd
	err   error
	bytes int64
}

// op is the next operation, whose Data is there until the next call.
func (s *stream) op() (delta.Op, error) {
	for s.err == nil && s.end == nil {
		if c, ok := s.advance().(*wire.Content); ok {
			return c.Op, nil
		}
	}
	if s.err != nil {
		return delta.Op{}, s.err
	}
	return delta.Op{}, errCut
}

// advance reads the next message.
func (s *stream) advance() wire.Message {
	m := s.next
	s.next = nil
	if m == nil {
		if m, s.err = s.b.c.read(); s.err != nil {
			return nil
		}
	}
	switch m := m.(type) {
	case *wire.Content:
		s.bytes += int64(len(m.Op.Data))
	case *wire.ContentEnd:
		s.end = m
	case *wire.Alive:
	default:
		s.err = fmt.Errorf("%T in the content of a file: %w", m, wire.ErrFrame)
	}
	return m
}

// rest reads up to the end of the content.
func (s *stream) rest() (*wire.ContentEnd, error) {
	for s.end == nil && s.err == nil {
		s.advance()
	}
	return s.end, s.err
}
