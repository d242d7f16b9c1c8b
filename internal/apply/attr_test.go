package apply

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// acl is one with an entry for the user 1234: version 2, then tag, permissions and number of each.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xd2\x04\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// caps are cap_net_bind_service+ep.
const caps = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// Whoever else is the user as whom we put files could open it until then.
func TestANewFileBelongsToWhomItIsForBeforeItHasContent(t *testing.T) {
	r := newRig(t, all())
	a := fileAttr("secret")
	a.UID, a.GID, a.Mode = 1234, 2345, unix.S_IFREG|0o640
	for _, p := range []change.Path{"first", "second"} {
		f, err := r.Create(p, a, Old{})
		r.must(err)
		var st unix.Stat_t
		r.must(unix.Fstat(f.fd, &st))
		if st.Uid != 1234 || st.Gid != 2345 || st.Mode != unix.S_IFREG|0o600 {
			t.Errorf("%s: belongs to %d:%d, mode %#o", p, st.Uid, st.Gid, st.Mode)
		}
		if _, err := f.Write([]byte("secret")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Place(); err != nil {
			t.Fatal(err)
		}
		r.same(p, a)
	}
}

func TestExtendedAttributesAreThoseThatWereMeant(t *testing.T) {
	r := newRig(t, all())
	a := fileAttr("x")
	a.HasXattrs = true
	a.Mode = unix.S_IFREG | 0o650
	a.Xattrs = []Xattr{{"user.a", "1"}, {"user.empty", ""}, {"system.posix_acl_access", acl}, {"security.capability", caps}, {"trusted.no", "x"}}
	done, err := r.write("f", "x", a, false)
	if err != nil || done.Limits != nil {
		t.Fatal(done, err)
	}
	r.same("f", a)
	if _, err := unix.Getxattr(r.at("f"), "trusted.no", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("trusted: %v", err)
	}
	r.must(unix.Setxattr(r.at("f"), "trusted.theirs", []byte("x"), 0))

	a.Xattrs = []Xattr{{"user.a", "2"}}
	st, err := r.Look("f")
	r.must(err)
	if differs, err := r.Same("f", st, a); err != nil || differs != Xattrs {
		t.Errorf("differs by %b, %v", differs, err)
	}
	if done := r.put("f", a); !done.Changed {
		t.Error("not changed")
	}
	r.same("f", a)
	if done := r.put("f", a); done.Changed {
		t.Error("put twice")
	}
	if _, err := unix.Getxattr(r.at("f"), "trusted.theirs", make([]byte, 9)); err != nil {
		t.Errorf("not ours: %v", err)
	}

	d := dirAttr()
	d.HasXattrs, d.Xattrs = true, []Xattr{{"system.posix_acl_default", acl}}
	r.put("d", d)
	r.same("d", d)
	// What is made below would inherit it.
	b := fileAttr("x")
	b.HasXattrs = true
	if _, err := r.write("d/f", "x", b, false); err != nil {
		t.Fatal(err)
	}
	r.same("d/f", b)
	if done := r.put("pipe", Attr{Mode: unix.S_IFIFO | 0o650, Mtime: someTime, HasXattrs: true, Xattrs: []Xattr{{"system.posix_acl_access", acl}}}); !done.Changed {
		t.Error("pipe")
	}
	r.clean()
}

func TestWhatCannotBeStoredIsALimit(t *testing.T) {
	r := openRig(t, shm(t), all())
	a := fileAttr("x")
	a.HasXattrs = true
	a.Xattrs = []Xattr{{"user.a", string(make([]byte, 100_000))}}
	done, err := r.write("f", "x", a, false)
	if err != nil || len(done.Limits) != 1 || !done.Changed {
		t.Fatalf("%+v, %v", done, err)
	}
	r.has("f", "x")
	if st, err := r.Look("f"); err != nil || st.Mtime != someTime {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestWhatTheOptionsForbid(t *testing.T) {
	r := newRig(t, Options{})
	a := fileAttr("x")
	a.Mode, a.UID, a.GID = unix.S_IFREG|0o6755, 5, 6
	a.HasXattrs, a.Xattrs = true, []Xattr{{"security.capability", caps}}
	done, err := r.write("f", "x", a, false)
	if err != nil || len(done.Limits) != 2 || !errors.Is(done.Limits[0], ErrSetID) || !errors.Is(done.Limits[1], ErrSetID) {
		t.Fatalf("%+v, %v", done, err)
	}
	st, err := r.Look("f")
	if err != nil || st.Mode != unix.S_IFREG|0o755 || st.UID != uint32(os.Geteuid()) {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := unix.Getxattr(r.at("f"), "security.capability", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("capability: %v", err)
	}
	r.same("f", a)
	if done := r.putLimited("f", a); done.Changed || len(done.Limits) != 2 {
		t.Errorf("again: %+v", done)
	}
	for _, kind := range []uint32{unix.S_IFCHR, unix.S_IFBLK} {
		if _, err := r.Put("dev", Attr{Mode: kind | 0o666, Rdev: unix.Mkdev(1, 3)}, Old{}); !errors.Is(err, ErrDevices) || KindOf(err) != Never {
			t.Errorf("device: %v", err)
		}
	}
	r.lacks("dev")
	// No privilege on a directory.
	d := dirAttr()
	d.Mode = unix.S_IFDIR | 0o2775
	r.put("d", d)
	r.same("d", d)
}

func (r *rig) putLimited(p change.Path, a Attr) Done {
	r.Helper()
	done, err := r.Put(p, a, Old{})
	r.must(err)
	return done
}

func TestSetuidGoesToTheOwnerThatWasMeantOrNobody(t *testing.T) {
	r := newRig(t, Options{SetID: true})
	a := fileAttr("x")
	a.Mode, a.UID, a.GID = unix.S_IFREG|0o4755, 1234, uint32(os.Getegid())
	done, err := r.write("f", "x", a, false)
	if err != nil || len(done.Limits) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if st, err := r.Look("f"); err != nil || st.Mode&setIDs != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// Without privileges what may not be set is a limit, and all else arrives.
func TestAsAnotherUser(t *testing.T) {
	if os.Getenv("APPLY_DIR") == "" {
		dir := t.TempDir()
		for d := dir; d != "/tmp" && d != "/"; d = parentDir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(dir, 1234, 1234); err != nil {
			t.Fatal(err)
		}
		asChild(t, dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}})
		return
	}
	r := openRig(t, os.Getenv("APPLY_DIR"), all())
	a := fileAttr("content")
	a.UID, a.GID, a.Mode = 1, 1, unix.S_IFREG|0o4444
	for range 2 {
		done, err := r.write("f", "content", a, false)
		if err != nil || len(done.Limits) != 2 {
			t.Fatalf("%+v, %v", done, err)
		}
		r.has("f", "content")
	}
	d := dirAttr()
	d.UID, d.GID, d.Mode = 1234, 1234, unix.S_IFDIR|0o500
	r.put("d", dirAttrOf(1234))
	r.put("d/sub", dirAttrOf(1234))
	if _, err := r.write("d/sub/f", "x", fileAttr("x"), false); err != nil {
		t.Fatal(err)
	}
	r.put("d/sub", d)
	r.put("d", d)
	if _, err := r.write("d/g", "x", fileAttr("x"), false); KindOf(err) != Forbidden {
		t.Errorf("create: %v", err)
	}
	if _, err := r.Put("dev", Attr{Mode: unix.S_IFCHR | 0o600, Rdev: unix.Mkdev(1, 3)}, Old{}); KindOf(err) != Forbidden {
		t.Errorf("device: %v", err)
	}
	// What waits goes, too, and the directory is as it was.
	r.put("full", dirAttrOf(1234))
	if _, err := r.write("full/f", "x", fileAttr("x"), false); err != nil {
		t.Fatal(err)
	}
	r.put("full", d)
	r.must(r.Sync())
	r.same("full", d)
	// What is ours goes although its directories may not be written to.
	if _, err := r.Remove("d"); err != nil {
		t.Error(err)
	}
	r.lacks("d")
	r.clean()
}

func dirAttrOf(id uint32) Attr {
	a := dirAttr()
	a.UID, a.GID = id, id
	return a
}

func TestGrain(t *testing.T) {
	var g grains
	const dev = 7
	if got, known := g.of(dev); known || got != exact {
		t.Error("something is known")
	}
	g.learn(dev, 1_000_000_000, 1_000_000_000)
	if _, known := g.of(dev); known {
		t.Error("learned from a whole second")
	}
	g.learn(dev, 1_999_999_999, 1_000_000_000)
	g.learn(dev, 3_999_999_999, 2_000_000_000) // of FAT
	g.learn(dev, 1e18, 5e17)                   // the last it can store
	got, _ := g.of(dev)
	for set, want := range map[int64]int64{5_123_456_789: 4_000_000_000, -1: -2_000_000_000, 2e18: 5e17} {
		if got.store(set) != want {
			t.Errorf("%d is stored as %d, want %d", set, got.store(set), want)
		}
	}
}

// An ext4 as it was made of ext3 stores whole seconds, of 31 bits, and does not say when a file was made.
func TestATimeThatCannotBeStoredDoesNotDifferForEver(t *testing.T) {
	i := newImage(t, "ext4", 24, t.TempDir(), "-I", "128")
	late := fileAttr("x")
	late.Mtime = 1 << 33 * 1_000_000_000
	for range 2 { // what was learned is forgotten
		r := openImage(t, i)
		if r.lasting {
			t.Fatal("it says when a file was made")
		}
		for name, a := range map[change.Path]Attr{"f": fileAttr("x"), "late": late} {
			if st, err := r.Look(name); err != nil || !st.Exists() {
				_, err = r.write(name, "x", a, false)
				r.must(err)
			} else if done := r.put(name, a); done.Changed {
				t.Errorf("%s changed", name)
			}
			r.same(name, a)
			if done := r.put(name, a); done.Changed {
				t.Errorf("%s changed again", name)
			}
		}
		r.file("f", "replaced")
		r.file("f", "x")
		r.clean()
		r.must(r.Close())
	}
}
