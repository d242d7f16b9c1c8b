package native

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// BenchmarkOneChange is a change of 4 KiB, from its batch to its ack, one after the other.
func BenchmarkOneChange(b *testing.B) {
	r := newRig(b)
	tr := r.transport(Options{})
	defer tr.Close()
	src := b.TempDir()
	root, err := os.Open(src)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		content := strings.Repeat(string(rune('a'+i%26)), 4096)
		if err := os.WriteFile(filepath.Join(src, "f"), []byte(content), 0o644); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, err := tr.Apply(b.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkBatch is a batch of 4096 files of 4 KiB, new ones or in the place of others.
func BenchmarkBatch(b *testing.B) {
	const files = 4096
	for _, replace := range []bool{false, true} {
		b.Run(fmt.Sprintf("replace=%v", replace), func(b *testing.B) {
			r := newRig(b)
			tr := r.transport(Options{})
			defer tr.Close()
			src := b.TempDir()
			root, err := os.Open(src)
			if err != nil {
				b.Fatal(err)
			}
			defer root.Close()
			var paths []change.Path
			for i := range files {
				paths = append(paths, change.Path(fmt.Sprintf("d%d/f%d", i%40, i)))
			}
			var total time.Duration
			for i := 0; b.Loop(); i++ {
				for _, p := range paths {
					name := filepath.Join(src, string(p))
					if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
						b.Fatal(err)
					}
					if err := os.WriteFile(name, []byte(strings.Repeat(string(rune('a'+i%26)), 4096)), 0o644); err != nil {
						b.Fatal(err)
					}
				}
				if !replace {
					if _, err := tr.Apply(b.Context(), transport.Batch{Op: transport.Remove, Root: root, Paths: dirs(40)}); err != nil {
						b.Fatal(err)
					}
				}
				start := time.Now()
				report, err := tr.Apply(b.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: paths})
				if err != nil || report.Files != files {
					b.Fatalf("%d files, %v", report.Files, err)
				}
				total += time.Since(start)
			}
			b.ReportMetric(float64(total.Microseconds())/float64(b.N)/files, "us/file")
		})
	}
}

func dirs(n int) []change.Path {
	var all []change.Path
	for i := range n {
		all = append(all, change.Path(fmt.Sprintf("d%d", i)))
	}
	return all
}
