package filter

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOneFileSystemDropsWhatIsBelowAMountAsLongAsItIsThere(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"/d/m/in", "/d/m/in/deep", "/bind", "/real"} {
		if err := os.MkdirAll(dir+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dir+"/d/m", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	f := mustNew(t, OneFileSystem(dir), Glob("x", "*.log"))
	if !f.OneFileSystem() || !f.Any() || mustNew(t).OneFileSystem() {
		t.Error("the filter does not know its rule")
	}
	const below = "d/m/f d/m/in/ d/m/in/deep/ d/m/in/deep/f? d/m/gone/f"
	verdicts(t, f, below+" d/m/ f", "f.log d/m/f.log")
	mount := func(source, target, kind string, flags uintptr) {
		if err := unix.Mount(source, dir+target, kind, flags, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir+target, unix.MNT_DETACH) })
	}
	mount("tmpfs", "/d/m", "tmpfs", 0)
	mount(dir+"/real", "/bind", "", unix.MS_BIND)
	verdicts(t, f, "d/m/ bind/ real/f link/f f d/f gone/f", below+" bind/f f.log")
	if err := unix.Unmount(dir+"/d/m", 0); err != nil {
		t.Fatal(err)
	}
	verdicts(t, f, below, "bind/f")
}
