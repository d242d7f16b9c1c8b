package native

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/transporttest"
)

func TestDirectoriesAreMoved(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	var all []change.Path
	for _, dir := range []string{"a", "b", "c", "long/way", "over"} {
		all = append(all, change.Path(dir))
		for i := range 50 {
			name := fmt.Sprintf("%s/sub/f%d", dir, i)
			write(t, src, name, []byte(name))
			all = append(all, change.Path(name))
		}
	}
	if _, err := tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: all}); err != nil {
		t.Fatal(err)
	}
	// A ring, a move into a new directory, one to a place where something is, and one of what is not there.
	for _, move := range [][2]string{{"a", "tmp"}, {"c", "a"}, {"b", "c"}, {"tmp", "b"}} {
		if err := os.Rename(filepath.Join(src, move[0]), filepath.Join(src, move[1])); err != nil {
			t.Fatal(err)
		}
	}
	write(t, r.dir, "new/other/old", []byte("in the way"))
	if err := os.MkdirAll(filepath.Join(src, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, move := range [][2]string{{"long/way", "new/way"}, {"over", "new/other"}} {
		if err := os.Rename(filepath.Join(src, move[0]), filepath.Join(src, move[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(src, "never"), 0o755); err != nil {
		t.Fatal(err)
	}
	done, err := tr.Move(t.Context(), root, []transport.Move{
		{From: "a", To: "b"},
		{From: "b", To: "c"},
		{From: "c", To: "a"},
		{From: "long/way", To: "new/way"},
		{From: "over", To: "new/other", Clear: true},
		{From: "not/there", To: "never"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{true, true, true, true, true, false}, done); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	report, err := tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"long", "never", change.Root}})
	if err != nil || len(report.Failed) > 0 {
		t.Fatal(report, err)
	}
	if diff := cmp.Diff(transporttest.Tree(t, src), transporttest.Tree(t, r.dir)); diff != "" {
		t.Errorf("the target is not the source (-source +target):\n%s", diff)
	}
}

func TestMoveToAPlaceThatIsTakenIsNotDone(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	write(t, src, "new/f", []byte("x"))
	write(t, r.dir, "old/f", []byte("x"))
	write(t, r.dir, "new/mine", []byte("y"))
	done, err := tr.Move(t.Context(), root, []transport.Move{{From: "old", To: "new"}})
	if err != nil || done[0] {
		t.Fatalf("%v, %v", done, err)
	}
	for _, name := range []string{"old/f", "new/mine"} {
		if _, err := os.Stat(filepath.Join(r.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// Where a filter drops something, a directory goes as a whole or not at all.
func TestDirectoryWithWhatTheSourceDoesNotKnowStays(t *testing.T) {
	for name, c := range map[string]struct {
		there []string
		known []change.Path
		maybe []change.Path
		done  bool
	}{
		"all is known":             {[]string{"f", "sub/g"}, []change.Path{"b/f", "b/sub", "b/sub/g"}, nil, true},
		"one that may be there is": {[]string{"f", "sub/g"}, []change.Path{"b/f", "b/sub"}, []change.Path{"b/sub/g"}, true},
		"one that may be is not":   {[]string{"f", "sub/g"}, []change.Path{"b/f", "b/sub", "b/sub/g"}, []change.Path{"b/x", "b/sub"}, true},
		"our own":                  {[]string{"f", "sub/.sersync-partial/g"}, []change.Path{"b/f", "b/sub"}, nil, true},
		"one more":                 {[]string{"f", "sub/x.log"}, []change.Path{"b/f", "b/sub"}, nil, false},
		"one less":                 {[]string{"f"}, []change.Path{"b/f", "b/g"}, nil, false},
		"another one":              {[]string{"x.log"}, []change.Path{"b/f"}, nil, false},
		"a directory more":         {[]string{"f", "cache/x"}, []change.Path{"b/f"}, nil, false},
		"too many that may be":     {[]string{"f"}, []change.Path{"b/f"}, slices.Repeat([]change.Path{"b/x"}, 5000), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tr := r.transport(Options{})
			defer tr.Close()
			src, root := source(t)
			write(t, src, "b/f", []byte("x"))
			for _, p := range c.there {
				write(t, r.dir, "a/"+p, []byte("x"))
			}
			done, err := tr.Move(t.Context(), root, []transport.Move{{From: "a", To: "b", Exact: true, Known: c.known, Maybe: c.maybe}})
			if err != nil || done[0] != c.done {
				t.Fatalf("%v, %v", done, err)
			}
			at := "a/"
			if c.done {
				at = "b/"
			}
			for _, p := range c.there {
				if _, err := os.Lstat(filepath.Join(r.dir, at+p)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A file takes the place of another one, and goes only when it is what was seen.
func TestFilesAreMoved(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	names := []string{"a", "b", "changed", "d/f", "over"}
	var all []change.Path
	for _, name := range names {
		write(t, src, name, []byte(name))
		all = append(all, change.Path(name))
	}
	if _, err := tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: all}); err != nil {
		t.Fatal(err)
	}
	var moves []transport.Move
	for _, move := range [][2]string{{"a", "tmp"}, {"b", "a"}, {"tmp", "b"}, {"d/f", "over"}, {"changed", "d/changed"}} {
		if err := os.Rename(filepath.Join(src, move[0]), filepath.Join(src, move[1])); err != nil {
			t.Fatal(err)
		}
	}
	write(t, r.dir, "changed", []byte("another content"))
	for _, move := range [][2]change.Path{{"a", "b"}, {"b", "a"}, {"d/f", "over"}, {"changed", "d/changed"}} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(src, string(move[1])), &st); err != nil {
			t.Fatal(err)
		}
		moves = append(moves, transport.Move{From: move[0], To: move[1], File: change.StatOf(&st)})
	}
	done, err := tr.Move(t.Context(), root, moves)
	if diff := cmp.Diff([]bool{true, true, true, false}, done); err != nil || diff != "" {
		t.Fatalf("%v, done (-want +got):\n%s", err, diff)
	}
	for name, content := range map[string]string{"a": "b", "b": "a", "over": "d/f", "changed": "another content"} {
		if got, err := os.ReadFile(filepath.Join(r.dir, name)); string(got) != content {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	lacks(t, r.dir, "d/f")
	lacks(t, r.dir, "d/changed")
}
