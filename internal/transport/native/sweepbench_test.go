package native

import (
	"context"
	"fmt"
	"testing"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// BenchmarkSweep compares a tree with an equal one, with extended attributes and without. What was sent is on the disk first: when old
// versions go, the times of directories are others for a moment.
func BenchmarkSweep(b *testing.B) {
	r := newRig(b)
	src, root := source(b)
	var paths []change.Path
	for i := range benchFiles {
		paths = append(paths, change.Path(fmt.Sprintf("d%d/f%d", i%16, i)))
		write(b, src, string(paths[i]), []byte("x"))
	}
	for _, xattrs := range []bool{false, true} {
		b.Run(fmt.Sprintf("xattrs=%v", xattrs), func(b *testing.B) {
			tr := r.transport(Options{Xattrs: xattrs, Durable: true})
			defer tr.Close()
			send(b, tr, transport.Batch{Op: transport.Update, Root: root, Paths: append(paths, whole(b, src)...)})
			before := used(b)
			for b.Loop() {
				err := tr.Sweep(context.Background(), transport.Sweep{Root: root, Under: []change.Path{change.Root}}, func(d transport.Difference) error {
					return fmt.Errorf("%q differs", d.Path)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((used(b)-before).Microseconds())/float64(b.N)/benchFiles, "cpu-µs/file")
		})
	}
}
