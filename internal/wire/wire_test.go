package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/perm"
	"sersync/internal/transport"
)

// messages are one of each type, with all that it can hold.
func messages() []Message {
	file := Attr{Mode: unix.S_IFREG | 0o4755, UID: 1<<32 - 1, GID: 7, Size: 5, Mtime: -1}
	return []Message{
		&Hello{Oldest: 1, Newest: Version, Target: "a b", Session: [SessionSize]byte{1, 2}, Program: "1.0"},
		&Welcome{Version: 1, Program: "1.0", Root: "2-3", Facts: Facts{Owners: true, Granularity: 1e9}},
		&Begin{Op: transport.RemoveExact, Keep: true, Durable: true},
		&Begin{Op: transport.Update, Day: "2026-11-21"},
		&Entry{Path: "d/\xff\n", Attr: file, Inline: true, Content: []byte("hello"), HasXattrs: true, Xattrs: []Xattr{{Name: "user.x", Value: []byte{0}}}},
		&Entry{Path: "d/other", Attr: file, Link: "d/name", HasXattrs: true},
		&Entry{Path: change.Root, Attr: Attr{Mode: unix.S_IFDIR | 0o1777}, Parent: true},
		&Entry{Path: "link", Attr: Attr{Mode: unix.S_IFLNK | 0o777, Link: "../to"}},
		&Entry{Path: "tty", Attr: Attr{Mode: unix.S_IFCHR | 0o600, Rdev: 0x500}},
		&Remove{Path: "a/b"},
		&Content{Op: delta.Op{Kind: delta.Start, Key: delta.Key{1}}},
		&Content{Op: delta.Op{Kind: delta.Copy, Base: 1, Offset: 1 << 40, Length: 9}},
		&ContentEnd{Whole: true},
		&End{},
		&Result{Index: 300, Outcome: Limited, Sent: true, Text: "why"},
		&Want{Index: 3, Last: true, Signature: []byte("sig")},
		&Done{},
		&Refused{Kind: transport.Full, Lost: true, Text: "t", Hint: "h"},
		&Alive{},
		&Durable{Batch: 1 << 40},
		&Compare{Content: true},
		&Compare{Trash: true},
		&Fetch{Path: "2026-11-21/d", Content: true},
		&Expire{Day: "2026-11-21"},
		&Welcome{Facts: Facts{SetID: true, Xattrs: true, Fake: true, Granularity: 1, Chmod: perm.Chmod{{And: 0o7755, Or: 0o20, Copy: 0o100, To: 0o11, Within: 0o755, Less: true, Kinds: perm.Dirs, KeepX: true}}}},
		&Dir{Path: "d", Sum: Sum{9}},
		&Dir{Path: "d", Xattrs: true, Sum: Sum{9}},
		&Listing{Entries: []Listed{{Name: "f", Attr: file, Xattrs: Sum{2}}, {Name: "g", Attr: file, Sum: Sum{1}, Xattrs: Sum{2}}, {Name: "h", Attr: file, Unreadable: true}}},
		&Dir{Path: change.Root, All: true},
		&Listing{Last: true, Text: "t", Entries: []Listed{{Attr: Attr{Mode: unix.S_IFDIR}}, {Name: "f", Attr: file, Sum: Sum{1}}}},
		&More{Listings: 7},
		&Move{From: "a", To: "b", Clear: true, Attr: file},
		&Move{From: "a", To: "b", Exact: true, Attr: Attr{Mode: unix.S_IFDIR | 0o755}, Names: Names{1, 1 << 60}, Maybe: []change.Path{"c/d", "e"}},
	}
}

