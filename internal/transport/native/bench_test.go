package native

import (
	"fmt"
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
