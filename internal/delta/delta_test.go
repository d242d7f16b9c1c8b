package delta

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// traffic is what one transfer sent both ways, and how much of it was Data.
type traffic struct{ signature, operations, data int64 }

func (s traffic) total() int64 { return s.signature + s.operations }

type counted struct {
	w io.Writer
	n *int64
}

func (c counted) Write(p []byte) (int, error) {
	*c.n += int64(len(p))
	return c.w.Write(p)
}

// signatureOf is what the sender gets of the bases, by way of bytes.
func signatureOf(bases []Base, seed uint64, sent *int64) (*Signature, error) {
	sig := &Signature{}
	if err := Sign(context.Background(), counted{sig, sent}, seed, bases); err != nil {
		return nil, err
	}
	if !sig.Complete() {
		return nil, errors.New("signature is not complete")
	}
	return sig, nil
}

// transfer makes out the same as file, as a sender and a receiver do that have a pipe between them.
func transfer(out Output, file io.ReaderAt, size int64, bases []Base) (traffic, error) {
	var sent traffic
	var sig *Signature
	if len(bases) > 0 {
		var err error
		if sig, err = signatureOf(bases, rand.Uint64(), &sent.signature); err != nil {
			return sent, err
		}
	}
	// Half of the transfers are those of a sender that knows no keys.
	var key *Key
	if rand.IntN(2) == 0 {
		key = &Key{byte(rand.Uint32())}
	}
	ctx, cancel := context.WithCancel(context.Background())
	way, back := make(chan []byte), make(chan []byte, 2)
	back <- nil
	back <- nil
	failed := make(chan error, 1)
	go func() {
		defer close(way)
		emit := func(op Op) error {
			sent.data += int64(len(op.Data))
			encoded := op.Append((<-back)[:0])
			sent.operations += int64(len(encoded))
			select {
			case way <- encoded:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		var err error
		if key != nil {
			err = emit(Op{Kind: Start, Key: *key})
		}
		var sum Sum
		if err == nil {
			sum, err = Diff(ctx, file, size, sig, key, emit)
		}
		if err == nil {
			err = emit(Op{Kind: End, Sum: sum})
		}
		failed <- err
	}()
	b := NewBuilder(out, size, bases)
	var err error
	for p := range way {
		var op Op
		if op, err = Parse(p); err == nil {
			err = b.Apply(op)
		}
		if err != nil {
			break
		}
		back <- p
	}
	cancel()
	return sent, errors.Join(err, <-failed)
}

// memory is a file in memory.
type memory struct{ p []byte }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if end := int(at) + len(p); end > len(m.p) {
		m.p = append(m.p, make([]byte, end-len(m.p))...)
	}
	return copy(m.p[at:], p), nil
}

func (m *memory) Truncate(size int64) error {
	m.p = append(m.p[:min(int(size), len(m.p))], make([]byte, max(0, int(size)-len(m.p)))...)
	return nil
}

func base(p []byte) Base { return Base{File: bytes.NewReader(p), Size: int64(len(p))} }

// mustTransfer is a transfer in memory that has to succeed.
func mustTransfer(t *testing.T, file []byte, bases ...[]byte) traffic {
	t.Helper()
	var all []Base
	for _, b := range bases {
		all = append(all, base(b))
	}
	var out memory
	sent, err := transfer(&out, bytes.NewReader(file), int64(len(file)), all)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.p, file) {
		t.Fatal("what was built is not what was read, but has its sum")
	}
	return sent
}

func random(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestWhatDiffersIsSentAndLittleElse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	old := random(r, 16<<20) // blocks of 4 KiB: a signature of 56 KiB
	const block = 4 << 10
	piece := random(r, 100_000)
	changed := bytes.Clone(old)
	copy(changed[5_000_001:], piece)
	for name, test := range map[string]struct {
		file  []byte
		bases [][]byte
		data  int64
	}{
		"the same":                          {old, [][]byte{old}, 0},
		"appended":                          {join(old, piece), [][]byte{old}, 100_000},
		"appended to a short block":         {join(old[:9_999_999], piece), [][]byte{old[:9_999_999]}, 100_000},
		"changed in the middle":             {changed, [][]byte{old}, 100_000 + 2*block},
		"a byte inserted at the front":      {join([]byte{1}, old), [][]byte{old}, 1},
		"much inserted at the front":        {join(random(r, 8<<20), old), [][]byte{old}, 8<<20 + sparse*block},
		"a byte removed from the front":     {old[1:], [][]byte{old}, block},
		"cut in the middle":                 {old[:5_000_001], [][]byte{old}, block},
		"its end alone":                     {old[12_345_678:], [][]byte{old}, block},
		"halves exchanged":                  {join(old[8<<20:], old[:8<<20]), [][]byte{old}, 0},
		"cut while it was sent":             {old, [][]byte{old[:9_999_999]}, 16<<20 - 9_999_999},
		"cut, with another one before":      {changed, [][]byte{old, changed[:5_050_000]}, 50_001 + 2*block},
		"cut, appended, and one before":     {join(changed, piece), [][]byte{old, changed[:5_050_000]}, 150_001 + 2*block},
		"empty":                             {nil, [][]byte{old}, 0},
		"nothing there":                     {piece, nil, 100_000},
		"an empty file there":               {piece, [][]byte{{}}, 100_000},
		"short block moved into the middle": {join(old[:block+7], old[3*block:]), [][]byte{old[:block+7], old[3*block:]}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sent := mustTransfer(t, test.file, test.bases...)
			if sent.data > test.data {
				t.Errorf("%d bytes of data, at most %d are needed", sent.data, test.data)
			}
			if rest := sent.operations - sent.data; rest > 4096 {
				t.Errorf("%d bytes of operations beside the data", rest)
			}
		})
	}
}

