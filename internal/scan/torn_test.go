package scan_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// after lets a change from now on be seen in the times of a file.
func after() {
	written := time.Now()
	for !scan.Now().After(written) {
		continue
	}
}

// happens tells of a path as an event does.
func (t *tree) happens(p change.Path) {
	t.observer.Observe([]scan.Happened{{Path: p, Since: time.Now()}})
}

// What was sent last before a kill, and is in no index, shows in the times of its directory alone. An event that comes before the walk renews them.
func TestP2DirectoryThatChangedOverAKillIsComparedAlsoIfAnEventIsFirst(t *testing.T) {
	for name, look := range map[string]func(*tree){
		"a walk":   func(tr *tree) { tr.walk(false) },
		"an event": func(tr *tree) { tr.happens("d/new") },
		"an event, then a walk": func(tr *tree) {
			tr.happens("d/new")
			marks := maps.Clone(tr.index.marks)
			tr.walk(false)
			for p, bits := range marks {
				tr.index.marks[p] |= bits
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t, nil)
			tr.write("d/f", "x")
			tr.write("other/f", "x")
			after()
			tr.walk(true)
			clear(tr.index.marks)
			tr.observer.SetTorn(true, true)
			tr.write("d/new", "x") // and something else came and went
			look(tr)
			if got := tr.index.marks["d"]; got != change.Entries {
				t.Errorf("the directory is marked with %b, want its entries", got)
			}
			if got := tr.index.marks["other"]; got != 0 {
				t.Errorf("a directory in which nothing happened is marked with %b", got)
			}
			tr.observer.SetTorn(false, true)
			clear(tr.index.marks)
			after()
			tr.write("d/newer", "x")
			tr.happens("d/newer")
			tr.marked(map[change.Path]change.Bits{"d/newer": 0})
		})
	}
}

// A target may have another directory of that name, of which the index does not know.
func TestP2DirectoryThatComesAfterAKillIsComparedWithAllBelow(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d/f", "x")
	after()
	tr.walk(true)
	clear(tr.index.marks)
	tr.observer.SetTorn(true, true)
	must(t, os.Mkdir(filepath.Join(tr.dir, "d/new"), 0o755))
	tr.happens("d/new")
	tr.marked(map[change.Path]change.Bits{"d": change.Entries, "d/new": change.Extras})
}

// The comparison of the entries alone takes a directory that comes meanwhile for the one that the target has.
func TestP2DirectoryThatComesWhereEntriesAreComparedIsComparedToo(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d/f", "x")
	tr.write("other/f", "x")
	after()
	tr.walk(true)
	clear(tr.index.marks)
	tr.index.comparing = "d"
	for _, p := range []change.Path{"d/new", "other/new"} {
		must(t, os.Mkdir(filepath.Join(tr.dir, string(p)), 0o755))
		tr.happens(p)
	}
	tr.marked(map[change.Path]change.Bits{"d/new": change.Extras, "other/new": 0})
}
