package native

import (
	"fmt"
	"slices"
	"testing"
	"time"

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
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		for _, p := range paths {
			copy(content, fmt.Sprint(round, p))
			write(b, src, string(p), content)
		}
		b.StartTimer()
		report, err := tr.Apply(b.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: paths})
		if err != nil || report.Files != benchFiles {
			b.Fatal(report.Files, report.Failed, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchFiles, "µs/file")
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
