package wire

import (
	"encoding/binary"

	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/transport"
)

// The types of all frames. A number is never given to another message.
const (
	typeHello Type = iota + 1
	typeWelcome
	typeBegin
	typeEntry
	typeRemove
	typeContent
	typeContentEnd
	typeEnd
	typeResult
	typeWant
	typeDone
	typeRefused
	typeAlive
	typeDurable
	typeCompare
	typeDir
	typeListing
	typeMove
	typeMore
	typeFetch
	typeExpire
)

// SumSize is the size of a hash of content: BLAKE3, cut to 128 bits.
const SumSize = 16

// Sum is a hash of content.
type Sum [SumSize]byte

// Begin begins a batch, from the sender. Its entries or removals follow, numbered from 0 in their order, and then End.
type Begin struct {
	Op transport.Op
	// Keep is that of transport.Batch.
	Keep bool
	// Durable asks for the answer to come when all is on the target's disk.
	Durable bool
	// Day, when not empty, is that of the trash (YYYY-MM-DD) to which goes what the batch removes or replaces by something of another type.
	Day string
}

func (*Begin) frame() Type { return typeBegin }

func (m *Begin) encode(b []byte) []byte {
	b = append(b, byte(m.Op), flags(m.Keep, m.Durable, m.Day != ""))
	if m.Day != "" {
		b = appendText(b, m.Day)
	}
	return b
}

// Entry is one path of an update as it is at the source, from the sender. A regular file comes with its content when it is small, or
// is offered without: the target asks for it with a Want when it needs it.
type Entry struct {
	Path change.Path
	Attr Attr
	// Parent: it is there because something below it is. It is no path of the batch, and nothing is answered.
	Parent bool
	// Inline: Content goes along. Nothing on the way can change it: the connection sees to that.
	Inline  bool
	Content []byte
	// Link is another name of the regular file, which is offered: where the target has it there as Attr and Xattrs say, it needs no content and
	// gives it this name, too.
	Link change.Path
	// HasXattrs: Xattrs are all that there are.
	HasXattrs bool
	Xattrs    []Xattr
}

func (*Entry) frame() Type { return typeEntry }

func (m *Entry) encode(b []byte) []byte {
	b = append(b, flags(m.Parent, m.Inline, m.HasXattrs, m.Link != change.Root))
	b = m.Attr.encode(appendText(b, m.Path))
	if m.Link != change.Root {
		b = appendText(b, m.Link)
	}
	if m.HasXattrs {
		b = appendXattrs(b, m.Xattrs)
	}
	if m.Inline {
		b = append(b, m.Content...)
	}
	return b
}

func (m *Entry) decode(d *decoder) {
	var linked bool
	d.flags(&m.Parent, &m.Inline, &m.HasXattrs, &linked)
	m.Path, m.Attr = d.path(), d.attr()
	if linked {
		m.Link = d.path()
		if m.Link == change.Root || m.Inline || !m.Attr.IsRegular() {
			d.fail()
		}
	}
	if m.HasXattrs {
		m.Xattrs = d.xattrs()
	}
	if m.Inline {
		m.Content = d.bytes(len(d.b))
		if int64(len(m.Content)) != m.Attr.Size || !m.Attr.IsRegular() || len(m.Content) > MaxInline {
			d.fail()
		}
	}
}

// Remove is one path of a removal, from the sender.
type Remove struct{ Path change.Path }

func (*Remove) frame() Type { return typeRemove }

func (m *Remove) encode(b []byte) []byte { return appendText(b, m.Path) }

func (m *Remove) decode(d *decoder) { m.Path = d.path() }

// Content is a step of making an offered file that the target wants, from the sender. The steps of a file follow one another without anything in
// between, files in the order in which they were wanted.
type Content struct{ Op delta.Op }

func (*Content) frame() Type { return typeContent }

func (m *Content) encode(b []byte) []byte { return m.Op.Append(b) }

func (m *Content) decode(d *decoder) {
	var err error
	if m.Op, err = delta.Parse(d.b); err != nil {
		d.fail()
	}
	d.b = nil
}

