package replicate_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/filter"
	"sersync/internal/treetest"
	"sersync/internal/watch"
	"sersync/internal/watch/mixed"
)

// filtered makes a filter of rules.
func filtered(t *testing.T, rules ...filter.Rule) *filter.Filter {
	t.Helper()
	f, err := filter.New(rules...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// put writes a file of a module that the source does not have.
func (r *rig) put(module, rel string) {
	r.t.Helper()
	p := filepath.Join(r.daemon.Dir(module), rel)
	r.must(os.MkdirAll(filepath.Dir(p), 0o755))
	r.must(os.WriteFile(p, []byte("of the target"), 0o644))
}

// has checks what is in the module "one".
func (r *rig) has(want bool, paths ...string) {
	r.t.Helper()
	for _, p := range paths {
		if r.exists("one", p) != want {
			r.t.Errorf("%q is there: %v, want %v", p, !want, want)
		}
	}
}

func TestFilteredNamesAreNeverRemovedOnATarget(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Filter = filtered(t, filter.Glob("", "*.log"), filter.Glob("", "cache/"))
	})
	r.write("d/sub/plain", "x")
	r.write("d/sub/source.log", "x")
	for _, p := range []string{"top.log", "d/sub/x.log", "d/cache/k", "extra/deep/only.log", "extra/deep/plain", "in/a.log"} {
		r.put("one", p)
	}
	r.start()
	r.wait()
	r.has(true, "top.log", "d/sub/x.log", "d/cache/k", "extra/deep/only.log", "in/a.log", "d/sub/plain")
	r.has(false, "extra/deep/plain", "d/sub/source.log")

	// A directory that is moved in and out again.
	outside := filepath.Join(t.TempDir(), "in")
	r.must(os.MkdirAll(filepath.Join(outside, "cache"), 0o755))
	for _, p := range []string{"a.log", "b", "cache/c"} {
		r.must(os.WriteFile(filepath.Join(outside, p), []byte("x"), 0o644))
	}
	r.must(os.Rename(outside, filepath.Join(r.dir, "in")))
	r.wait()
	r.has(true, "in/b", "in/a.log")
	r.has(false, "in/cache")
	if r.there("one", "in/a.log") != "of the target" {
		t.Error("a filtered file was sent")
	}
	r.must(os.Rename(filepath.Join(r.dir, "in"), outside))
	r.wait()
	r.has(true, "in/a.log")
	r.has(false, "in/b")

	// A directory that is removed, made again, and removed for good.
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.must(os.Mkdir(filepath.Join(r.dir, "d"), 0o755))
	r.wait()
	r.has(true, "d/sub/x.log", "d/cache/k")
	r.has(false, "d/sub/plain")
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.wait()
	r.has(true, "d/sub/x.log", "d/cache/k")
}

// What 2.5.4 always dropped are files; directories of such names are replicated, and go when they go.
func TestDirectoryWithTheNameOfAHiddenFileGoes(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Filter = filtered(t, filter.Hidden(""))
	})
	r.put("one", ".kept")
	r.put("one", "d/backup~")
	r.put("one", ".extra/f")
	r.write(".git/objects/f", "x")
	r.write("d/x", "x")
	r.start()
	r.wait()
	r.has(true, ".git/objects/f", ".kept", "d/backup~")
	r.has(false, ".extra")
	r.must(os.RemoveAll(filepath.Join(r.dir, ".git")))
	r.must(os.Remove(filepath.Join(r.dir, "d/x")))
	r.wait()
	r.has(false, ".git", "d/x")
	r.has(true, ".kept", "d/backup~")
}

func TestFilteredDirectoriesAreNotWatched(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Filter = filtered(t, filter.Glob("", "cache/"))
		r.watchedBy(mixed.Options{Method: watch.Inotify})
	})
	r.write("a/f", "x")
	r.start()
	r.wait()
	r.write("cache/deep/f", "x")
	r.write("b/cache/g", "x")
	r.equalBut("one", "cache")
	if n := r.src.Status().Watches; n != 3 {
		t.Errorf("%d directories are watched, want the root, a and b", n)
	}
}

// equalBut waits, and compares the module with the source, without what is named name.
func (r *rig) equalBut(module, name string) {
	r.t.Helper()
	r.wait(module)
	// A change of what is left out changes the time of its directory.
	names := func(dir string) []string {
		return slices.Sorted(maps.Keys(treetest.Snapshot(r.t, dir, func(rel string) bool { return filepath.Base(rel) == name })))
	}
	if diff := cmp.Diff(names(r.dir), names(r.daemon.Dir(module))); diff != "" {
		r.t.Errorf("the module differs from the source (-source +target):\n%s", diff)
	}
}

// A large removal is cut into several batches; a directory goes although it came first.
func TestRemovedDirectoryGoesWithAFilterWhateverTheOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Filter = filtered(t, filter.Glob("", "*.log"))
	})
	for i := range 50 {
		r.write("d/e/f"+strings.Repeat("x", i), "x")
	}
	r.start()
	r.wait()
	r.daemon.Stop()
	// The directory's own mark is older than those of what is in it.
	r.must(os.Chmod(filepath.Join(r.dir, "d"), 0o700))
	r.write("other", "x")
	r.eventually("the target is away", func() bool { return r.src.Status().Targets[0].State == "away" })
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.daemon.Restart()
	r.equal("one")
}

func TestReloadedFilterHoldsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Filter = filtered(t, filter.Glob("", "*.tmp"))
	})
	r.write("d/a.log", "x")
	r.write("d/b.tmp", "x")
	r.write("c", "x")
	r.start()
	r.wait()
	r.has(true, "d/a.log", "c")
	r.has(false, "d/b.tmp")

	opts := r.opts
	opts.Filter = filtered(t, filter.Glob("", "*.log"))
	opts.Targets = append(opts.Targets[:0:0], r.target("one", nil))
	r.must(r.src.Reload(opts))
	r.wait()
	// What is kept now is sent without another change.
	r.has(true, "d/b.tmp")
	// What is dropped now stays on the target, whatever becomes of it here.
	r.must(os.Remove(filepath.Join(r.dir, "d/a.log")))
	r.write("d/new.log", "x")
	r.write("d/new", "x")
	r.wait()
	r.has(true, "d/a.log", "d/new")
	r.has(false, "d/new.log")
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.wait()
	r.has(true, "d/a.log")
	r.has(false, "d/new", "d/b.tmp")
}
