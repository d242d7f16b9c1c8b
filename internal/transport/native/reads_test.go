package native

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// What a batch reads by itself takes the place of what was read before of the same paths, for all targets: they are not sent what is older.
func TestWhatABatchReadsIsNewerThanWhatWasKept(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	write(t, src, "small", []byte("new"))
	write(t, src, "large", bytes.Repeat([]byte("new"), wire.MaxInline))
	write(t, src, "linked", []byte("new"))
	if err := os.Link(filepath.Join(src, "linked"), filepath.Join(src, "other name")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("new", filepath.Join(src, "symlink")); err != nil {
		t.Fatal(err)
	}
	paths := all(t, src)
	opened, err := scan.RootOf(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []transport.Op{transport.Update, transport.UpdateContent, transport.UpdateLarge} {
		reads := transport.NewReads()
		var seen []transport.Seen
		for _, p := range append(paths, "elsewhere") {
			reads.Put(p, reads.Begin(), transport.Read{Seq: 5, Stat: change.Stat{Ino: 1}, Content: []byte("old")})
		}
		for _, p := range paths {
			now, err := opened.Look(p)
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, transport.Seen{Stat: now.Stat, Seq: 4})
		}
		send(t, tr, transport.Batch{Op: op, Root: root, Paths: paths, Seen: seen, Seq: 5, Reads: reads})
		for _, p := range paths {
			if reads.Get(p, transport.Seen{Stat: change.Stat{Ino: 1}, Seq: 5}) != nil {
				t.Errorf("%v: of %v is given what was read before", op, p)
			}
		}
		small := seen[slices.Index(paths, "small")].Stat
		if read := reads.Get("small", transport.Seen{Stat: small, Seq: 5}); read == nil || string(read.Content) != "new" {
			t.Errorf("%v: of the small file is given %+v", op, read)
		}
		if reads.Get("elsewhere", transport.Seen{Stat: change.Stat{Ino: 1}, Seq: 5}) == nil {
			t.Errorf("%v: what was read elsewhere is not given any more", op)
		}
	}
}
