package apply

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// together checks that names are, or are not, names of one file.
func (r *rig) together(want bool, a, b change.Path) {
	r.Helper()
	one, err := os.Stat(r.at(a))
	r.must(err)
	two, err := os.Stat(r.at(b))
	r.must(err)
	if os.SameFile(one, two) != want {
		r.Errorf("%s and %s are one file: %v, want %v", a, b, !want, want)
	}
}

func TestLinkGivesAFileAnotherName(t *testing.T) {
	for _, dir := range []string{t.TempDir(), shm(t)} {
		r := openRig(t, dir, all())
		r.file("a", "content")
		r.put("d", dirAttr())
		r.put("full", dirAttr())
		r.file("full/x", "x")
		r.file("other", "other")
		r.put("symlink", linkAttr("a"))
		for _, p := range []change.Path{"d/new", "other", "symlink"} {
			if done, linked := r.Link(p, "a", fileAttr("content"), Old{Keep: true}); !linked || !done.Changed {
				t.Errorf("%s: %+v, %v", p, done, linked)
			}
			if done, linked := r.Link(p, "a", fileAttr("content"), Old{Keep: true}); !linked || done.Changed {
				t.Errorf("%s again: %+v, %v", p, done, linked)
			}
			r.together(true, "a", p)
		}
		if _, linked := r.Link("full", "a", fileAttr("content"), Old{Keep: true}); linked {
			t.Error("a directory that is to be kept made way")
		}
		if _, linked := r.Link("full", "a", fileAttr("content"), Old{}); !linked {
			t.Error("a directory did not make way")
		}
		r.clean()
		// What is written under one name is not written under the others.
		r.file("other", "new")
		r.has("a", "content")
		r.clean()
	}
}

func TestLinkTakesNothingButWhatItIsToldToFind(t *testing.T) {
	r := newRig(t, all())
	outside := filepath.Join(t.TempDir(), "secret")
	r.must(os.WriteFile(outside, []byte("content"), 0o644))
	r.file("a", "content")
	r.put("d", dirAttr())
	r.put("symlink", linkAttr("a"))
	r.must(os.Symlink(filepath.Dir(outside), r.at("out")))
	r.must(os.Symlink(outside, r.at("secret")))
	r.must(unix.Mkfifo(r.at("pipe"), 0o644))
	r.must(unix.Setxattr(r.at("d"), "user.x", []byte("y"), 0))
	right := fileAttr("content")
	size, mtime, mode, owner, link, pipe, xattr := right, right, right, right, linkAttr("a"), right, right
	size.Size++
	mtime.Mtime++
	mode.Mode |= 0o111
	owner.UID = 7
	pipe.Mode = unix.S_IFIFO | 0o644
	xattr.HasXattrs, xattr.Xattrs = true, []Xattr{{"user.x", "y"}}
	for _, test := range []struct {
		name string
		from change.Path
		a    Attr
	}{
		{"absent", "none", right},
		{"below what is absent", "none/none", right},
		{"below a file", "a/b", right},
		{"a directory", "d", right},
		{"a symlink", "symlink", right},
		{"a symlink out of the tree", "secret", right},
		{"below a symlink out of the tree", "out/secret", right},
		{"a symlink that is meant", "symlink", link},
		{"a pipe", "pipe", pipe},
		{"another size", "a", size},
		{"another time", "a", mtime},
		{"another mode", "a", mode},
		{"another owner", "a", owner},
		{"other attributes", "a", xattr},
		{"what leaves the tree", "../secret", right},
		{"a temporary name", ".sersync-tmp.x", right},
		{"the root", change.Root, right},
	} {
		if done, linked := r.Link("new", test.from, test.a, Old{}); linked || done.Changed {
			t.Errorf("%s: %+v, %v", test.name, done, linked)
		}
		r.lacks("new")
	}
	for _, p := range []change.Path{"none/new", "a/new", "out/new", change.Root, ".sersync-tmp.y"} {
		if _, linked := r.Link(p, "a", right, Old{}); linked {
			t.Errorf("%s was linked", p)
		}
	}
	if links := r.links("a"); links > 2 { // and its own second name until the next Sync
		t.Errorf("a has %d names", links)
	}
	r.clean()
}

func (r *rig) links(p change.Path) uint32 {
	r.Helper()
	st, err := r.Look(p)
	r.must(err)
	return st.Links
}

// A file with two names is not changed in place, although something waits for one of them: that is another file.
func TestAFileWithTwoNamesIsSharedWhateverWaits(t *testing.T) {
	r := newRig(t, all())
	r.file("a", "content")
	r.file("b", "old")
	r.must(r.Sync())
	r.file("b", "new")
	r.must(os.Remove(r.at("b")))
	r.must(os.Link(r.at("a"), r.at("b")))
	mode := fileAttr("content")
	mode.Mode |= 0o111
	if done, err := r.Put("b", mode, Old{}); err == nil || done.Changed {
		t.Errorf("%+v, %v: the mode was set under the other name as well", done, err)
	}
	r.same("a", fileAttr("content"))
	// A file with one name is changed in place while its second, temporary one waits.
	r.file("new", "content")
	r.put("new", mode)
	r.same("new", mode)
	r.clean()
}

// What is linked is on the disk, whenever the power is lost; and what two names had in common comes back under both.
func TestAfterALossOfPowerNamesOfOneFileAreOldOrNew(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			i := newImage(t, kind, 320, t.TempDir())
			r := openImage(t, i)
			r.put("d", dirAttr())
			r.file(name(0), versionText(0, 1))
			r.link("d/shared", name(0), versionText(0, 1))
			r.file(name(2), versionText(2, 1))
			r.must(r.Sync())
			// Fresh content gets a second name, at once.
			r.file(name(1), versionText(1, 1))
			r.link("d/fresh", name(1), versionText(1, 1))
			r.link(name(2), name(1), versionText(1, 1))
			// Two names of an old file become two files.
			r.file(name(0), versionText(0, 2))
			r.file("d/shared", versionText(0, 3))
			i.commit()
			i.copy()
			r.must(r.Close())
			i.restart()

			r = reopen(t, i)
			r.ticked()
			r.recovered()
			r.hasOne("d/fresh", "", versionText(1, 1))
			r.hasOne(name(2), versionText(2, 1), versionText(1, 1))
			r.hasOne(name(0), versionText(0, 1), versionText(0, 2))
			r.hasOne("d/shared", versionText(0, 1), versionText(0, 3))
			for _, left := range temps(t, i.dir) {
				t.Errorf("left over: %s", left)
			}
			r.must(r.Close())
		})
	}
}

// ticked waits until the clock of the file systems shows that the machine was started before.
func (r *rig) ticked() {
	r.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		var now unix.Timespec
		r.must(unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now))
		if now.Nano() > r.recovery.boot {
			return
		}
		<-tick.C
	}
}

// hasOne checks that a file has one of several contents; empty is that of one that is absent.
func (r *rig) hasOne(p change.Path, contents ...string) {
	r.Helper()
	got, err := os.ReadFile(r.at(p))
	absent := errors.Is(err, os.ErrNotExist) && slices.Contains(contents, "")
	if !absent && (err != nil || len(got) == 0 || !slices.Contains(contents, string(got))) {
		r.Errorf("%s has %d bytes that it never had, %v", p, len(got), err)
	}
}

func (r *rig) link(p, from change.Path, content string) {
	r.Helper()
	if _, linked := r.Link(p, from, fileAttr(content), Old{}); !linked {
		r.Fatalf("%s is not linked to %s", p, from)
	}
}
