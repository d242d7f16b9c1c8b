package wire

import (
	"encoding/binary"

	"sersync/internal/change"
	"sersync/internal/perm"
)

// Version is the newest version of these messages that this program speaks, and Oldest the oldest one.
const (
	Version = 3
	Oldest  = 1
	// Links is the first version in which an Entry may have a Link.
	Links = 2
	// Trash is the first version with what concerns a trash: Begin.Day, Compare.Trash, Fetch, Expire. Without these the messages are what they
	// were before it.
	Trash = 2
	// Keyed is the first version in which content may begin with the key of its sum.
	Keyed = 3
)

// SessionSize is the size of what names a session.
const SessionSize = 16

// Hello is the first message of a connection, from the sender.
type Hello struct {
	// Oldest and Newest are the versions that the sender speaks.
	Oldest, Newest int
	// Target names who replicates what to here; the same in each session of it. All other sessions of that name end when one begins:
	// their connections are cut, and whatever they were doing is over before the answer comes.
	Target string
	// Session is random, and the same for all connections of one session.
	Session [SessionSize]byte
	// Program is the version of the program, for people.
	Program string
}

func (*Hello) frame() Type { return typeHello }

func (m *Hello) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(m.Oldest))
	b = binary.AppendUvarint(b, uint64(m.Newest))
	b = append(appendText(b, m.Target), m.Session[:]...)
	return appendText(b, m.Program)
}

func (m *Hello) decode(d *decoder) {
	m.Oldest, m.Newest = int(d.number(1<<16)), int(d.number(1<<16))
	m.Target = string(d.text(MaxText))
	copy(m.Session[:], d.bytes(SessionSize))
	m.Program = string(d.text(MaxText))
	// A newer one may have more to say.
	if m.Newest > Version {
		d.b = nil
	}
}

// Welcome answers Hello, from the target.
type Welcome struct {
	// Version is the one that both speak.
	Version int
	Program string
	// Root tells the directory of the target from another one in its place.
	Root string
	Facts
}

// Facts are what the target cannot store, so that nobody sends it for ever.
type Facts struct {
	// Owners: it sets owner and group.
	Owners bool
	// SetID: it keeps setuid, setgid and capabilities of files. Xattrs: its file system has extended attributes. Fake: it stores
	// what it does not set beside the files, in attributes whose names are for that.
	SetID, Xattrs, Fake bool
	// Granularity is what times are multiples of, in nanoseconds; 1 or more.
	Granularity int64
	// Chmod is what it makes of modes.
	Chmod perm.Chmod
}

// maxChmod bounds the changes of a Chmod.
const maxChmod = 256

func (*Welcome) frame() Type { return typeWelcome }

func (m *Welcome) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(m.Version))
	b = appendText(appendText(b, m.Program), m.Root)
	b = binary.AppendUvarint(append(b, flags(m.Owners, m.SetID, m.Xattrs, m.Fake)), uint64(m.Granularity))
	b = binary.AppendUvarint(b, uint64(len(m.Chmod)))
	for _, c := range m.Chmod {
		b = append(b, byte(c.Kinds), flags(c.KeepX, c.Less))
		for _, bits := range []uint16{c.And, c.Or, c.Copy, c.To, c.Within} {
			b = binary.AppendUvarint(b, uint64(bits))
		}
	}
	return b
}

func (m *Welcome) decode(d *decoder) {
	m.Version = int(d.number(1 << 16))
	m.Program, m.Root = string(d.text(MaxText)), string(d.text(MaxText))
	d.flags(&m.Owners, &m.SetID, &m.Xattrs, &m.Fake)
	m.Granularity = int64(d.number(1 << 40))
	if m.Granularity < 1 {
		d.fail()
	}
	for range d.number(maxChmod) {
		c := perm.Change{Kinds: perm.Kinds(d.number(uint64(perm.Files)))}
		d.flags(&c.KeepX, &c.Less)
		for _, bits := range []*uint16{&c.And, &c.Or, &c.Copy, &c.To, &c.Within} {
			*bits = uint16(d.number(0o7777))
		}
		m.Chmod = append(m.Chmod, c)
	}
}

// Alive says nothing: whoever sends it is there, and works or waits. Both sides do so whenever they would be silent for some seconds.
type Alive struct{}

func (*Alive) frame() Type { return typeAlive }

func (*Alive) encode(b []byte) []byte { return b }

func (*Alive) decode(*decoder) {}

// Durable says, from the target, that all batches of this connection up to a number are on its disk. The first one has number 1.
type Durable struct{ Batch uint64 }

func (*Durable) frame() Type { return typeDurable }

func (m *Durable) encode(b []byte) []byte { return binary.AppendUvarint(b, m.Batch) }

func (m *Durable) decode(d *decoder) { m.Batch = d.uvarint() }

// Compare begins a comparison, from the sender. It changes nothing. Directories follow, and then End.
type Compare struct {
	// Content asks for hashes of the content of regular files, too.
	Content bool
	// Trash: paths are those in the trash, and questions about it may follow.
	Trash bool
}

