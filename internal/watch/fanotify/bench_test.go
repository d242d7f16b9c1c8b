package fanotify

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
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
	must(b, w.Cover(int(root.File().Fd()), change.Root))
	return w.(*Watcher)
}

// BenchmarkMillion writes a million files while the watcher reads, and fails when one was not told.
func BenchmarkMillion(b *testing.B) {
	const dirs, files = 1000, 1000
	for b.Loop() {
		root := benchRoot(b)
		w := benchWatcher(b, root)
		closed := 0
		done := make(chan error)
		go func() {
			done <- w.Run(b.Context(), func(events []watch.Event) {
				for _, e := range events {
					if e.Kind == watch.Closed {
						closed++
					}
				}
			})
		}()
		start := time.Now()
		for i := range dirs {
			dir := filepath.Join(root.Name(), strconv.Itoa(i))
			must(b, os.Mkdir(dir, 0o755))
			for j := range files {
				touch(b, filepath.Join(dir, strconv.Itoa(j)))
			}
			if i%100 == 99 { // memory is bounded, and the directories of before are known
				must(b, w.Sync(b.Context()))
				for k := i - 99; k <= i; k++ {
					must(b, os.RemoveAll(filepath.Join(root.Name(), strconv.Itoa(k))))
				}
			}
		}
		must(b, w.Sync(b.Context()))
		b.ReportMetric(float64(dirs*files)/time.Since(start).Seconds(), "files/s")
		if st := w.Status(); closed < dirs*files || st.Overflows > 0 {
			b.Errorf("%d of %d files were told; status %+v", closed, dirs*files, st)
		}
		b.Cleanup(func() { <-done; w.Close() })
	}
}

// BenchmarkDrain reads full queues: of files that are written, and of files that are written and removed. What the machine does
// besides is not measured.
func BenchmarkDrain(b *testing.B) {
	const files = 15000
	for _, removed := range []bool{false, true} {
		b.Run(map[bool]string{false: "Written", true: "Removed"}[removed], func(b *testing.B) {
			root := benchRoot(b)
			w := benchWatcher(b, root)
			b.Cleanup(func() { w.Close() })
			w.sink = func([]watch.Event) {}
			n := 0
			var took time.Duration
			for b.Loop() {
				for i := range files {
					name := filepath.Join(root.Name(), strconv.Itoa(i))
					touch(b, name)
					if removed {
						must(b, os.Remove(name))
					}
				}
				start := spent(b)
				readAll(b, w)
				took += spent(b) - start
				n += files
				for i := range files {
					_ = os.Remove(filepath.Join(root.Name(), strconv.Itoa(i)))
				}
				readAll(b, w)
			}
			b.ReportMetric(float64(n)/took.Seconds(), "files/s")
		})
	}
}

// spent is the time that this process has had of the processors.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var at unix.Timespec
	must(b, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &at))
	return time.Duration(at.Nano())
}

// readAll reads all that is queued.
func readAll(b *testing.B, w *Watcher) {
	b.Helper()
	for {
		n, err := unix.IoctlGetInt(w.queue.FD, unix.TIOCINQ)
		must(b, err)
		if n == 0 {
			return
		}
		must(b, w.queue.ReadOnce(w))
	}
}

// BenchmarkElsewhere reads events of directories that are not below the root.
func BenchmarkElsewhere(b *testing.B) {
	root := benchRoot(b)
	other := benchRoot(b)
	w := benchWatcher(b, root)
	b.Cleanup(func() { w.Close() })
	w.sink = func(events []watch.Event) { b.Errorf("events: %v", events) }
	n := 0
	var took time.Duration
	for b.Loop() {
		for i := range 10000 {
			touch(b, filepath.Join(other.Name(), strconv.Itoa(i)))
		}
		start := spent(b)
		readAll(b, w)
		took += spent(b) - start
		n += 10000
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/event")
}

// BenchmarkWatch makes a watcher of 50,000 directories, and says what it takes of the kernel's memory.
func BenchmarkWatch(b *testing.B) {
	const dirs = 50000
	root := benchRoot(b)
	for i := range dirs / 50 {
		for j := range 49 {
			must(b, os.MkdirAll(filepath.Join(root.Name(), strconv.Itoa(i), strconv.Itoa(j)), 0o755))
		}
	}
	var took time.Duration
	var slab int64
	for b.Loop() {
		before := unreclaimable(b)
		start := time.Now()
		w := benchWatcher(b, root)
		took += time.Since(start)
		slab += unreclaimable(b) - before
		must(b, w.Close())
	}
	b.ReportMetric(took.Seconds()*1e3/float64(b.N), "watch-ms/50k")
	b.ReportMetric(float64(slab)/float64(b.N), "kernel-KiB/50k")
}

// BenchmarkCover covers one directory of a file system that is marked.
func BenchmarkCover(b *testing.B) {
	root := benchRoot(b)
	must(b, os.MkdirAll(filepath.Join(root.Name(), "a/b"), 0o755))
	w := benchWatcher(b, root)
	defer w.Close()
	dir, err := root.OpenDir("a/b")
	must(b, err)
	defer dir.Close()
	for b.Loop() {
		must(b, w.Cover(int(dir.Fd()), "a/b"))
	}
}

// unreclaimable is the memory in KiB that the kernel keeps for itself; others' changes are in it.
func unreclaimable(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	must(b, err)
	_, rest, _ := bytes.Cut(text, []byte("SUnreclaim:"))
	n, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	must(b, err)
	return n
}
