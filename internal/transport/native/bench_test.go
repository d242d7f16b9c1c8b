package native

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// benchFiles is how many files a batch has: as many as a sender takes at once.
const benchFiles = 4096

// BenchmarkSmallFiles is a batch of files of 4 KiB, new ones each time, over TCP and TLS, both sides in this process.
func BenchmarkSmallFiles(b *testing.B) {
	r := newRig(b)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(b)
	content := make([]byte, 4<<10)
	var paths []change.Path
	for i := range benchFiles {
		paths = append(paths, change.Path(fmt.Sprintf("d%d/f%d", i%16, i)))
	}
	var cpu time.Duration // of both sides, which may be less dear than the time on a busy machine
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		for _, p := range paths {
			copy(content, fmt.Sprint(round, p))
			write(b, src, string(p), content)
		}
		b.StartTimer()
		before := used(b)
		report, err := tr.Apply(b.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: paths})
		if err != nil || report.Files != benchFiles {
			b.Fatal(report.Files, report.Failed, err)
		}
		cpu += used(b) - before
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchFiles, "µs/file")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N)/benchFiles, "cpu-µs/file")
}

// used is the time of processors that this process has used.
func used(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOneChange is one change of 4 KiB, from the call to the ack.
func BenchmarkOneChange(b *testing.B) {
	r := newRig(b)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(b)
	content := make([]byte, 4<<10)
	var took []time.Duration
	for round := 0; b.Loop(); round++ {
		copy(content, fmt.Sprint(round))
		write(b, src, "a/b/f", content)
		start := time.Now()
		report, err := tr.Apply(b.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"a/b/f"}})
		took = append(took, time.Since(start))
		if err != nil || report.Files != 1 {
			b.Fatal(report, err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkRenamedFile has a target take a file under its new name: by a move, and by sending it.
func BenchmarkRenamedFile(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 128 << 10, 1 << 20} {
		for _, moves := range []bool{true, false} {
			b.Run(fmt.Sprintf("%d KiB, moved %v", size>>10, moves), func(b *testing.B) {
				r := newRig(b)
				tr := r.transport(Options{})
				defer tr.Close()
				src, root := source(b)
				names := []change.Path{"a", "b"}
				write(b, src, string(names[0]), bytes.Repeat([]byte("x"), size))
				update := func(op transport.Op, p change.Path) {
					if _, err := tr.Apply(b.Context(), transport.Batch{Op: op, Root: root, Paths: []change.Path{p}}); err != nil {
						b.Fatal(err)
					}
				}
				update(transport.Update, names[0])
				for b.Loop() {
					from, to := names[0], names[1]
					names[0], names[1] = to, from
					if err := os.Rename(filepath.Join(src, string(from)), filepath.Join(src, string(to))); err != nil {
						b.Fatal(err)
					}
					if moves {
						var st unix.Stat_t
						if err := unix.Lstat(filepath.Join(src, string(to)), &st); err != nil {
							b.Fatal(err)
						}
						done, err := tr.Move(b.Context(), root, []transport.Move{{From: from, To: to, File: change.StatOf(&st)}})
						if err != nil || !done[0] {
							b.Fatal(done, err)
						}
					}
					update(transport.Update, to)
					update(transport.Remove, from)
				}
			})
		}
	}
}
