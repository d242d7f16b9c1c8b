package apply

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	tr, err := Open(dir, Options{Owners: true})
	if err != nil {
		t.Fatal(err)
	}
	put := func(content string) {
		f, err := tr.Create("d/f", Attr{Mode: unix.S_IFREG | 0o640, UID: 1, GID: 2, Size: int64(len(content)), Mtime: 1e18 + 5}, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if done, err := f.Place(); err != nil {
			t.Fatal(done, err)
		}
	}
	if done, err := tr.Put("d", Attr{Mode: unix.S_IFDIR | 0o755, Mtime: 1e18}, false); err != nil {
		t.Fatal(done, err)
	}
	put("one")
	put("three")
	if done, err := tr.Put("d", Attr{Mode: unix.S_IFDIR | 0o755, Mtime: 1e18}, false); err != nil || !done.Changed {
		t.Fatal(done, err)
	}
	es, _ := os.ReadDir(filepath.Join(dir, "d"))
	t.Log(es, tr.lasting)
	if err := tr.Sync(); err != nil {
		t.Fatal(err)
	}
	es, _ = os.ReadDir(filepath.Join(dir, "d"))
	if len(es) != 1 {
		t.Fatal(es)
	}
	st, err := tr.Look("d")
	if err != nil || st.Mtime != 1e18 {
		t.Fatal(st, err)
	}
	st, _ = tr.Look("d/f")
	t.Log(st)
	if d, err := tr.Remove("d"); err != nil || !d.Changed {
		t.Fatal(d, err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
}
