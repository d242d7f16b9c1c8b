package replicate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkBurst writes 2,000 files of 4 KiB into 100 directories and waits until the target has them.
func BenchmarkBurst(b *testing.B) {
	r := newRig(b, nil)
	for i := range 100 {
		r.must(os.Mkdir(filepath.Join(r.dir, fmt.Sprintf("d%d", i)), 0o755))
	}
	r.start()
	r.wait()
	content := make([]byte, 4096)
	for n := 0; b.Loop(); n++ {
		for i := range 2000 {
			r.must(os.WriteFile(filepath.Join(r.dir, fmt.Sprintf("d%d/f%d-%d", i%100, n, i)), content, 0o644))
		}
		r.wait()
	}
	b.ReportMetric(float64(r.src.Status().Targets[0].Runs)/float64(b.N), "runs/op")
	r.stop()
}

// BenchmarkOneChange writes one file of 4 KiB and waits until the target has it.
func BenchmarkOneChange(b *testing.B) {
	r := newRig(b, nil)
	r.write("d/f", "x")
	r.start()
	r.wait()
	content := make([]byte, 4096)
	for n := 0; b.Loop(); n++ {
		r.must(os.WriteFile(filepath.Join(r.dir, "d", fmt.Sprintf("f%d", n)), content, 0o644))
		r.wait()
	}
	r.stop()
}
