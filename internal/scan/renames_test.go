package scan_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
)

func (t *tree) rename(from, to string) {
	t.Helper()
	must(t.T, os.Rename(filepath.Join(t.dir, from), filepath.Join(t.dir, to)))
}

// at walks below one directory.
func (t *tree) at(p change.Path) {
	t.Helper()
	w := scan.Walk{
		Observer: t.observer, Since: time.Now(),
		Cover: func(int, change.Path) error { return nil }, Done: func(change.Path, error) {},
	}
	must(t.T, w.Run(context.Background(), p))
}

// What the index knew of a directory it knows where that is now: the walk of it marks what changed on the way, and nothing else.
func TestIndexFollowsARename(t *testing.T) {
	const moved = change.Tree | change.Extras
	for name, c := range map[string]struct {
		events  scan.Renames
		between func(t *tree)
		want    map[change.Path]change.Bits
	}{
		"a pair": {
			events:  scan.Renames{From: []change.Path{"old"}, To: []change.Path{"new"}},
			between: func(t *tree) { t.rename("old", "new") },
			want:    map[change.Path]change.Bits{"old": change.Extras, "new": moved},
		},
		"by another name": {
			events:  scan.Renames{From: []change.Path{"old", "tmp"}, To: []change.Path{"tmp", "new"}},
			between: func(t *tree) { t.rename("old", "tmp"); t.rename("tmp", "new") },
			want:    map[change.Path]change.Bits{"old": change.Extras, "new": moved},
		},
		"one after the other": {
			events:  scan.Renames{From: []change.Path{"other", "old"}, To: []change.Path{"third", "other"}},
			between: func(t *tree) { t.rename("other", "third"); t.rename("old", "other") },
			want:    map[change.Path]change.Bits{"old": change.Extras, "other": moved | change.Extras, "third": moved},
		},
		"into a directory that is new": {
			events: scan.Renames{From: []change.Path{"old"}, To: []change.Path{"a/b/new"}},
			between: func(t *tree) {
				must(t.T, os.MkdirAll(filepath.Join(t.dir, "a/b"), 0o755))
				t.rename("old", "a/b/new")
			},
			want: map[change.Path]change.Bits{"old": change.Extras, "a": 0, "a/b": 0, "a/b/new": moved},
		},
		"a file changed by its handle, and its mtime restored": {
			events: scan.Renames{From: []change.Path{"old"}, To: []change.Path{"new"}},
			between: func(t *tree) {
				at := time.Unix(1700000000, 0)
				t.rename("old", "new")
				t.write("new/f", "other")
				must(t.T, os.Chtimes(filepath.Join(t.dir, "new/f"), at, at))
			},
			want: map[change.Path]change.Bits{"old": change.Extras, "new": moved, "new/f": change.Content},
		},
		"another directory is there": {
			events: scan.Renames{From: []change.Path{"old"}, To: []change.Path{"new"}},
			between: func(t *tree) {
				must(t.T, os.MkdirAll(filepath.Join(t.dir, "new"), 0o755))
			},
			want: map[change.Path]change.Bits{"new": 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t, nil)
			tr.write("old/f", "content")
			tr.write("old/sub/g", "content")
			tr.write("other/h", "content")
			tr.walk(true)
			clear(tr.index.marks)
			c.between(tr)
			c.events.Since = time.Now()
			tr.observer.Rename(c.events)
			for _, p := range c.events.To {
				tr.at(p)
			}
			for p := range tr.index.marks {
				tr.index.marks[p] &= change.Tree | change.Extras | change.Content
			}
			// The walk looks at what came to a name that is gone again.
			delete(tr.index.marks, "tmp")
			tr.marked(c.want)
		})
	}
}

// A file may be looked at when its directory is renamed already and nobody was told of that yet. The index keeps it, and follows it then.
func TestALookBelowARenamedDirectoryLeavesItToItsEvent(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("old/f", "content")
	tr.write("old/g", "content")
	tr.walk(true)
	clear(tr.index.marks)
	tr.write("old/f", "written")
	tr.rename("old", "new")
	tr.observer.Observe([]scan.Happened{
		{Path: "old/f", Wrote: true, Since: time.Now()},
		{Path: "old/g", Went: true, Since: time.Now()},
	})
	tr.marked(map[change.Path]change.Bits{"old/f": 0})
	tr.observer.Rename(scan.Renames{From: []change.Path{"old"}, To: []change.Path{"new"}, Since: time.Now()})
	if tr.index.Stat("old/g").Exists() || !tr.index.Stat("new/g").Exists() {
		t.Errorf("the index did not follow: %v", tr.index.rows)
	}
	clear(tr.index.marks)
	tr.at("new")
	tr.marked(map[change.Path]change.Bits{"new": 0, "new/f": 0})
}

