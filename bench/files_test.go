package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sersync/internal/filter"
)

func TestCompareTreesSeesEveryDifference(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(target string) error
	}{
		{"missing", func(target string) error { return os.Remove(filepath.Join(target, "d0001/f0")) }},
		{"extra", func(target string) error { return os.WriteFile(filepath.Join(target, "d0000/.f0.Xy12"), nil, 0o644) }},
		{"other time", func(target string) error {
			return os.Chtimes(filepath.Join(target, "d0001/f0"), time.Now(), time.Now())
		}},
		{"other content of the same size and time", func(target string) error {
			path := filepath.Join(target, "d0001/f0")
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return writeAged(path, make([]byte, blockSize), info.ModTime())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			site := &site{source: filepath.Join(dir, "s"), targets: []string{filepath.Join(dir, "t")}}
			for _, root := range []string{site.source, site.targets[0]} {
				if err := os.Mkdir(root, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := site.prepare(2, 2, newContent()); err != nil {
				t.Fatal(err)
			}
			if err := compareTrees(site.source, site.targets[0]); err != nil {
				t.Fatalf("a prepared site differs: %v", err)
			}
			if err := test.change(site.targets[0]); err != nil {
				t.Fatal(err)
			}
			if err := compareTrees(site.source, site.targets[0]); !errors.Is(err, errDiffers) {
				t.Errorf("compareTrees = %v, want %v", err, errDiffers)
			}
		})
	}
}

func TestTemporaryNamesOfTheReceiverAreNoDifference(t *testing.T) {
	dir := t.TempDir()
	site := &site{source: filepath.Join(dir, "s"), targets: []string{filepath.Join(dir, "t")}}
	for _, root := range []string{site.source, site.targets[0]} {
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(site.targets[0], filter.TempPrefix+"x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := compareTrees(site.source, site.targets[0]); err != nil {
		t.Errorf("compareTrees = %v", err)
	}
	if err := site.cleared(t.Context(), 0, time.Millisecond); !errors.Is(err, errTimeout) {
		t.Errorf("cleared = %v with a temporary name, want %v", err, errTimeout)
	}
}

func TestReplacedFilesAreThoseOfThePreparedTree(t *testing.T) {
	dir := t.TempDir()
	site := &site{source: dir}
	const files = 3 * burstDirs
	if err := site.prepare(burstDirs, 3, newContent()); err != nil {
		t.Fatal(err)
	}
	prepared, err := filesBelow(dir, ".")
	if err != nil {
		t.Fatal(err)
	}
	names := massNames(mass{replace: true}, files)
	slices.Sort(names)
	slices.Sort(prepared)
	if !slices.Equal(names, prepared) {
		t.Errorf("the names are not those of the tree: %q and so on, want %q", names[0], prepared[0])
	}
}

func TestSameContentSeesALaterByteAndAnotherEnd(t *testing.T) {
	long := strings.Repeat("a", 200<<10)
	for _, test := range []struct {
		name string
		a, b string
		want bool
	}{
		{"empty", "", "", true},
		{"equal", long, long, true},
		{"shorter", long, long[1:], false},
		{"longer", long[1:], long, false},
		{"last byte", long, long[1:] + "b", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := sameContent(strings.NewReader(test.a), strings.NewReader(test.b), int64(len(test.a))); got != test.want {
				t.Errorf("sameContent = %t, want %t", got, test.want)
			}
		})
	}
}

func TestContentIsNeverTheSameTwice(t *testing.T) {
	c := newContent()
	first := string(c.next(64))
	if second := string(c.next(64)); first == second {
		t.Error("two files got the same content")
	}
}

func TestTreeNamesPutParentsFirst(t *testing.T) {
	seen := make(map[string]bool)
	for _, name := range treeNames(5000) {
		if parent := filepath.Dir(name); parent != "." && !seen[parent] {
			t.Fatalf("%q comes before its parent", name)
		}
		seen[name] = true
	}
	if len(seen) != 5000 {
		t.Errorf("%d different names, want 5000", len(seen))
	}
}

func TestObserverSeesARenameIntoPlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	stage := &stage{}
	seen, err := newObserver(stage, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d/.f.tmp"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "d/.f.tmp"), filepath.Join(dir, "d/f")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for found := false; !found; {
		sightings, err := seen.next(t.Context(), deadline)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range sightings {
			found = found || at.path == "d/f"
		}
	}
	if _, err := seen.next(t.Context(), time.Now()); !errors.Is(err, errTimeout) {
		t.Errorf("next = %v when nothing happens, want %v", err, errTimeout)
	}
	if err := stage.close(); err != nil {
		t.Error(err)
	}
}
