package watchtest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/watch"
)

func testKinds(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("d")
	r.Write("f", "old")
	r.Write("gone", "")
	r.Settle()
	for _, c := range []struct {
		name string
		do   func()
		want []watch.Event
	}{
		{"a file is made", func() { r.Write("d/new", "x") }, []watch.Event{
			{Path: "d/new", Kind: watch.Created}, {Path: "d/new", Kind: watch.Wrote}, {Path: "d/new", Kind: watch.Closed},
		}},
		{"a file is overwritten", func() { r.Write("f", "new") }, []watch.Event{
			{Path: "f", Kind: watch.Wrote}, {Path: "f", Kind: watch.Closed},
		}},
		{"a mode changes", func() { must(t, os.Chmod(r.Path("f"), 0o600)) }, []watch.Event{{Path: "f", Kind: watch.Attrib}}},
		{"the mode of a directory changes", func() { must(t, os.Chmod(r.Path("d"), 0o700)) }, []watch.Event{
			{Path: "d", Kind: watch.Attrib, Dir: true},
		}},
		{"the mode of the root changes", func() { must(t, os.Chmod(r.Dir, 0o700)) }, []watch.Event{{Kind: watch.Attrib, Dir: true}}},
		{"a symlink is made", func() { must(t, os.Symlink("f", r.Path("s"))) }, []watch.Event{{Path: "s", Kind: watch.Created}}},
		{"a hard link is made", func() { must(t, os.Link(r.Path("f"), r.Path("d/h"))) }, []watch.Event{{Path: "d/h", Kind: watch.Created}}},
		{"a pipe is made", func() { must(t, unix.Mkfifo(r.Path("p"), 0o600)) }, []watch.Event{{Path: "p", Kind: watch.Created}}},
		{"a directory is made", func() { r.Mkdir("e") }, []watch.Event{{Path: "e", Kind: watch.Created, Dir: true}}},
		{"a file is renamed", func() { r.Rename("f", "d/g") }, []watch.Event{
			{Path: "f", Kind: watch.MovedFrom}, {Path: "d/g", Kind: watch.MovedTo},
		}},
		{"a file is removed", func() { must(t, os.Remove(r.Path("gone"))) }, []watch.Event{{Path: "gone", Kind: watch.Removed}}},
		{"a directory is removed", func() { must(t, os.Remove(r.Path("e"))) }, []watch.Event{{Path: "e", Kind: watch.Removed, Dir: true}}},
	} {
		r.Seen()
		c.do()
		r.Settle()
		got := r.Seen()
		for _, want := range c.want {
			if !slices.ContainsFunc(got, func(e watch.Event) bool {
				return e.Path == want.Path && e.Kind == want.Kind && e.Dir == want.Dir && !e.At.IsZero()
			}) {
				t.Errorf("%s: %v of %q (dir %t) is not among %v", c.name, want.Kind, want.Path, want.Dir, got)
			}
		}
	}
	r.Equal()
}

// testOrder: the first that is heard of anything below a directory comes after the directory.
func testOrder(t *testing.T, open Open) {
	r := NewRig(t, open)
	for range 50 {
		r.Mkdir("a/b")
		r.Write("a/b/f", "x")
		r.Settle()
		r.Rename("a", "z")
		r.Write("z/b/g", "x")
		r.Settle()
		must(t, os.RemoveAll(r.Path("z")))
		r.Settle()
		known := map[change.Path]bool{change.Root: true}
		for _, e := range r.Seen() {
			if e.Dir && (e.Kind == watch.Created || e.Kind == watch.MovedTo) {
				known[e.Path] = true
			}
			// b comes with a, by a walk.
			if top, _, below := strings.Cut(string(e.Path), "/"); below && !known[change.Path(top)] {
				t.Fatalf("%v of %v before its directory", e.Kind, e.Path)
			}
		}
	}
}

func testNested(t *testing.T, open Open) {
	r := NewRig(t, open)
	for _, top := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		r.Mkdir(top + "/1/2/3/4")
		for _, dir := range []string{"/", "/1/", "/1/2/", "/1/2/3/", "/1/2/3/4/"} {
			r.Write(top+dir+"file", "text")
		}
	}
	r.Equal()
	r.Write("h/1/2/3/4/file", "longer text")
	r.Equal()
}

