package delta

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The benchmarks need room for three files of benchSize in /dev/shm, or in the directory DELTA_BENCH.
const benchSize = 1 << 30

func benchDir(b *testing.B) string {
	parent := os.Getenv("DELTA_BENCH")
	if parent == "" {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "delta")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// noise writes n random bytes to f.
func noise(b *testing.B, f *os.File, seed uint64, n int64) {
	var key [32]byte
	key[0] = byte(seed)
	if _, err := io.CopyN(f, rand.NewChaCha8(key), n); err != nil {
		b.Fatal(err)
	}
}

// spent is the processor time of this process and of its children so far.
func spent() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// edits make the new file of the old one, as a person would: into f, from old.
var edits = []struct {
	name string
	make func(b *testing.B, f, old *os.File)
}{
	{"same", func(b *testing.B, f, old *os.File) { concat(b, f, old) }},
	{"append-1MiB", func(b *testing.B, f, old *os.File) { concat(b, f, old); noise(b, f, 2, 1<<20) }},
	{"middle-4KiB", func(b *testing.B, f, old *os.File) {
		concat(b, f, old)
		writeAt(b, f, []byte(strings.Repeat("changed!", 512)), benchSize/2+4096)
	}},
	{"front-1B", func(b *testing.B, f, old *os.File) { writeAt(b, f, []byte{1}, 0); f.Seek(1, 0); concat(b, f, old) }},
	{"front-100MiB", func(b *testing.B, f, old *os.File) { noise(b, f, 3, 100<<20); concat(b, f, old) }},
	{"resume-half", func(b *testing.B, f, old *os.File) {
		concat(b, f, old)
		if err := old.Truncate(benchSize/2 + 12345); err != nil {
			b.Fatal(err)
		}
	}},
	{"other", func(b *testing.B, f, _ *os.File) { noise(b, f, 4, benchSize) }},
	{"first", func(b *testing.B, f, old *os.File) { concat(b, f, old); os.Remove(old.Name()) }},
}

func concat(b *testing.B, f, old *os.File) {
	if _, err := old.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(f, old); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkTransfer(b *testing.B) {
	for _, edit := range edits {
		b.Run(edit.name, func(b *testing.B) {
			dir := benchDir(b)
			old, file := create(b, dir, "old"), create(b, dir, "file")
			noise(b, old, 1, benchSize)
			edit.make(b, file, old)
			bases := []Base{{File: old, Size: sizeOf(b, old)}}
			if edit.name == "first" {
				bases = nil
			}
			b.Run("ours", func(b *testing.B) { benchOurs(b, dir, file, bases) })
			b.Run("rsync", func(b *testing.B) { benchRsync(b, dir, sizeOf(b, file)) })
		})
	}
}

func benchOurs(b *testing.B, dir string, file *os.File, bases []Base) {
	size := sizeOf(b, file)
	b.SetBytes(size)
	var sent traffic
	var cpu time.Duration
	for b.Loop() {
		b.StopTimer()
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			b.Fatal(err)
		}
		before := spent()
		b.StartTimer()
		if sent, err = transfer(out, file, size, bases); err != nil {
			b.Fatal(err)
		}
		cpu += spent() - before
		b.StopTimer()
		out.Close()
		os.Remove(out.Name())
		b.StartTimer()
	}
	b.ReportMetric(float64(sent.total())/1024, "KiB-sent")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
}

// benchRsync has rsync update a copy of the old file, which is made anew each time, outside of the clock.
func benchRsync(b *testing.B, dir string, size int64) {
	b.SetBytes(size)
	target := filepath.Join(dir, "target")
	var cpu time.Duration
	var said []byte
	for b.Loop() {
		b.StopTimer()
		os.Remove(target)
		if old, err := os.Open(filepath.Join(dir, "old")); err == nil {
			to, err := os.Create(target)
			if err != nil {
				b.Fatal(err)
			}
			concat(b, to, old)
			old.Close()
			to.Close()
		}
		before := spent()
		b.StartTimer()
		var err error
		said, err = exec.Command("rsync", "--no-whole-file", "--ignore-times", "--stats", filepath.Join(dir, "file"), target).CombinedOutput()
		if err != nil {
			b.Fatal(err, string(said))
		}
		cpu += spent() - before
	}
	b.ReportMetric(float64(number(said, "Total bytes sent: ")+number(said, "Total bytes received: "))/1024, "KiB-sent")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
}

func number(said []byte, after string) (n int64) {
	_, rest, _ := strings.Cut(string(said), after)
	line, _, _ := strings.Cut(rest, "\n")
	_, _ = fmt.Sscan(strings.ReplaceAll(line, ",", ""), &n)
	return n
}

func sizeOf(b *testing.B, f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// BenchmarkParts measures each end alone, on 1 GiB that is all there, and on 1 GiB of which nothing is.
func BenchmarkParts(b *testing.B) {
	dir := benchDir(b)
	old, other := create(b, dir, "old"), create(b, dir, "other")
	noise(b, old, 1, benchSize)
	noise(b, other, 2, benchSize)
	bases := []Base{{File: old, Size: benchSize}}
	var n int64
	sig, err := signatureOf(bases, 5, &n)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.SetBytes(benchSize)
		p := make([]byte, readAhead)
		for b.Loop() {
			for at := int64(0); at < benchSize; at += readAhead {
				if err := readFull(old, p, at); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("sign", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			if err := Sign(context.Background(), io.Discard, 5, bases); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("index", func(b *testing.B) {
		for b.Loop() {
			sig.sieve = nil
			sig.index()
		}
	})
	for _, c := range []struct {
		name string
		file *os.File
		sig  *Signature
	}{{"diff-same", old, sig}, {"diff-other", other, sig}, {"diff-first", old, nil}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(benchSize)
			before := spent()
			for b.Loop() {
				if _, err := Diff(context.Background(), c.file, benchSize, c.sig, &Key{1}, func(Op) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((spent()-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

func BenchmarkWeak(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	p := random(r, 2<<20)
	b.Run("of", func(b *testing.B) {
		b.SetBytes(32 << 10)
		for b.Loop() {
			weakOf(p[:32<<10])
		}
	})
	b.Run("roll", func(b *testing.B) {
		b.SetBytes(1 << 20)
		s := newSieve(32768)
		for b.Loop() {
			var w weak
			w.roll(p[:1<<20], p[1<<20:], 1<<20, s)
		}
	})
}

// BenchmarkSmall is what each end costs for a file of 4 KiB, which is as dear as its fixed part.
func BenchmarkSmall(b *testing.B) {
	p := random(rand.New(rand.NewPCG(1, 1)), 4096)
	file, size := bytes.NewReader(p), int64(len(p))
	var sum Sum
	b.Run("diff", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if sum, err = Diff(context.Background(), file, size, nil, &Key{1}, func(Op) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("build", func(b *testing.B) {
		b.ReportAllocs()
		out := memory{make([]byte, size)}
		for b.Loop() {
			builder := NewBuilder(&out, size, nil)
			for _, op := range []Op{{Kind: Start, Key: Key{1}}, {Kind: Data, Data: p}, {Kind: End, Sum: sum}} {
				if err := builder.Apply(op); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
