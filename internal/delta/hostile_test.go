package delta

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
)

func TestOperationsBeyondTheirBoundsAreRefused(t *testing.T) {
	p := make([]byte, 1000)
	for name, ops := range map[string][]Op{
		"data beyond the size":               {{Kind: Hole, Length: 4000}, {Kind: Data, Data: p[:97]}},
		"empty data":                         {{Kind: Data}},
		"copy beyond the size":               {{Kind: Copy, Length: 1000}, {Kind: Hole, Length: 3000}, {Kind: Copy, Length: 97}},
		"copy beyond the base":               {{Kind: Copy, Offset: 1, Length: 1000}},
		"copy of nothing":                    {{Kind: Copy}},
		"copy of less than nothing":          {{Kind: Copy, Offset: 5, Length: -5}},
		"copy from before the base":          {{Kind: Copy, Offset: -1, Length: 1}},
		"copy whose end wraps around":        {{Kind: Copy, Offset: 1<<63 - 1, Length: 10}},
		"copy longer than anything":          {{Kind: Copy, Length: 1<<63 - 1}},
		"copy of a base that is not there":   {{Kind: Copy, Base: 1, Length: 1}},
		"copy of a base of negative number":  {{Kind: Copy, Base: -1, Length: 1}},
		"hole beyond the size":               {{Kind: Hole, Length: 4097}},
		"hole whose end wraps around":        {{Kind: Hole, Length: 4096}, {Kind: Hole, Length: 1<<63 - 1}},
		"hole of less than nothing":          {{Kind: Hole, Length: 10}, {Kind: Hole, Length: -10}},
		"end before the end":                 {{Kind: Hole, Length: 4095}, {Kind: End}},
		"operation that there is not":        {{Kind: Start + 1}},
		"no operation":                       {{}},
		"a start after the start":            {{Kind: Start}, {Kind: Start}},
		"a start after all others":           {{Kind: Hole, Length: 10}, {Kind: Start}},
		"more after all is there":            {{Kind: Hole, Length: 4096}, {Kind: Data, Data: p[:1]}},
		"data beyond it after what was held": {{Kind: Data, Data: p}, {Kind: Copy, Length: 1000}, {Kind: Hole, Length: 2097}},
	} {
		t.Run(name, func(t *testing.T) {
			var out memory
			b := NewBuilder(&out, 4096, []Base{base(p)})
			for i, op := range ops {
				err := b.Apply(op)
				if last := i == len(ops)-1; last != errors.Is(err, ErrMalformed) || !last && err != nil {
					t.Errorf("operation %d: %v", i, err)
				}
			}
			if len(out.p) > 4096 {
				t.Errorf("%d bytes written", len(out.p))
			}
		})
	}
}