// Where a directory went another one may be by now, of which nobody was told yet. It is left to its own event, and followed.
func TestDirectoryInThePlaceOfOneThatWentIsLeftToItsEvent(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("current/f", "content")
	tr.write("next/f", "other content")
	tr.walk(true)
	clear(tr.index.marks)
	next := tr.index.Stat("next/f")
	tr.rename("current", "previous")
	tr.rename("next", "current")
	tr.observer.Observe([]scan.Happened{{Path: "current", Dir: true, Went: true, Bits: change.Extras, Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"current": change.Extras})
	if tr.index.Stat("current").Exists() {
		t.Error("the index knows a directory of which nobody was told")
	}
	tr.observer.Rename(scan.Renames{From: []change.Path{"next"}, To: []change.Path{"current"}, Since: time.Now()})
	if tr.index.Stat("next/f").Exists() || tr.index.Stat("current/f") != next {
		t.Errorf("the index did not follow: %v", tr.index.rows)
	}
}

// Where a filter has rules, a directory is followed when they keep all of it in both places.
func TestIndexFollowsARenameThatTheFilterKeepsWhole(t *testing.T) {
	f, err := filter.New(filter.Glob("test:1", "*.tmp"), filter.Glob("test:2", "/new/**/g"), filter.Glob("test:3", "/kept/sub/*/"))
	must(t, err)
	for to, follows := range map[string]bool{"new": false, "kept": true, "x.tmp": false} {
		tr := newTree(t, f)
		tr.write("old/f", "content")
		tr.write("old/sub/g", "content")
		tr.write("old/sub/own.tmp", "content")
		tr.walk(true)
		tr.rename("old", to)
		tr.observer.Rename(scan.Renames{From: []change.Path{"old"}, To: []change.Path{change.Path(to)}, Since: time.Now()})
		if followed := !tr.index.Stat("old/f").Exists(); followed != follows {
			t.Errorf("to %s: followed %v, want %v", to, followed, follows)
		}
	}
}

// A file is told to the index when nothing of it is another but its name.
func TestRenamedFilesAreTold(t *testing.T) {
	f, err := filter.New(filter.Glob("test:1", "*.tmp"))
	must(t, err)
	for name, c := range map[string]struct {
		happens  func(tr *tree)
		from, to []change.Path
		want     []change.Path
	}{
		"one":          {func(tr *tree) { tr.rename("a", "x") }, []change.Path{"a"}, []change.Path{"x"}, []change.Path{"a", "x"}},
		"by way":       {func(tr *tree) { tr.rename("a", "t"); tr.rename("t", "x") }, []change.Path{"a", "t"}, []change.Path{"t", "x"}, []change.Path{"a", "x"}},
		"over another": {func(tr *tree) { tr.rename("a", "b") }, []change.Path{"a"}, []change.Path{"b"}, []change.Path{"a", "b"}},
		"changed":      {func(tr *tree) { tr.write("a", "longer"); tr.rename("a", "x") }, []change.Path{"a"}, []change.Path{"x"}, nil},
		"with another name": {func(tr *tree) {
			must(t, os.Link(filepath.Join(tr.dir, "a"), filepath.Join(tr.dir, "l")))
			tr.rename("a", "x")
		}, []change.Path{"a"}, []change.Path{"x"}, nil},
		"still there":   {func(tr *tree) { tr.rename("a", "x"); tr.rename("x", "a") }, []change.Path{"a", "x"}, []change.Path{"x", "a"}, nil},
		"dropped":       {func(tr *tree) { tr.rename("a", "a.tmp") }, []change.Path{"a"}, []change.Path{"a.tmp"}, nil},
		"small":         {func(tr *tree) { tr.rename("small", "x") }, []change.Path{"small"}, []change.Path{"x"}, nil},
		"known nowhere": {func(tr *tree) { tr.write("n", "1234"); tr.rename("n", "x") }, []change.Path{"n"}, []change.Path{"x"}, nil},
		"gone by now":   {func(tr *tree) { tr.rename("a", "x"); must(t, os.Remove(filepath.Join(tr.dir, "x"))) }, []change.Path{"a"}, []change.Path{"x"}, nil},
		"a directory there": {func(tr *tree) {
			tr.rename("a", "x")
			must(t, os.Remove(filepath.Join(tr.dir, "x")))
			tr.write("x/f", "1234")
		}, []change.Path{"a"}, []change.Path{"x"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t, f)
			for _, p := range []string{"a", "b"} {
				tr.write(p, "1234")
			}
			tr.write("small", "123")
			tr.walk(true)
			c.happens(tr)
			tr.observer.RenameFiles(c.from, c.to, 4)
			var told []change.Path
			for _, f := range tr.index.renamed {
				told = append(told, f.From, f.To)
			}
			if diff := cmp.Diff(c.want, told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}
