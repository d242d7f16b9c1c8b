package journal

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// BenchmarkPath is what a path costs from its mark to its ack, in batches of 100.
func BenchmarkPath(b *testing.B) {
	for _, targets := range []int{1, 4} {
		b.Run(fmt.Sprint("targets=", targets), func(b *testing.B) {
			j := New(0)
			var open []*Target
			for n := range targets {
				open = append(open, j.Open(fmt.Sprint(n)))
			}
			findings := make([]scan.Finding, 100)
			for i := range findings {
				p := change.Path(fmt.Sprintf("some/directory/file-%08d", i))
				findings[i] = scan.Finding{Path: p, Unsure: true, Mark: true, Since: time.Now()}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%100 != 0 {
					continue
				}
				j.Record(findings...)
				for _, t := range open {
					t.Ack(t.Take(100)...)
				}
			}
		})
	}
}

// BenchmarkIndex is the memory of a row, in a tree of 50,000 directories with four files each.
func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		before := inUse()
		j := New(0)
		set(j, change.Root, dir(1))
		for d := range 50_000 {
			parent := change.Path(fmt.Sprintf("directory-%03d", d/1000))
			if d%1000 == 0 {
				set(j, parent, dir(uint64(d)))
			} else {
				parent = parent.Join(fmt.Sprintf("dir-%08d", d))
				set(j, parent, dir(uint64(d)))
			}
			for f := range 4 {
				set(j, parent.Join(fmt.Sprintf("file-%d-%05d", f, d)), file(uint64(d*8+f), 1))
			}
		}
		b.ReportMetric(float64(inUse()-before)/float64(j.Indexed()), "bytes/row")
		runtime.KeepAlive(j)
	}
}

// inUse is what is in use after a collection.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkNamed looks up one file among a million.
func BenchmarkNamed(b *testing.B) {
	j := New(0)
	set(j, change.Root, dir(1))
	for d := range 10_000 {
		at := change.Path(fmt.Sprintf("directory-%05d", d))
		set(j, at, dir(uint64(d+2)))
		for f := range 100 {
			set(j, at.Join(fmt.Sprintf("file-%03d", f)), file(uint64(1e6+d*100+f), 1))
		}
	}
	for b.Loop() {
		named := j.Named(func(file change.Inode) bool { return file.Ino == 1_500_000 })
		if len(named) != 1 {
			b.Fatalf("named: %v", named)
		}
	}
}