func TestCopyThatWouldTakeLongIsRefused(t *testing.T) {
	b := NewBuilder(&memory{}, 1<<40, []Base{{File: bytes.NewReader(nil), Size: 1 << 40}})
	if err := b.Apply(Op{Kind: Copy, Length: MaxCopy + 1}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestAnotherSumIsRefused(t *testing.T) {
	for name, last := range map[string]Op{"data": {Kind: Data, Data: []byte("x")}, "hole": {Kind: Hole, Length: 1}} {
		b := NewBuilder(&memory{}, 1, nil)
		if err := b.Apply(last); err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(Op{Kind: End}); !errors.Is(err, ErrSum) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// restless changes what it holds when it was read through once.
type restless struct {
	*bytes.Reader
	then *bytes.Reader
}

func (r *restless) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.Reader.ReadAt(p, at)
	if at+int64(n) == r.Size() {
		r.Reader = r.then
	}
	return n, err
}

func TestBaseThatChangesAfterItWasSignedIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	old := random(r, 3<<20)
	changed := bytes.Clone(old)
	changed[1<<20]++
	for name, test := range map[string]struct {
		then []byte
		err  error
	}{"one byte": {changed, ErrSum}, "cut": {old[:2<<20], ErrChanged}} {
		b := Base{File: &restless{bytes.NewReader(old), bytes.NewReader(test.then)}, Size: int64(len(old))}
		if _, err := transfer(&memory{}, bytes.NewReader(old), int64(len(old)), []Base{b}); !errors.Is(err, test.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileThatIsCutWhileItIsReadIsAnError(t *testing.T) {
	_, err := Diff(context.Background(), bytes.NewReader(make([]byte, 5000)), 5001, nil, nil, func(Op) error { return nil })
	if !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
}

func TestDiffEndsWithItsContextAndItsReader(t *testing.T) {
	file := bytes.NewReader(random(rand.New(rand.NewPCG(5, 5)), 8<<20))
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	_, err := Diff(ctx, file, file.Size(), nil, nil, func(Op) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n > 8 {
		t.Errorf("%v after %d operations", err, n)
	}
	if _, err = Diff(context.Background(), file, file.Size(), nil, nil, func(Op) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if err = Sign(ctx, io.Discard, 1, []Base{{File: file, Size: file.Size()}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Each window of the file has the rolling sum of a block that is nowhere in it.
func TestRollingSumsMadeToCollideCostAConstantAByte(t *testing.T) {
	file := bytes.Repeat([]byte("a"), 24<<20)
	block := bytes.Clone(file[:4096])
	block[100], block[101], block[102] = 'b', 'a'-2, 'b'
	if weakOf(block) != weakOf(file[:4096]) {
		t.Fatal("the sums differ")
	}
	var n int64
	sig, err := signatureOf([]Base{base(block)}, 1, &n)
	if err != nil {
		t.Fatal(err)
	}
	sig.index()
	size := int64(len(file))
	d := differ{window: newWindow(context.Background(), bytes.NewReader(file), size, sig.block, newSummer(size, nil)), sig: sig, emit: func(Op) error { return nil }, want: 0}
	if err := d.run(); err != nil {
		t.Fatal(err)
	}
	if d.wasted < wasteFree || d.wasted > wasteFree+wasteRate*size+4096 {
		t.Errorf("%d bytes hashed in vain", d.wasted)
	}
}

func TestSignatureIsSmall(t *testing.T) {
	for _, test := range []struct{ total, most int64 }{
		{1 << 20, 4 << 10}, {1 << 30, 512 << 10}, {1 << 40, 14 << 20}, {1 << 44, 14 << 20}, {1<<63 - 1, 14 << 20},
	} {
		n := min(blocks(test.total, blockSize(test.total)), maxBlocks)
		if n*entrySize > test.most {
			t.Errorf("signature of %d bytes has %d blocks", test.total, n)
		}
	}
}

func TestWeakRollsToWhatItIs(t *testing.T) {
	p := random(rand.New(rand.NewPCG(6, 6)), 20_000)
	none := newSieve(0)
	w := weakOf(p[:4096])
	for at := 0; at+1+4096 < len(p); at += 777 {
		if want := slowly(p[at : at+4096]); w != want || weakOf(p[at:at+4096]) != want {
			t.Fatalf("at %d: rolled %v, made %v, is %v", at, w, weakOf(p[at:at+4096]), want)
		}
		n := min(777, len(p)-at-4096)
		w.roll(p[at:at+n], p[at+4096:at+4096+n], 4096, none)
	}
	// The lanes hold the most that a block can be.
	most := bytes.Repeat([]byte{255}, 4096)
	if weakOf(most) != slowly(most) {
		t.Error("overflow")
	}
}

func slowly(p []byte) (w weak) {
	for _, b := range p {
		w.bytes += uint32(b)
		w.sums += w.bytes
	}
	return w
}

func FuzzParse(f *testing.F) {
	for _, op := range []Op{
		{Kind: Data, Data: []byte("hello")},
		{Kind: Copy, Base: 1, Offset: 1 << 40, Length: 300},
		{Kind: Copy, Length: 1<<63 - 1},
		{Kind: Hole, Length: 1 << 62},
		{Kind: End, Sum: Sum{1, 2, 3}},
		{Kind: Start, Key: Key{1, 2, 3}},
	} {
		encoded := op.Append(nil)
		f.Add(append([]byte{byte(len(encoded))}, encoded...))
	}
	f.Add([]byte("\x04\x01\x80\x80\x40"))
	f.Add([]byte("\x0b\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	bases := []Base{base(make([]byte, 1000)), base(bytes.Repeat([]byte("base"), 5000))}
	f.Fuzz(func(t *testing.T, p []byte) {
		const size = 1 << 20
		var out memory
		b := NewBuilder(&out, size, bases)
		// Operations one after the other, each behind a byte that says how long it is.
		for len(p) > 0 {
			n := min(int(p[0]), len(p)-1)
			op, err := Parse(p[1 : 1+n])
			p = p[1+n:]
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
				return
			}
			again, err := Parse(op.Append(nil))
			if err != nil || !reflect.DeepEqual(op, again) {
				t.Fatalf("%+v is %+v, %v", op, again, err)
			}
			if err := b.Apply(op); err != nil {
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSum) {
					t.Fatal(err)
				}
				return
			}
			if len(out.p) > size {
				t.Fatal("written beyond the size")
			}
		}
	})
}

// Whatever a receiver says that it has, a sender tells the file it has, and copies nothing that the other did not sign.
func FuzzSignature(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	file := random(r, 50_000)
	var sig bytes.Buffer
	if err := Sign(context.Background(), &sig, 9, []Base{base(file[5000:30_000]), base(file[:17])}); err != nil {
		f.Fatal(err)
	}
	f.Add(sig.Bytes(), uint8(7))
	f.Add(sig.Bytes()[:30], uint8(1))
	huge := binary.LittleEndian.AppendUint64([]byte("\x01\x18........\x01\x00"), 1<<63-1)
	f.Add(huge, uint8(100))
	f.Fuzz(func(t *testing.T, p []byte, piece uint8) {
		var s Signature
		for rest := p; len(rest) > 0; {
			n := min(1+int(piece), len(rest))
			if _, err := s.Write(rest[:n]); err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
				return
			}
			rest = rest[n:]
		}
		if len(s.keys)*entrySize > len(p) {
			t.Fatalf("%d blocks of %d bytes", len(s.keys), len(p))
		}
		var told int64
		_, err := Diff(context.Background(), bytes.NewReader(file), int64(len(file)), &s, nil, func(op Op) error {
			told += op.Length + int64(len(op.Data))
			if op.Kind == Copy && (op.Offset < 0 || op.Length <= 0 || op.Offset+op.Length > s.bases[op.Base].size) {
				t.Errorf("copy %+v", op)
			}
			return nil
		})
		if !s.Complete() {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("signature that is not complete: %v", err)
			}
		} else if err != nil || told != int64(len(file)) {
			t.Errorf("%d bytes told, %v", told, err)
		}
	})
}

func TestBuilderTellsOfADiskThatIsFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	b := NewBuilder(full, 1<<20, nil)
	for range 4 {
		if err = b.Apply(Op{Kind: Data, Data: bytes.Repeat([]byte("x"), MaxData)}); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("no error")
	}
}
