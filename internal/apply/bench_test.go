package apply

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// places are directories on the file systems to measure: in memory, images in memory, and the one for temporary files.
func places(b *testing.B) map[string]string {
	at := map[string]string{"tmpfs": shm(b), "tmp": b.TempDir()}
	for _, kind := range kinds() {
		at[kind] = newImage(b, kind, 512, "/dev/shm").dir
	}
	return at
}

var block = make([]byte, 4096)

// BenchmarkCreate makes files of 4 KiB with owner, mode and time; a Sync for each 1000 is in it.
func BenchmarkCreate(b *testing.B) {
	for where, dir := range places(b) {
		b.Run(where, func(b *testing.B) { benchmark(b, dir, 1<<62) })
	}
}

// BenchmarkReplace replaces files of 4 KiB.
func BenchmarkReplace(b *testing.B) {
	for where, dir := range places(b) {
		b.Run(where, func(b *testing.B) { benchmark(b, dir, 1000) })
	}
}

func benchmark(b *testing.B, dir string, names int) {
	dir, err := os.MkdirTemp(dir, "bench") // many that were deleted make ext4 slow
	if err != nil {
		b.Fatal(err)
	}
	r := openRig(b, dir, all())
	a := Attr{Mode: unix.S_IFREG | 0o644, UID: 1, GID: 1, Size: int64(len(block)), Mtime: someTime}
	for n := range 10 {
		r.put(change.Path(fmt.Sprintf("d%d", n)), dirAttr())
	}
	put := func(n int) {
		p := change.Path(fmt.Sprintf("d%d/f%d", n/100%10, n%names))
		if _, err := r.Look(p); err != nil {
			b.Fatal(err)
		}
		f, err := r.Create(p, a, Old{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Place(); err != nil {
			b.Fatal(err)
		}
	}
	if names < 1<<20 {
		for n := range names {
			put(n)
		}
	}
	r.must(r.Sync())
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		put(n)
		if n%1000 == 999 {
			r.must(r.Sync())
		}
	}
}