// A day is the name of a directory over there.
func TestADayIsADay(t *testing.T) {
	for _, day := range []string{"", "..", "../../etc", "2026-1-1", "2026-02-30", "2026-11-21/", "2026-11-211", "today"} {
		var stream bytes.Buffer
		w := NewWriter(&stream)
		if err := errors.Join(w.Write(&Expire{Day: day}), w.Flush()); err != nil {
			t.Fatal(err)
		}
		if m, err := NewReader(&stream).Read(); !errors.Is(err, ErrFrame) {
			t.Errorf("%q: %+v, %v", day, m, err)
		}
	}
}

// What says nothing of a trash is as it was in version 1.
func TestWithoutATrashMessagesAreThoseOfTheFirstVersion(t *testing.T) {
	for _, c := range []struct {
		m    Message
		want []byte
	}{
		{&Begin{Op: transport.Remove, Keep: true, Durable: true}, []byte{byte(transport.Remove), 3}},
		{&Compare{Content: true}, []byte{1}},
	} {
		if got := c.m.encode(nil); !bytes.Equal(got, c.want) {
			t.Errorf("%+v is %v, want %v", c.m, got, c.want)
		}
	}
}

func TestMessagesArriveAsTheyWere(t *testing.T) {
	var stream bytes.Buffer
	w := NewWriter(&stream)
	for _, m := range messages() {
		if err := w.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	op := delta.Op{Kind: delta.Data, Data: []byte("bytes")}
	if err := errors.Join(w.Write(&Content{Op: op}), w.Flush()); err != nil {
		t.Fatal(err)
	}
	// Byte by byte, as a slow connection brings them.
	r := NewReader(io.MultiReader(strings.NewReader(stream.String()[:1]), iotestOneByte{&stream}))
	stream.Next(1)
	for _, want := range messages() {
		got, err := r.Read()
		if err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%T (-want +got):\n%s", want, diff)
		}
	}
	got, err := r.Read()
	if c, ok := got.(*Content); err != nil || !ok || !cmp.Equal(c.Op, op) {
		t.Errorf("content: %+v, %v", got, err)
	}
	if _, err := r.Read(); err != io.EOF {
		t.Errorf("the end: %v, want EOF", err)
	}
}

// iotestOneByte reads one byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }

// frameOf is a frame with any type and content.
func frameOf(t Type, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(t), byte(n), byte(n >> 8), byte(n >> 16)}, payload...)
}

