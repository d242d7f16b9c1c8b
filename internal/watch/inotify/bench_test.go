package inotify

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/drain"
)

func benchRoot(b *testing.B) *scan.Root {
	b.Helper()
	// In memory: it is the watcher that is measured.
	dir, err := os.MkdirTemp("/dev/shm", "watch")
	must(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	root, err := scan.OpenRoot(dir)
	must(b, err)
	b.Cleanup(func() { root.Close() })
	return root
}

func benchWatcher(b *testing.B, root *scan.Root) *Watcher {
	b.Helper()
	w, err := open(root)
	must(b, err)
	b.Cleanup(func() { w.Close() })
	must(b, w.Cover(int(root.File().Fd()), change.Root))
	return w.(*Watcher)
}

// BenchmarkDrain reads full queues.
func BenchmarkDrain(b *testing.B) {
	root := benchRoot(b)
	w := benchWatcher(b, root)
	w.sink = func([]watch.Event) {}
	var names [5000]string
	for i := range names {
		names[i] = filepath.Join(root.Name(), "file-"+strconv.Itoa(i))
	}
	n := 0
	var took time.Duration
	for b.Loop() {
		for _, name := range names { // create, close, remove: 15,000 of the 16,384 that a queue holds
			f, err := os.Create(name)
			must(b, err)
			must(b, f.Close())
			must(b, os.Remove(name))
		}
		start := time.Now()
		for range (len(names)*3*32 + drain.BufferSize) / drain.BufferSize {
			must(b, w.queue.ReadOnce(w))
		}
		took += time.Since(start)
		n += 3 * len(names)
	}
	b.ReportMetric(float64(n)/took.Seconds(), "events/s")
}

// BenchmarkLatency is the time from a change of a mode on an idle tree to the call of the sink.
func BenchmarkLatency(b *testing.B) {
	root := benchRoot(b)
	w := benchWatcher(b, root)
	name := filepath.Join(root.Name(), "f")
	must(b, os.WriteFile(name, nil, 0o644))
	heard := make(chan time.Time, 16)
	done := make(chan error)
	go func() {
		done <- w.Run(b.Context(), func([]watch.Event) { heard <- time.Now() })
	}()
	b.Cleanup(func() { <-done })
	for len(heard) > 0 {
		<-heard
	}
	must(b, w.Sync(b.Context()))
	for len(heard) > 0 {
		<-heard
	}
	var all []time.Duration
	idle := time.NewTicker(2 * time.Millisecond)
	defer idle.Stop()
	for b.Loop() {
		<-idle.C
		start := time.Now()
		must(b, os.Chmod(name, 0o600))
		all = append(all, (<-heard).Sub(start))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e3, "p99-µs")
}

// BenchmarkCover covers 50,000 directories.
func BenchmarkCover(b *testing.B) {
	const dirs = 50000
	root := benchRoot(b)
	for i := range dirs / 50 {
		for j := range 49 {
			must(b, os.MkdirAll(filepath.Join(root.Name(), "directory-"+strconv.Itoa(i), "sub-"+strconv.Itoa(j)), 0o755))
		}
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var covering time.Duration
	var memory int64
	for b.Loop() {
		before := heap()
		w := benchWatcher(b, root)
		var walk func(change.Path)
		walk = func(p change.Path) {
			dir, err := root.OpenDir(p)
			must(b, err)
			defer dir.Close()
			start := time.Now()
			must(b, w.Cover(int(dir.Fd()), p))
			covering += time.Since(start)
			names, err := dir.Readdirnames(-1)
			must(b, err)
			for _, name := range names {
				walk(p.Join(name))
			}
		}
		walk(change.Root)
		memory += heap() - before
		if got := w.Status().Watches; got != dirs+1 {
			b.Fatalf("%d watches", got)
		}
		must(b, w.Close())
	}
	b.ReportMetric(covering.Seconds()*1e3/float64(b.N), "cover-ms/50k")
	b.ReportMetric(float64(memory)/float64(b.N)/1e6, "MB/50k")
}

// BenchmarkWriter is what a writer loses to a watcher that reads meanwhile: one file made and closed.
func BenchmarkWriter(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run("watched="+strconv.FormatBool(watched), func(b *testing.B) {
			root := benchRoot(b)
			if watched {
				w := benchWatcher(b, root)
				done := make(chan error)
				go func() { done <- w.Run(b.Context(), func([]watch.Event) {}) }()
				b.Cleanup(func() { <-done })
			}
			name := filepath.Join(root.Name(), "f")
			for b.Loop() {
				must(b, os.WriteFile(name, []byte("text"), 0o644))
				must(b, os.Remove(name))
			}
		})
	}
}
