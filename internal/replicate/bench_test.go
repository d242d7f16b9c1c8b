package replicate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/watch/mixed"
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

// BenchmarkRenamedDirectory renames a directory of 10,000 files, and waits until a target of our own has renamed it, and for all that follows.
func BenchmarkRenamedDirectory(b *testing.B) {
	for name, rules := range map[string][]filter.Rule{"plain": nil, "filtered": {filter.Hidden(""), filter.Glob("", "*.log")}} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, func(r *rig) {
				r.opts.StateDir, r.opts.Targets = b.TempDir(), []replicate.TargetOptions{r.local("one")}
				r.watchedBy(mixed.Options{})
				if rules != nil {
					f, err := filter.New(rules...)
					r.must(err)
					r.opts.Filter = f
				}
			})
			for i := range 10_000 {
				r.write(fmt.Sprintf("old/d%d/a-file-%d", i%10, i), "x")
			}
			r.start()
			r.wait()
			var there time.Duration
			for b.Loop() {
				for _, move := range [][2]string{{"old", "new"}, {"new", "old"}} {
					began := time.Now()
					r.rename(move[0], move[1])
					r.eventually("the target has it", func() bool { return r.exists("one", move[1]) })
					there += time.Since(began)
					r.wait()
				}
			}
			b.ReportMetric(there.Seconds()*1000/float64(2*b.N), "ms/rename")
			r.stop()
		})
	}
}
