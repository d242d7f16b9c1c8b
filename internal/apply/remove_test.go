package apply

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

func TestRemoveTakesAllThatIsBelow(t *testing.T) {
	r := newRig(t, all())
	outside := filepath.Join(t.TempDir(), "outside")
	r.must(os.WriteFile(outside, []byte("x"), 0o600))
	for _, p := range []change.Path{"d", "d/a", "d/a/b", "d/.sersync-partial", "d/empty"} {
		r.put(p, dirAttr())
	}
	for _, p := range []change.Path{"d/f", "d/a/f", "d/a/b/f", "d/.sersync-partial/f", "d/a/*", "other"} {
		r.file(p, "x")
	}
	r.put("d/a/link", linkAttr(filepath.Dir(outside)))
	r.put("link", linkAttr("d"))
	for _, c := range []struct {
		p       change.Path
		changed bool
	}{{"link", true}, {"d", true}, {"d", false}, {"none", false}, {"other/x", false}, {"none/x", false}} {
		if done, err := r.Remove(c.p); err != nil || done.Changed != c.changed {
			t.Errorf("%s: %+v, %v", c.p, done, err)
		}
	}
	r.lacks("d")
	r.lacks("link")
	r.has("other", "x")
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	r.clean()
}

// Ten thousand directories in one another, and names whose path is longer than the kernel takes.
func TestRemoveGoesAsDeepAsThereIsAnything(t *testing.T) {
	r := openRig(t, shm(t), all())
	r.put("d", dirAttr())
	fd, err := unix.Open(r.at("d"), unix.O_PATH, 0)
	r.must(err)
	for range 10_000 {
		r.must(unix.Mkdirat(fd, "sub", 0o700))
		r.must(unix.Mkdirat(fd, "beside", 0o700))
		next, err := unix.Openat(fd, "sub", unix.O_PATH, 0)
		r.must(err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	if done, err := r.Remove("d"); err != nil || !done.Changed {
		t.Fatal(done, err)
	}
	r.lacks("d")
}

func TestRemoveExactLeavesWhatIsNotEmpty(t *testing.T) {
	r := newRig(t, all())
	for _, p := range []change.Path{"d", "d/a", "d/b"} {
		r.put(p, dirAttr())
	}
	for _, p := range []change.Path{"d/a/f", "d/b/kept", "d/b/f", "d/f"} {
		r.file(p, "old")
		r.file(p, "new") // the old one waits under a temporary name, and does not count
	}
	for _, c := range []struct {
		p       change.Path
		changed bool
	}{{"d/a/f", true}, {"d/a", true}, {"d/b/f", true}, {"d/b", false}, {"d/f", true}, {"d", false}, {"d/none", false}, {"none/x", false}} {
		if done, err := r.RemoveExact(c.p); err != nil || done.Changed != c.changed {
			t.Errorf("%s: %+v, %v", c.p, done, err)
		}
	}
	r.has("d/b/kept", "new")
	r.lacks("d/a")
	r.clean()
}

func TestRename(t *testing.T) {
	r := newRig(t, all())
	for _, p := range []change.Path{"d", "d/sub", "e"} {
		r.put(p, dirAttr())
	}
	for _, name := range []string{"a", "b", "c", "x", "y", "taken", "stays", "d/f", "d/sub/f"} {
		r.file(change.Path(name), name)
	}
	r.file("a", "a") // something waits
	moves := []Move{
		{"a", "b"},
		{"b", "c"},
		{"c", "a"}, // round
		{"x", "y"},
		{"y", "z"}, // a chain
		{"stays", "taken"},
		{"none", "new"},
		{"e", "none/e"},
		{"d", "D"},
		{"d/f", "D/F"},
		{"d/sub", "e/sub"},
		{"d/sub/f", "g"}, // what is below goes elsewhere
	}
	errs := r.Rename(moves)
	for i, m := range moves {
		fails := m.From == "stays" || m.From == "none" || m.From == "e"
		if (errs[i] != nil) != fails {
			t.Errorf("%s to %s: %v", m.From, m.To, errs[i])
		}
	}
	if KindOf(errs[5]) != InTheWay || KindOf(errs[6]) != NoParent || KindOf(errs[7]) != NoParent {
		t.Errorf("kinds: %v", errs[5:8])
	}
	for p, content := range map[change.Path]string{
		"b": "a", "c": "b", "a": "c", "y": "x", "z": "y", "taken": "taken", "stays": "stays", "D/F": "d/f", "g": "d/sub/f",
	} {
		r.has(p, content)
	}
	for _, p := range []change.Path{"x", "new", "d", "D/f", "D/sub", "e/sub/f"} {
		r.lacks(p)
	}
	for _, p := range []change.Path{"e", "e/sub", "D"} {
		if st, err := r.Look(p); err != nil || !st.IsDir() {
			t.Errorf("%s: %+v, %v", p, st, err)
		}
	}
	r.clean()
}

// A directory takes along what waits in it.
func TestRenameOfADirectoryInWhichSomethingWaits(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	r.put("d/sub", dirAttr())
	r.file("d/sub/f", "old")
	r.file("d/sub/f", "new")
	if errs := r.Rename([]Move{{"d", "e"}}); errs[0] != nil {
		t.Fatal(errs)
	}
	if len(temps(t, r.dir)) == 0 {
		t.Error("nothing waits: this proves nothing")
	}
	r.file("e/sub/g", "g")
	r.clean()
	r.has("e/sub/f", "new")
	if strings.Contains(snapshot(t, r.dir), "tmp.") {
		t.Error("left over")
	}
}
