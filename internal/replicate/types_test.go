package replicate_test

import (
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/filter"
)

// What takes the place of a directory removes nothing where nothing is to be removed: it fails and is said.
func TestTypeChangeRemovesNothingWithoutRemovals(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.opts.NoRemovals = true })
	r.write("d/plain", "x")
	r.start()
	r.wait()
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.write("d", "a file")
	r.write("e", "x")
	r.eventually("the other file arrives", func() bool { return r.exists("one", "e") })
	r.eventually("the file is said to fail", func() bool { return r.src.Status().Targets[0].LastError != nil })
	r.has(true, "d/plain")
}

// Where nothing must stay, a filter does not keep a file from the place of a directory.
func TestTypeChangeArrivesWithAFilter(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.opts.Filter = filtered(t, filter.Glob("", "*.log"), filter.Hidden("")) })
	r.write("d/e/f", "x")
	r.write("d/g", "x")
	r.start()
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.write("d", "a file")
	r.equal("one")
	r.must(os.Remove(filepath.Join(r.dir, "d")))
	r.write("d/e/f", "a directory again")
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.must(os.Symlink("nowhere", filepath.Join(r.dir, "d")))
	r.equal("one")
}

// A source that is another file system than it was does not remove a directory by a file of its name.
func TestP7TypeChangeIsHeldWithTheRemovals(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("d", "below the mount point")
	unmount := r.mounted()
	r.write("d/precious", "x")
	r.start()
	r.equal("one")
	unmount()
	r.eventually("the brake is on", func() bool { b := r.src.Status().Brake; return b != nil && b.Kind == "root-replaced" })
	r.write("new", "x")
	r.eventually("the new file arrives", func() bool { return r.exists("one", "new") })
	r.eventually("the file is said to fail", func() bool { return r.src.Status().Targets[0].LastError != nil })
	r.has(true, "d/precious")
	r.src.Approve()
	r.equal("one")
}
