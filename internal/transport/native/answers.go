package native

import (
	"errors"
	"fmt"

	"sersync/internal/transport"
	"sersync/internal/wire"
)

// take takes what the target says of the batch, in the goroutine that reads.
func (b *batch) take(m wire.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer poke(b.news)
	switch m := m.(type) {
	case *wire.Result:
		return b.result(m)
	case *wire.Want:
		return b.want(m)
	case *wire.Refused:
		b.refused = refusal(m)
		b.open, b.wanted = 0, nil
		return b.finish()
	case *wire.Done:
		if b.open > 0 {
			return fmt.Errorf("a batch is done, and %d offers are not answered: %w", b.open, wire.ErrFrame)
		}
		return b.finish()
	}
	return fmt.Errorf("%T as an answer to a batch: %w", m, wire.ErrFrame)
}

func (b *batch) finish() error {
	if b.over {
		return fmt.Errorf("a batch ends twice: %w", wire.ErrFrame)
	}
	b.over = true
	close(b.done)
	return nil
}

func (b *batch) result(m *wire.Result) error {
	if m.Index >= len(b.sent) {
		return fmt.Errorf("the result of path %d of %d: %w", m.Index, len(b.sent), wire.ErrFrame)
	}
	s := &b.sent[m.Index]
	once := &s.told
	if m.Outcome == wire.Limited {
		once = &s.limited
	}
	if *once {
		return fmt.Errorf("path %d has two results: %w", m.Index, wire.ErrFrame)
	}
	*once = true
	if o := s.offer; o != nil && o.waiting {
		o.waiting = false
		b.open--
	}
	if m.Sent {
		b.report.Files++
		b.report.Bytes += s.bytes
	}
	switch m.Outcome {
	case wire.Limited:
		b.report.Limits = append(b.report.Limits, transport.Failure{Path: s.path, Err: errors.New(printable(m.Text))})
	case wire.Failed, wire.Stuck:
		s.failed = true
		f := transport.Failure{Path: s.path, Retry: m.Outcome == wire.Failed, Err: errors.New(printable(m.Text))}
		b.report.Failed = append(b.report.Failed, f)
	case wire.Changed:
		b.report.Changed = append(b.report.Changed, s.path)
	}
	return nil
}

// What a target may say of what it has of one file, in bytes, and how much of that is kept of all. A file whose signature finds no room is sent
// as a whole.
const (
	signatureMax  = 16 << 20
	signaturesMax = 64 << 20
)

func (b *batch) want(m *wire.Want) error {
	var o *offer
	if m.Index < len(b.sent) {
		o = b.sent[m.Index].offer
	}
	if o == nil || !o.waiting || o.asked {
		return fmt.Errorf("content of path %d is wanted, which was not offered: %w", m.Index, wire.ErrFrame)
	}
	if len(o.signature)+len(m.Signature) > signatureMax {
		return fmt.Errorf("a signature of more than %d bytes: %w", signatureMax, wire.ErrFrame)
	}
	if o.unheeded = o.unheeded || b.held+len(m.Signature) > signaturesMax; o.unheeded {
		b.held -= len(o.signature)
		o.signature = nil
	} else {
		b.held += len(m.Signature)
		o.signature = append(o.signature, m.Signature...)
	}
	if m.Last {
		o.asked = true
		b.wanted = append(b.wanted, m.Index)
	}
	return nil
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