// edit does one random thing to p.
func edit(r *rand.Rand, p []byte) []byte {
	at, n := r.IntN(len(p)+1), 1+r.IntN(1<<r.IntN(18))
	end := min(at+n, len(p))
	switch r.IntN(8) {
	case 0:
		return join(p[:at], random(r, n), p[at:])
	case 1:
		return join(p[:at], p[end:])
	case 2:
		return join(p[:at], random(r, end-at), p[end:])
	case 3:
		return join(p, random(r, n))
	case 4:
		return bytes.Clone(p[:at])
	case 5:
		return join(p[:at], make([]byte, n), p[at:])
	case 6:
		return join(p[end:], p[at:end], p[:at])
	}
	return join(p[:at], bytes.Repeat([]byte("ab"), n), p[at:])
}

func TestAnyEditArrives(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		old := random(r, r.IntN(1<<(10+r.IntN(13))))
		file := old
		for range 1 + r.IntN(8) {
			file = edit(r, file)
		}
		var bases [][]byte
		if r.IntN(4) > 0 {
			bases = append(bases, old)
		}
		if r.IntN(2) > 0 {
			bases = append(bases, file[:r.IntN(len(file)+1)])
		}
		mustTransfer(t, file, bases...)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// blocksOf is how many bytes a file takes on its disk.
func blocksOf(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func create(t testing.TB, dir, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func writeAt(t testing.TB, f *os.File, p []byte, at int64) {
	t.Helper()
	if _, err := f.WriteAt(p, at); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, f *os.File, size int64) []byte {
	t.Helper()
	p := make([]byte, size)
	if n, err := f.ReadAt(p, 0); int64(n) != size {
		t.Fatal(n, err)
	}
	return p
}

func TestHolesStayHoles(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	const size = 64<<20 + 12345
	dir := t.TempDir()
	old := create(t, dir, "old")
	for range 40 {
		writeAt(t, old, random(r, 1+r.IntN(100_000)), r.Int64N(size-200_000))
	}
	if err := old.Truncate(size); err != nil {
		t.Fatal(err)
	}
	file := create(t, dir, "file")
	if _, err := io.Copy(file, bytes.NewReader(read(t, old, size))); err != nil {
		t.Fatal(err)
	}
	// The same, dense, and one change in it; then holes as the file system makes them.
	writeAt(t, file, random(r, 5000), 31_000_000)
	for _, source := range []*os.File{old, file} {
		for _, bases := range [][]Base{nil, {{File: old, Size: size}}, {{File: file, Size: size}}} {
			out := create(t, dir, "out")
			sent, err := transfer(out, source, size, bases)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(read(t, out, size), read(t, source, size)) {
				t.Fatal("content differs")
			}
			if got, most := blocksOf(t, out), blocksOf(t, old)+5000+2*page; got > most {
				t.Errorf("%d bytes on disk, the source %d", got, most)
			}
			if len(bases) > 0 && sent.data > 100_000 {
				t.Errorf("%d bytes of data", sent.data)
			}
		}
	}
}

// A hole costs neither reading nor hashing: else this took a quarter of an hour.
func TestHugeHoleCostsNothing(t *testing.T) {
	dir := t.TempDir()
	file, out := create(t, dir, "file"), create(t, dir, "out")
	const size = 3 << 40
	writeAt(t, file, []byte("in the middle"), size/2)
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := transfer(out, file, size, []Base{{File: file, Size: size}}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 13)
	if _, err := out.ReadAt(got, size/2); err != nil || string(got) != "in the middle" {
		t.Errorf("%q %v", got, err)
	}
	if n := blocksOf(t, out); n > 64<<10 {
		t.Errorf("%d bytes on disk", n)
	}
}
