package wire

import (
	"encoding/binary"

	"github.com/zeebo/blake3"

	"sersync/internal/change"
)

// MaxMaybe bounds Move.Maybe, in names and in bytes.
const (
	MaxMaybe      = 4096
	MaxMaybeBytes = MaxFrame / 4
)

// Move asks for what is at From to be moved to To, from the sender, where it is like Attr and nothing is at To, or a file in place of which a
// file comes. All of a batch of them are done at its End, so that they may form chains and rings. Its Result is Changed when it was done.
type Move struct {
	From, To change.Path
	// Clear: what is at To goes first, with all that is below.
	Clear bool
	// Exact: it is a directory, and is moved only when the names below it, those of Maybe and our own (filter.BuiltIn) left out, have the sum Names.
	Exact bool
	Attr  Attr
	Names Names
	// Maybe are paths from From on.
	Maybe []change.Path
}

func (*Move) frame() Type { return typeMove }

func (m *Move) encode(b []byte) []byte {
	b = m.Attr.encode(append(appendText(appendText(b, m.From), m.To), flags(m.Clear, m.Exact)))
	if !m.Exact {
		return b
	}
	b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, m.Names[0]), m.Names[1])
	for _, p := range m.Maybe {
		b = appendText(b, p)
	}
	return b
}

func (m *Move) decode(d *decoder) {
	m.From, m.To = d.path(), d.path()
	d.flags(&m.Clear, &m.Exact)
	m.Attr = d.attr()
	if !m.Exact {
		return
	}
	if sum := d.bytes(16); len(sum) == 16 {
		m.Names = Names{binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])}
	}
	for len(d.b) > 0 && !d.bad {
		if len(m.Maybe) == MaxMaybe {
			d.fail()
			return
		}
		m.Maybe = append(m.Maybe, d.path())
	}
}

// Names is a sum of names, whatever their order is: of the hash of each. The zero Names is that of none.
type Names [2]uint64

// Add adds a name.
func (n *Names) Add(p change.Path) {
	h := blake3.Sum256([]byte(p))
	n[0] += binary.LittleEndian.Uint64(h[:])
	n[1] += binary.LittleEndian.Uint64(h[8:])
}
