package torture

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// An image goes on as its disk was: what was synced is there, and what was done later than the copy is not.
func TestImageGoesOnAsItsDiskWas(t *testing.T) {
	dir := t.TempDir()
	i, err := newImage(filepath.Join(dir, "image"), filepath.Join(dir, "mount"), 64, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.detach(); err != nil {
			t.Error(err)
		}
	})
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(i.mount, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("synced")
	mount, err := os.Open(i.mount)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Syncfs(int(mount.Fd()))
	mount.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.crash(); err != nil {
		t.Fatal(err)
	}
	write("later")
	if err := i.restore(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(i.mount, "synced")); string(text) != "synced" {
		t.Errorf("what was synced is %q: %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(i.mount, "later")); err == nil {
		t.Error("what was written after the copy is there")
	}
}
