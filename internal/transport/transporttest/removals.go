package transporttest

import (
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/change"
	"sersync/internal/transport"
)

func removeTrees(_ *testing.T, b *bench) {
	b.write(b.Dir, "tree/a/b/c", "x")
	b.write(b.Dir, "tree/.sersync-partial/c", "x")
	b.write(b.Dir, "file", "x")
	b.write(b.Dir, "kept/file", "x")
	b.write(b.src, "kept/file", "x")
	b.must(os.Symlink("kept", filepath.Join(b.Dir, "link")))
	b.apply(transport.Remove, "tree", "file", "link", "never-there", "kept/never")
	for _, name := range []string{"tree", "file", "link"} {
		b.targetLacks(name)
	}
	b.targetHas("kept/file", "x")
	b.apply(transport.Remove, "tree", "file", "link")
}

func removeExact(_ *testing.T, b *bench) {
	b.write(b.Dir, "gone/a/listed", "x")
	b.write(b.Dir, "gone/a/kept.log", "x")
	b.write(b.Dir, "gone/b/c/listed", "x")
	b.write(b.Dir, "gone/listed", "x")
	b.write(b.Dir, "unlisted/only", "x")
	b.write(b.Dir, "here/listed", "x")
	b.write(b.Dir, "here/kept", "x")
	b.write(b.src, "here/kept", "x")
	b.apply(transport.RemoveExact, "gone/a/listed", "gone/a", "gone/b/c/listed", "gone/b/c", "gone/b", "gone/listed", "gone",
		"here/listed", "unlisted/only", "never/there")
	for _, name := range []string{"gone/b", "gone/listed", "gone/a/listed", "here/listed", "unlisted/only"} {
		b.targetLacks(name)
	}
	b.targetHas("gone/a/kept.log", "x")
	b.targetHas("here/kept", "x")
	if _, err := os.Stat(filepath.Join(b.Dir, "unlisted")); err != nil {
		b.Errorf("a directory that was not listed is gone: %v", err)
	}
}

func removeExactNames(_ *testing.T, b *bench) {
	var listed []change.Path
	for _, name := range hostile() {
		b.write(b.Dir, "gone/"+name, "x")
		b.write(b.Dir, name, "x")
		listed = append(listed, change.Path("gone/"+name), change.Path(name))
	}
	// What the names would match if they were patterns.
	for _, name := range []string{"br1", "a", "b", "x", "gone/br1", "gone/a"} {
		b.write(b.Dir, name, "kept")
	}
	b.apply(transport.RemoveExact, append(listed, "gone")...)
	for _, p := range listed {
		b.targetLacks(string(p))
	}
	for _, name := range []string{"br1", "a", "b", "x", "gone/br1", "gone/a"} {
		b.targetHas(name, "kept")
	}
}
