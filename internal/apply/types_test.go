package apply

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// things are all that can be at a path.
func things() map[string]Attr {
	return map[string]Attr{
		"nothing": {}, "file": fileAttr("content"), "dir": dirAttr(), "full dir": dirAttr(), "link": linkAttr("/etc/passwd"), "other link": linkAttr("x"),
		"pipe":   {Mode: unix.S_IFIFO | 0o640, Mtime: someTime, UID: 3, GID: 4},
		"socket": {Mode: unix.S_IFSOCK | 0o600, Mtime: someTime},
		"char":   {Mode: unix.S_IFCHR | 0o666, Mtime: someTime, Rdev: unix.Mkdev(1, 3)},
		"block":  {Mode: unix.S_IFBLK | 0o660, Mtime: someTime, Rdev: unix.Mkdev(7, 200)},
	}
}

func (r *rig) thing(name string, p change.Path, a Attr) {
	r.Helper()
	switch name {
	case "nothing":
	case "file":
		r.file(p, "content")
	case "full dir":
		r.put(p, a)
		r.put(p+"/sub", a)
		r.file(p+"/sub/f", "content")
		r.file(p+"/sub/f", "replaced") // its old version waits
	default:
		r.put(p, a)
	}
}

func TestAnythingTakesThePlaceOfAnything(t *testing.T) {
	for _, dir := range []string{t.TempDir(), shm(t)} {
		r := openRig(t, dir, all())
		for oldName, old := range things() {
			for newName, a := range things() {
				p := change.Path(oldName + " " + newName)
				r.thing(oldName, p, old)
				if newName == "nothing" {
					done, err := r.Remove(p)
					if err != nil || done.Changed != (oldName != "nothing") {
						t.Errorf("%s: %+v, %v", p, done, err)
					}
					r.lacks(p)
					continue
				}
				r.thing(newName, p, a)
				if newName != "full dir" {
					r.same(p, a)
					if a.kind() == unix.S_IFREG {
						r.has(p, "content")
					}
				}
				if a.kind() != unix.S_IFREG && newName != "full dir" {
					if done := r.put(p, a); done.Changed {
						t.Errorf("%s is put twice", p)
					}
				}
			}
		}
		r.clean()
	}
}

func shm(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "apply")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestKeepLeavesADirectoryThatIsNotEmpty(t *testing.T) {
	for _, dir := range []string{t.TempDir(), shm(t)} {
		r := openRig(t, dir, all())
		for name, a := range things() {
			if a.kind() == unix.S_IFDIR || name == "nothing" {
				continue
			}
			for _, old := range []string{"file", "link", "dir", "full dir"} {
				p := change.Path(old + " " + name)
				r.thing(old, p, things()[old])
				if old == "dir" { // what is ours does not count
					r.file(p+"/f", "a")
					r.file(p+"/f", "b")
					_, err := r.Remove(p + "/f")
					r.must(err)
				}
				var err error
				if name == "file" {
					_, err = r.write(p, "content", a, true)
				} else {
					_, err = r.Put(p, a, Old{Keep: true})
				}
				if old == "full dir" {
					if !errors.Is(err, ErrInTheWay) || KindOf(err) != InTheWay {
						t.Errorf("%s: %v", p, err)
					}
					r.has(p+"/sub/f", "replaced")
					continue
				}
				r.must(err)
				r.same(p, a)
			}
		}
		// A directory takes the place of a file in either case.
		r.file("f", "x")
		_, err := r.Put("f", dirAttr(), Old{Keep: true})
		r.must(err)
		r.same("f", dirAttr())
		r.clean()
	}
}

func TestAFileGetsItsAttributesWhereItsContentIsRight(t *testing.T) {
	r := newRig(t, all())
	r.file("f", "content")
	before, err := r.Look("f")
	r.must(err)
	a := fileAttr("content")
	a.Mode, a.UID, a.GID, a.Mtime = unix.S_IFREG|0o6751, 5, 6, someTime+1
	if differs, err := r.Same("f", before, a); err != nil || differs != Mode|Owner|Mtime {
		t.Errorf("differs by %b, %v", differs, err)
	}
	if done := r.put("f", a); !done.Changed {
		t.Error("not changed")
	}
	r.same("f", a)
	after, err := r.Look("f")
	r.must(err)
	if after.Ino != before.Ino {
		t.Error("made anew")
	}
	if done := r.put("f", a); done.Changed {
		t.Error("put twice")
	}
	a.Size++
	if _, err := r.Put("f", a, Old{}); !errors.Is(err, ErrContent) {
		t.Errorf("another size: %v", err)
	}
	if _, err := r.Put("none", a, Old{}); KindOf(err) != NoParent {
		t.Errorf("no file: %v", err)
	}
}

func TestTheRootGetsItsAttributesAndNothingElse(t *testing.T) {
	r := newRig(t, all())
	a := dirAttr()
	a.Mode = unix.S_IFDIR | 0o711
	if done := r.put(change.Root, a); !done.Changed {
		t.Error("not changed")
	}
	r.same(change.Root, a)
	for what, do := range map[string]func() error{
		"put":    func() error { _, err := r.Put(change.Root, fileAttr(""), Old{}); return err },
		"create": func() error { _, err := r.Create(change.Root, fileAttr(""), Old{}); return err },
		"remove": func() error { _, err := r.Remove(change.Root); return err },
		"exact":  func() error { _, err := r.RemoveExact(change.Root); return err },
	} {
		if err := do(); KindOf(err) != Never {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A file may have another name outside of the tree: it does not change with it.
func TestOtherNamesOfAFileAreLeftAlone(t *testing.T) {
	r := newRig(t, all())
	r.must(os.Chmod(r.dir, 0o755))
	outside := r.dir + "-outside"
	r.file("f", "content")
	a := fileAttr("content")
	a.Mode = unix.S_IFREG | 0o600
	r.put("f", a) // the second name that it has now is ours
	r.must(r.Sync())
	r.must(os.Link(r.at("f"), outside))
	defer os.Remove(outside)
	before, err := os.Lstat(outside)
	r.must(err)
	if done := r.put("f", a); done.Changed {
		t.Error("changed")
	}
	a.Mode, a.UID = unix.S_IFREG|0o666, 7
	st, err := r.Look("f")
	r.must(err)
	if differs, err := r.Same("f", st, a); err != nil || differs != Mode|Owner|Content {
		t.Errorf("differs by %b, %v", differs, err)
	}
	if _, err := r.Put("f", a, Old{}); !errors.Is(err, ErrContent) {
		t.Errorf("put: %v", err)
	}
	if _, err := r.write("f", "content", a, false); err != nil {
		t.Fatal(err)
	}
	r.same("f", a)
	after, err := os.Lstat(outside)
	r.must(err)
	if after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after) {
		t.Errorf("outside: %v, was %v", after, before)
	}
	r.clean()
}