func TestFramesThatMustNotBeAreRefused(t *testing.T) {
	for name, frame := range map[string][]byte{
		"a frame that is too long":       {byte(typeAlive), 0xff, 0xff, 0xff},
		"an unknown type":                frameOf(0xee, nil),
		"more than the message":          frameOf(typeAlive, []byte{1}),
		"less than the message":          frameOf(typeDurable, nil),
		"a path that leaves the root":    frameOf(typeRemove, (&Remove{Path: "a/../../etc"}).encode(nil)),
		"an absolute path":               frameOf(typeRemove, (&Remove{Path: "/etc"}).encode(nil)),
		"a path with a zero":             frameOf(typeRemove, (&Remove{Path: "a\x00b"}).encode(nil)),
		"a length beyond the frame":      frameOf(typeRemove, []byte{0x80, 0x80, 0x01}),
		"a path longer than any":         frameOf(typeRemove, (&Remove{Path: change.Path(strings.Repeat("a", MaxPath+1))}).encode(nil)),
		"a type of file that is none":    frameOf(typeEntry, (&Entry{Path: "a", Attr: Attr{Mode: 0o644}}).encode(nil)),
		"mode bits that are none":        frameOf(typeEntry, (&Entry{Path: "a", Attr: Attr{Mode: unix.S_IFDIR | 1<<20}}).encode(nil)),
		"content that is not the size":   frameOf(typeEntry, (&Entry{Path: "a", Inline: true, Content: []byte("x"), Attr: Attr{Mode: unix.S_IFREG, Size: 2}}).encode(nil)),
		"content of a directory":         frameOf(typeEntry, (&Entry{Path: "a", Inline: true, Attr: Attr{Mode: unix.S_IFDIR}}).encode(nil)),
		"a link that leaves the root":    frameOf(typeEntry, (&Entry{Path: "a", Link: "../b", Attr: Attr{Mode: unix.S_IFREG}}).encode(nil)),
		"a link to a directory":          frameOf(typeEntry, (&Entry{Path: "a", Link: "b", Attr: Attr{Mode: unix.S_IFDIR}}).encode(nil)),
		"a link with content":            frameOf(typeEntry, (&Entry{Path: "a", Link: "b", Inline: true, Attr: Attr{Mode: unix.S_IFREG}}).encode(nil)),
		"a step of content that is none": frameOf(typeContent, []byte{99}),
		"two steps in one message":       frameOf(typeContent, []byte{byte(delta.Hole), 1, byte(delta.Hole), 1}),
		"a flag that is none":            frameOf(typeContentEnd, []byte{0x80}),
		"an operation that is none":      frameOf(typeBegin, []byte{99, 0}),
		"a kind of failure that is none": frameOf(typeRefused, []byte{99, 0, 0, 0}),
		"an outcome that is none":        frameOf(typeResult, []byte{0, 99, 0, 0}),
		"a granularity of zero":          frameOf(typeWelcome, (&Welcome{}).encode(nil)),
		"a size below zero":              frameOf(typeEntry, (&Entry{Path: "a", Attr: Attr{Mode: unix.S_IFREG, Size: -1}}).encode(nil)),
	} {
		if m, err := NewReader(bytes.NewReader(frame)).Read(); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %+v, %v, want ErrFrame", name, m, err)
		}
	}
	if _, err := NewReader(strings.NewReader("\x01\x05\x00\x00abc")).Read(); err != io.ErrUnexpectedEOF {
		t.Errorf("a frame that is cut: %v", err)
	}
}

func TestWhatIsAnnouncedTakesNoMemoryBeforeItIsThere(t *testing.T) {
	r := NewReader(strings.NewReader(string([]byte{byte(typeContent), 0xff, 0xff, 0x0f}) + "little"))
	if _, err := r.Read(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if len(r.buf) > 4*readSize {
		t.Errorf("%d bytes are kept for a frame of which 6 came", len(r.buf))
	}
}

func TestListingsThatATargetCannotTellApartHaveOneSum(t *testing.T) {
	a := []Listed{{Name: "f", Attr: Attr{Mode: unix.S_IFREG | 0o644, UID: 1, Mtime: 1_500_000_001}}, {Name: "e", Attr: Attr{Mode: unix.S_IFLNK | 0o755, Link: "x"}}}
	b := []Listed{{Name: "e", Attr: Attr{Mode: unix.S_IFLNK | 0o777, Link: "x"}}, {Name: "f", Attr: Attr{Mode: unix.S_IFREG | 0o644, UID: 2, Mtime: 1_000_000_000}}}
	coarse := Facts{Granularity: 1e9}
	if coarse.SumOf(a) != coarse.SumOf(b) {
		t.Error("owner, part of a second and mode of a link are compared where they cannot be stored")
	}
	if fine := (Facts{Owners: true, Granularity: 1}); fine.SumOf(a) == fine.SumOf(b) {
		t.Error("owner and time are not compared where they can be stored")
	}
	b[1].Name = "g"
	if coarse.SumOf(a) == coarse.SumOf(b) {
		t.Error("names are not compared")
	}
}

func FuzzRead(f *testing.F) {
	for _, m := range messages() {
		f.Add(byte(m.frame()), m.encode(nil))
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		m, err := parse(Type(kind), payload, empty(Type(kind)))
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatalf("%v is no ErrFrame", err)
			}
			return
		}
		again, err := parse(Type(kind), m.encode(nil), empty(Type(kind)))
		if err != nil {
			t.Fatalf("%+v cannot be read again: %v", m, err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("another message the second time (-first +second):\n%s", diff)
		}
	})
}