func testRenames(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("a/sub/deep")
	r.Write("a/sub/deep/f", "1")
	r.Mkdir("other")
	r.Equal()

	r.Rename("a", "b")
	r.Equal()
	r.Seen()
	r.Write("b/sub/deep/f", "22")
	r.Equal()
	for _, e := range r.Seen() {
		if e.Path.Below("a") {
			t.Errorf("%v of %v after the rename", e.Kind, e.Path)
		}
	}

	// A chain, and writes at once.
	r.Rename("b", "c")
	r.Rename("c", "other/d")
	r.Write("other/d/sub/deep/f", "333")
	r.Rename("other/d/sub", "sub")
	r.Write("sub/deep/g", "4")
	r.Equal()
	r.Write("sub/deep/g", "55")
	r.Mkdir("sub/deep/more")
	r.Write("sub/deep/more/h", "6")
	r.Equal()

	// A swap by three renames, many times.
	r.Mkdir("x/in")
	r.Mkdir("y/in")
	for range 100 {
		r.Rename("x", "t")
		r.Rename("y", "x")
		r.Rename("t", "y")
		r.Write("x/in/f", "x")
	}
	r.Equal()
	r.Write("x/in/f", "in x")
	r.Write("y/in/f", "in y")
	r.Equal()

	// Into a place made of what it held.
	r.Mkdir("p/q")
	r.Equal()
	r.Rename("p/q", "q")
	r.Rename("p", "q/p")
	r.Write("q/p/f", "x")
	r.Equal()
	r.Write("q/p/f", "xx")
	r.Equal()
}

func testExchange(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("a/in")
	r.Mkdir("b/in")
	r.Write("file", "x")
	r.Equal()
	for i := range 200 {
		r.exchange("a", "b")
		if i%10 == 0 {
			r.Write("a/in/f", "a")
			r.Equal()
			r.Write("b/in/f", "b")
			r.Equal()
		}
	}
	r.Equal()
	r.exchange("a", "file")
	r.Write("file/in/f", "a directory now")
	r.Equal()
	r.Write("file/in/f", "a directory now, still")
	r.Write("a", "a file now")
	r.Equal()
}

func testMovedOut(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("a/in")
	r.Equal()
	out := r.Dir + ".out"
	must(t, os.Rename(r.Path("a"), out))
	r.Equal()
	r.Seen()
	must(t, os.WriteFile(out+"/in/f", []byte("outside"), 0o644))
	r.Settle()
	if seen := r.Seen(); len(seen) > 0 {
		t.Errorf("seen of what is outside: %v", seen)
	}
	must(t, os.Rename(out, r.Path("back")))
	r.Write("back/in/f", "inside again")
	r.Equal()
	r.Write("back/in/f", "inside")
	r.Equal()
}

func testMadeAgain(t *testing.T, open Open) {
	r := NewRig(t, open)
	for range 300 {
		r.Mkdir("d/e")
		r.Write("d/e/f", "x")
		must(t, os.RemoveAll(r.Path("d")))
		r.Mkdir("d")
		r.Write("d/g", "x")
		must(t, os.RemoveAll(r.Path("d")))
	}
	r.Mkdir("d/e")
	r.Write("d/e/f", "last")
	r.Equal()
	r.Write("d/e/f", "the very last")
	r.Equal()
}

func testHostileNames(t *testing.T, open Open) {
	r := NewRig(t, open)
	names := []string{
		"*", "[a-z]", "?", "a b", " lead", "trail ", "-rf", "--", "#x", ";y", "$(id)", "`id`", "a'b", `a"b`, `a\b`,
		"new\nline", "tab\t", "\x01\x1b[31m", "\xff\xfe", "caf\xe9", "...", "..x", "\\#012", strings.Repeat("n", 255),
	}
	for _, name := range names {
		r.Mkdir(name)
		r.Write(name+"/"+name, "x")
	}
	r.Equal()
	r.Seen()
	for _, name := range names {
		r.Write(name+"/"+name, "longer")
	}
	r.Equal()
	seen := r.Seen()
	for _, name := range names {
		want := change.Path(name + "/" + name)
		if !slices.ContainsFunc(seen, func(e watch.Event) bool { return e.Path == want && e.Kind == watch.Closed }) {
			t.Errorf("%v was not reported by its name", want)
		}
	}
}

func testSymlinks(t *testing.T, open Open) {
	r := NewRig(t, open)
	outside := t.TempDir()
	must(t, os.Symlink(outside, r.Path("link")))
	r.Mkdir("d")
	r.Equal()
	must(t, os.Remove(r.Path("d")))
	must(t, os.Symlink(outside, r.Path("d")))
	r.Equal()
	r.Seen()
	must(t, os.WriteFile(outside+"/f", []byte("x"), 0o644))
	r.Settle()
	if seen := r.Seen(); len(seen) > 0 {
		t.Errorf("seen through a symlink: %v", seen)
	}
}
