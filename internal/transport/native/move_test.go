package native

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

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
