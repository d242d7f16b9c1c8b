package apply

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

func (r *rig) large(p change.Path, size int) error {
	f, err := r.Create(p, Attr{Mode: unix.S_IFREG | 0o600, Size: int64(size), Mtime: someTime}, Old{})
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(make([]byte, size)); err != nil {
		return err
	}
	_, err = f.Place()
	return err
}

func TestAFileSystemThatIsFullOrReadOnly(t *testing.T) {
	dir := t.TempDir()
	r := &rig{TB: t, dir: dir}
	r.must(unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r = openRig(t, dir, all())
	r.file("f", "x")
	if err := r.large("g", 2<<20); KindOf(err) != Full {
		t.Errorf("full: %v", err)
	}
	r.clean()
	r.must(unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for what, do := range map[string]func() error{
		"create": func() error { return r.large("g", 1) },
		"put":    func() error { return second(r.Put("d", dirAttr(), Old{})) },
		"attr":   func() error { return second(r.Put(change.Root, dirAttr(), Old{})) },
		"remove": func() error { return second(r.Remove("f")) },
		"exact":  func() error { return second(r.RemoveExact("f")) },
		"rename": func() error { return r.Rename([]Move{{From: "f", To: "g"}})[0] },
	} {
		if err := do(); KindOf(err) != ReadOnly {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What waits holds space: it goes when there is none left.
func TestWhatWaitsMakesRoom(t *testing.T) {
	i := newImage(t, "ext4", 24, t.TempDir())
	r := openImage(t, i)
	for n := range 5 {
		r.must(r.large("f", 8<<20))
		if waits := len(temps(t, r.dir)); n == 1 && waits != 2 {
			t.Errorf("%d wait: this proves nothing", waits)
		}
	}
	r.must(r.Close())
}

// overlayfs cannot rename a directory of its lower layer.
func TestOnOverlay(t *testing.T) {
	work, dir := shm(t), t.TempDir()
	r := &rig{TB: t, dir: work}
	for _, p := range []change.Path{"lower/d/sub", "lower/file", "upper", "work"} {
		r.must(os.MkdirAll(r.at(p), 0o755))
	}
	r.must(os.WriteFile(r.at("lower/d/sub/f"), nil, 0o600))
	r.must(os.WriteFile(r.at("lower/old"), []byte("old"), 0o600))
	r.must(unix.Mount("overlay", dir, "overlay", 0, "lowerdir="+work+"/lower,upperdir="+work+"/upper,workdir="+work+"/work"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	tree, err := Open(dir, all())
	if err != nil {
		t.Fatal(err)
	}
	r = &rig{t, tree, dir}
	r.file("old", "new")
	r.file("d", "a file now")
	r.put("file", linkAttr("x"))
	r.same("file", linkAttr("x"))
	r.file("made", "new")
	r.has("d", "a file now")
	r.clean()
	r.must(r.Close())
}