// ContentEnd ends the content of a wanted file, from the sender.
type ContentEnd struct {
	// Whole: all of it went over, and it is what was offered. Otherwise it is not to be placed.
	Whole bool
}

func (*ContentEnd) frame() Type { return typeContentEnd }

func (m *ContentEnd) encode(b []byte) []byte {
	return append(b, flags(m.Whole))
}

func (m *ContentEnd) decode(d *decoder) { d.flags(&m.Whole) }

// End ends what Begin or Compare began, from the sender.
type End struct{}

func (*End) frame() Type { return typeEnd }

func (*End) encode(b []byte) []byte { return b }

func (*End) decode(*decoder) {}

// Outcome is what became of one path.
type Outcome uint8

const (
	// Same: it was as it should be. Said of offers only.
	Same Outcome = iota
	// Changed: something was changed for it on the target.
	Changed
	// Limited: it is as it should be as far as the target can store it; Text says what it cannot.
	Limited
	// Failed: it is not as it should be, and trying again can help.
	Failed
	// Stuck: it is not as it should be, and somebody has to do something first.
	Stuck
	outcomes
)

// Result is what became of a path of a batch, from the target. A path of which nothing is said was as it should be; of an offer something is said in any case.
type Result struct {
	Index   int
	Outcome Outcome
	// Sent: it is a regular file whose content was taken over.
	Sent bool
	Text string
}

func (*Result) frame() Type { return typeResult }

func (m *Result) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(m.Index))
	b = append(b, byte(m.Outcome), flags(m.Sent))
	return appendText(b, m.Text)
}

func (m *Result) decode(d *decoder) {
	m.Index = int(d.number(1 << 31))
	m.Outcome = Outcome(d.u8())
	d.flags(&m.Sent)
	m.Text = string(d.text(MaxText))
	if m.Outcome >= outcomes {
		d.fail()
	}
}

// Want asks for the content of an entry, from the target. Where it has something like it, a signature of that follows in pieces: Wants with
// the same index, up to the one that is Last.
type Want struct {
	Index int
	Last  bool
	// Signature is a piece, as internal/delta encodes it.
	Signature []byte
}

func (*Want) frame() Type { return typeWant }

func (m *Want) encode(b []byte) []byte {
	b = append(binary.AppendUvarint(b, uint64(m.Index)), flags(m.Last))
	return append(b, m.Signature...)
}

func (m *Want) decode(d *decoder) {
	m.Index = int(d.number(1 << 31))
	d.flags(&m.Last)
	m.Signature = d.bytes(len(d.b))
}

// Done answers End, from the target: all of it is done.
type Done struct{}

func (*Done) frame() Type { return typeDone }

func (*Done) encode(b []byte) []byte { return b }

func (*Done) decode(*decoder) {}

// Refused ends a batch or a comparison from the side of the target: a state of it, and not of a path. The sender sends End still. In the place of a
// Welcome it ends the connection.
type Refused struct {
	Kind transport.Kind
	// Lost is that of transport.Error.
	Lost       bool
	Text, Hint string
}

func (*Refused) frame() Type { return typeRefused }

func (m *Refused) encode(b []byte) []byte {
	return appendText(appendText(append(b, byte(m.Kind), flags(m.Lost)), m.Text), m.Hint)
}

func (m *Refused) decode(d *decoder) {
	m.Kind = transport.Kind(d.u8())
	d.flags(&m.Lost)
	m.Text, m.Hint = string(d.text(MaxText)), string(d.text(MaxText))
	if int(m.Kind) >= len(transport.Kinds()) {
		d.fail()
	}
}

func (m *Begin) decode(d *decoder) {
	m.Op = transport.Op(d.number(uint64(transport.RemoveExact)))
	var trash bool
	d.flags(&m.Keep, &m.Durable, &trash)
	if trash {
		m.Day = d.day()
	}
}

// flags are up to eight of them in a byte, the first one lowest.
func flags(all ...bool) byte {
	var b byte
	for i, set := range all {
		if set {
			b |= 1 << i
		}
	}
	return b
}

func (d *decoder) flags(all ...*bool) {
	b := d.u8()
	for i, set := range all {
		*set = b&(1<<i) != 0
	}
	if b>>len(all) != 0 {
		d.fail()
	}
}
