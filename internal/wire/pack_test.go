package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// noise does not get smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestWhatIsPackedArrivesAsItWas(t *testing.T) {
	text := []byte(strings.Repeat("the same again and again\n", 60_000))
	for name, pays := range map[string]func() bool{"never": nil, "not": func() bool { return false }, "always": func() bool { return true }} {
		var stream bytes.Buffer
		p := NewPacker(&stream)
		p.Pays = pays
		var all []byte
		for _, part := range [][]byte{[]byte("x"), text, noise(700_000), text[:packMin], text[:packMin-1], noise(packMax + 1)} {
			if n, err := p.Write(part); err != nil || n != len(part) {
				t.Fatal(n, err)
			}
			all = append(all, part...)
		}
		if small := stream.Len() < len(all)-len(text)/2; small != (name == "always") {
			t.Errorf("%s: %d bytes became %d", name, len(all), stream.Len())
		}
		got, err := io.ReadAll(NewUnpacker(&stream))
		if err != nil || !bytes.Equal(got, all) {
			t.Errorf("%s: %d bytes of %d are as they were, %v", name, len(got), len(all), err)
		}
	}
}

func TestWhatDoesNotGetSmallerIsTriedLessAndLess(t *testing.T) {
	p := NewPacker(io.Discard)
	tried := 0
	p.Pays = func() bool { return true }
	for range 1000 {
		before := p.rest
		if _, err := p.Write(noise(packMin)); err != nil {
			t.Fatal(err)
		}
		if before == 0 {
			tried++
		}
	}
	if tried > 60 {
		t.Errorf("%d of 1000 packs were tried", tried)
	}
}

// packOf is one pack of b, whatever its size.
func packOf(b []byte) []byte {
	var out bytes.Buffer
	p := NewPacker(&out)
	p.Pays = func() bool { return true }
	_ = p.writeRoomy(append(make([]byte, packHeader), b...)) // a buffer takes all
	return out.Bytes()
}

// What is written through a packer arrives, however it is gathered.
func TestFramesArriveThroughPacks(t *testing.T) {
	for _, pays := range []bool{false, true} {
		var out bytes.Buffer
		p := NewPacker(&out)
		p.Pays = func() bool { return pays }
		w := NewWriter(p)
		var sizes []int
		for i := range 400 {
			size := []int{0, 1, 100, 4 << 10, MaxInline}[i%5]
			sizes = append(sizes, size)
			content := bytes.Repeat([]byte{byte(i)}, size)
			if err := w.Write(&Entry{Path: "f", Attr: Attr{Mode: unix.S_IFREG, Size: int64(size)}, Inline: true, Content: content}); err != nil {
				t.Fatal(err)
			}
			if i%37 == 0 {
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		r := NewReader(NewUnpacker(&out))
		for i, size := range sizes {
			m, err := r.Read()
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			if e := m.(*Entry); len(e.Content) != size || bytes.Count(e.Content, []byte{byte(i)}) != size {
				t.Fatalf("frame %d holds %d bytes, %d should be", i, len(e.Content), size)
			}
		}
		if _, err := r.Read(); err != io.EOF {
			t.Errorf("behind the last frame: %v", err)
		}
	}
}

func TestPacksThatMustNotBeAreRefused(t *testing.T) {
	huge := packOf(make([]byte, 8<<20))
	for name, pack := range map[string][]byte{
		"an unknown kind":         {7, 1, 0, 0, 0, 0},
		"longer than any":         {packPlain, 0xff, 0xff, 0xff, 0xff},
		"empty":                   {packPlain, 0, 0, 0, 0},
		"what is not compressed":  append([]byte{packZstd, 4, 0, 0, 0}, "nope"...),
		"what is huge when it is": huge,
	} {
		if _, err := io.ReadAll(NewUnpacker(bytes.NewReader(pack))); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, want ErrFrame", name, err)
		}
	}
	if _, err := io.ReadAll(NewUnpacker(strings.NewReader("\x00\x05\x00\x00\x00abc"))); err != io.ErrUnexpectedEOF {
		t.Errorf("a pack that is cut: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(packOf(bytes.Repeat([]byte("a"), packMin)))
	f.Add(packOf([]byte("plain")))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = io.Copy(io.Discard, io.LimitReader(NewUnpacker(bytes.NewReader(b)), 64<<20))
	})
}
