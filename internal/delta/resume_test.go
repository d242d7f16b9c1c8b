package delta

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
)

// counting counts what is written.
type counting struct {
	*os.File
	written int64
}

func (c *counting) WriteAt(p []byte, at int64) (int, error) {
	c.written += int64(len(p))
	return c.File.WriteAt(p, at)
}

func TestWhatArrivedBeforeACutIsNotWrittenAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	const cut = 9_999_999
	old := random(r, 16<<20)
	file := join(old[:5_000_000], random(r, 1000), old[5_000_000:])
	out := &counting{File: create(t, t.TempDir(), "out")}
	writeAt(t, out.File, file[:cut], 0)
	sent, err := transfer(out, bytes.NewReader(file), int64(len(file)), []Base{base(old), {File: out, Size: cut, InPlace: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, out.File, int64(len(file))), file) {
		t.Fatal("content differs")
	}
	if most := int64(len(file) - cut); out.written > most || sent.data > 3*minBlock {
		t.Errorf("%d bytes written, %d are missing; %d of data", out.written, most, sent.data)
	}
}

func TestAnythingCanBeWrittenOverWhatArrived(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 10))
		file := random(r, 1+r.IntN(1<<(10+r.IntN(12))))
		held := file[:r.IntN(len(file)+1)]
		for range r.IntN(4) {
			held, file = edit(r, held), edit(r, file)
		}
		if r.IntN(2) == 0 {
			at := r.IntN(len(file) + 1)
			file = join(file[:at], make([]byte, 300_000), file[at:])
		}
		out := create(t, dir, "out")
		writeAt(t, out, held, 0)
		bases := []Base{{File: out, Size: int64(len(held)), InPlace: true}}
		if r.IntN(2) == 0 {
			bases = append(bases, base(edit(r, file)))
		}
		if _, err := transfer(out, bytes.NewReader(file), int64(len(file)), bases); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if info, err := out.Stat(); err != nil || info.Size() != int64(len(file)) || !bytes.Equal(read(t, out, info.Size()), file) {
			t.Fatalf("seed %d: content differs, %v", seed, err)
		}
	}
}

func TestHolesAreMadeInWhatArrived(t *testing.T) {
	const size = 32 << 20
	out, file := create(t, t.TempDir(), "out"), make([]byte, size)
	r := rand.New(rand.NewPCG(11, 11))
	writeAt(t, out, random(r, size/2), 0)
	copy(file[3<<20:], random(r, 100_000))
	if _, err := transfer(out, bytes.NewReader(file), size, []Base{{File: out, Size: size / 2, InPlace: true}}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, out, size), file) {
		t.Fatal("content differs")
	}
	if n := blocksOf(t, out); n > 200_000 {
		t.Errorf("%d bytes on disk", n)
	}
}

func TestWhatWasWrittenOverCannotBeCopied(t *testing.T) {
	out := create(t, t.TempDir(), "out")
	writeAt(t, out, make([]byte, 1000), 0)
	b := NewBuilder(out, 2000, []Base{{File: out, Size: 1000, InPlace: true}})
	if err := b.Apply(Op{Kind: Data, Data: []byte("xx")}); err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(Op{Kind: Copy, Offset: 1, Length: 10}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}
