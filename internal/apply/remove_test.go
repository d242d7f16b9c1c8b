package apply

import (
	"fmt"
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
		{From: "a", To: "b"},
		{From: "b", To: "c"},
		{From: "c", To: "a"}, // round
		{From: "x", To: "y"},
		{From: "y", To: "z"}, // a chain
		{From: "stays", To: "taken"},
		{From: "none", To: "new"},
		{From: "e", To: "none/e"},
		{From: "d", To: "D"},
		{From: "d/f", To: "D/F"},
		{From: "d/sub", To: "e/sub"},
		{From: "d/sub/f", To: "g"}, // what is below goes elsewhere
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
	if errs := r.Rename([]Move{{From: "d", To: "e"}}); errs[0] != nil {
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

// A file may take the place of another one, not of a directory; a reader never finds nothing there.
func TestRenameOverAFile(t *testing.T) {
	r := newRig(t, all())
	for _, p := range []change.Path{"d", "e", "full", "empty"} {
		r.put(p, dirAttr())
	}
	for _, p := range []change.Path{"d/a", "d/b", "e/a", "e/b", "x", "y", "full/f", "stays", "in"} {
		r.file(p, string(p))
	}
	r.must(r.Sync())
	r.file("e/b", "new") // it waits
	stop, reading := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				reading <- nil
				return
			default:
			}
			if b, err := os.ReadFile(r.at("e/a")); err != nil || string(b) != "e/a" && string(b) != "d/a" {
				reading <- fmt.Errorf("%q: %w", b, err)
				return
			}
		}
	}()
	moves := []Move{
		{From: "d/a", To: "e/a", Over: true},
		{From: "d/b", To: "e/b", Over: true},
		{From: "x", To: "y", Over: true},
		{From: "stays", To: "full", Over: true},
		{From: "in", To: "empty", Over: true},
	}
	for i, err := range r.Rename(moves) {
		if (err != nil) != (moves[i].To == "full") {
			t.Errorf("%s to %s: %v", moves[i].From, moves[i].To, err)
		}
	}
	close(stop)
	if err := <-reading; err != nil {
		t.Error(err)
	}
	for p, content := range map[change.Path]string{
		"e/a": "d/a", "e/b": "d/b", "y": "x", "stays": "stays", "full/f": "full/f", "empty": "in",
	} {
		r.has(p, content)
	}
	for _, p := range []change.Path{"d/a", "d/b", "x", "in"} {
		r.lacks(p)
	}
	// What makes way goes somewhere itself.
	r.file("p", "p")
	r.file("q", "q")
	for _, err := range r.Rename([]Move{{From: "p", To: "q", Over: true}, {From: "q", To: "y", Over: true}}) {
		if err != nil {
			t.Error(err)
		}
	}
	r.has("q", "p")
	r.has("y", "q")
	r.lacks("p")
	r.clean()
}