func (*Compare) frame() Type { return typeCompare }

func (m *Compare) encode(b []byte) []byte { return append(b, flags(m.Content, m.Trash)) }

func (m *Compare) decode(d *decoder) { d.flags(&m.Content, &m.Trash) }

// Dir asks about one directory, from the sender. The answers come in the order of the questions.
type Dir struct {
	Path change.Path
	// Xattrs asks for hashes of extended attributes, too.
	Xattrs bool
	// Sum is that of the sender's own listing: a target whose listing has the same one answers with an Equal one. All asks for the listing in any case.
	All bool
	Sum Sum
}

func (*Dir) frame() Type { return typeDir }

func (m *Dir) encode(b []byte) []byte {
	b = append(appendText(b, m.Path), flags(m.All, m.Xattrs))
	if !m.All {
		b = append(b, m.Sum[:]...)
	}
	return b
}

func (m *Dir) decode(d *decoder) {
	m.Path = d.path()
	d.flags(&m.All, &m.Xattrs)
	if !m.All {
		copy(m.Sum[:], d.bytes(SumSize))
	}
}

// MaxListings is how many Listings the target sends that the sender has not asked for More after, and MaxListed how many entries each has
// at the most: so what the sender has not told yet of a comparison is bounded. MaxQuestions is how many questions may be without a whole answer.
const (
	MaxListings  = 128
	MaxListed    = 128
	MaxQuestions = 256
)

// More says, from the sender, that it has dealt with so many Listings, or with other messages that answer questions about the trash.
type More struct{ Listings int }

func (*More) frame() Type { return typeMore }

func (m *More) encode(b []byte) []byte { return binary.AppendUvarint(b, uint64(m.Listings)) }

func (m *More) decode(d *decoder) { m.Listings = int(d.number(MaxListings)) }

// Listing answers Dir, from the target, in one or several pieces, up to the one that is Last.
type Listing struct {
	// Equal: it is that of the sender, and nothing is listed.
	Equal bool
	// Absent: there is no such directory.
	Absent bool
	// Unknown: it could not be read, and Text says why.
	Unknown bool
	Last    bool
	Text    string
	// Entries are sorted by name.
	Entries []Listed
}

// Listed is one entry of a directory; the directory itself has an empty name and is the first one.
type Listed struct {
	Name string
	Attr Attr
	// Sum is that of the content of a regular file when it was asked for, and Xattrs that of the extended attributes of a regular file or a
	// directory. It is zero where there are none; Unreadable: they are not known.
	Sum, Xattrs Sum
	Unreadable  bool
}

func (*Listing) frame() Type { return typeListing }

func (m *Listing) encode(b []byte) []byte {
	b = append(b, flags(m.Equal, m.Absent, m.Unknown, m.Last))
	b = appendText(b, m.Text)
	for i := range m.Entries {
		b = m.Entries[i].encode(b)
	}
	return b
}

func (m *Listing) decode(d *decoder) {
	d.flags(&m.Equal, &m.Absent, &m.Unknown, &m.Last)
	m.Text = string(d.text(MaxText))
	for len(d.b) > 0 && !d.bad {
		if len(m.Entries) == MaxListed {
			d.fail()
			return
		}
		l := Listed{Name: string(d.text(MaxName)), Attr: d.attr()}
		var content, xattrs bool
		d.flags(&content, &xattrs, &l.Unreadable)
		if content {
			copy(l.Sum[:], d.bytes(SumSize))
		}
		if xattrs {
			copy(l.Xattrs[:], d.bytes(SumSize))
		}
		m.Entries = append(m.Entries, l)
	}
}

func (l *Listed) encode(b []byte) []byte {
	b = l.Attr.encode(appendText(b, l.Name))
	content, xattrs := l.Sum != Sum{}, l.Xattrs != Sum{}
	b = append(b, flags(content, xattrs, l.Unreadable))
	if content {
		b = append(b, l.Sum[:]...)
	}
	if xattrs {
		b = append(b, l.Xattrs[:]...)
	}
	return b
}

// Fetch asks, from the sender, for what the trash has at a path. The answer is an Entry and a ContentEnd, with the Content of a regular
// file in between if it is asked for; a Result in the place of either is Same when there is nothing, and Failed when it cannot be read.
type Fetch struct {
	Path    change.Path
	Content bool
}

func (*Fetch) frame() Type { return typeFetch }

func (m *Fetch) encode(b []byte) []byte { return append(appendText(b, m.Path), flags(m.Content)) }

func (m *Fetch) decode(d *decoder) {
	m.Path = d.path()
	d.flags(&m.Content)
}

// Expire asks, from the sender, for a day of the trash to be removed for good. The answer is a Result: Changed, or Failed.
type Expire struct{ Day string }

func (*Expire) frame() Type { return typeExpire }

func (m *Expire) encode(b []byte) []byte { return appendText(b, m.Day) }

func (m *Expire) decode(d *decoder) { m.Day = d.day() }
