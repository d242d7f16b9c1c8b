package scan_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
)

func openRoot(t *testing.T) (*scan.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := scan.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// What a look says of a path: itself, its topmost missing ancestor, or an ancestor that is no directory.
func TestLookFindsThePathOrWhatIsMissingAboveIt(t *testing.T) {
	root, dir := openRoot(t)
	outside := t.TempDir()
	must(t,
		os.WriteFile(filepath.Join(outside, "secret"), nil, 0o644),
		os.MkdirAll(filepath.Join(dir, "d/e"), 0o755),
		os.WriteFile(filepath.Join(dir, "d/f"), []byte("x"), 0o644),
		os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink("d", filepath.Join(dir, "in")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
	)
	for _, c := range []struct {
		path, at change.Path
		exists   bool
	}{
		{"d/f", "d/f", true},
		{"d", "d", true},
		{change.Root, change.Root, true},
		{"out", "out", true},
		{"dangling", "dangling", true},
		{"d/gone", "d/gone", false},
		{"gone", "gone", false},
		{"gone/a/b", "gone", false},
		{"d/e/gone/b", "d/e/gone", false},
		{"d/f/below", "d/f", true},
		{"d/f/far/below", "d/f", true},
		{"out/secret", "out", true},
		{"in/f", "in", true},
		{"dangling/x", "dangling", true},
	} {
		looks := root.Looks()
		defer looks.Close()
		for name, look := range map[string]func(change.Path) (scan.Seen, error){"root": root.Look, "looks": looks.Look} {
			seen, err := look(c.path)
			if err != nil || seen.At != c.at || seen.Stat.Exists() != c.exists {
				t.Errorf("%s: look at %q: %+v, %v; want %q, there %v", name, c.path, seen, err, c.at, c.exists)
			}
		}
	}
}

// A root that was removed says nothing of what is below it: that is not known, and nobody may take it for gone.
func TestLookBelowARemovedRootIsUnknown(t *testing.T) {
	root, dir := openRoot(t)
	must(t, os.Remove(dir))
	if seen, err := root.Look("f"); err == nil {
		t.Errorf("look below a removed root: %+v", seen)
	}
	if err := root.Check(); !errors.Is(err, scan.ErrRootGone) {
		t.Errorf("check of a removed root: %v", err)
	}
}

func TestCheckTellsGoneFromReplaced(t *testing.T) {
	root, dir := openRoot(t)
	must(t, root.Check())
	must(t, os.Rename(dir, dir+"-away"))
	if err := root.Check(); !errors.Is(err, scan.ErrRootGone) {
		t.Errorf("check of a moved root: %v", err)
	}
	must(t, os.Mkdir(dir, 0o755))
	if err := root.Check(); !errors.Is(err, scan.ErrRootReplaced) {
		t.Errorf("check of a replaced root: %v", err)
	}
	must(t, os.Remove(dir), os.Rename(dir+"-away", dir), root.Check())
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	if err := root.Check(); !errors.Is(err, scan.ErrRootReplaced) {
		t.Errorf("check of a root that something was mounted over: %v", err)
	}
}

// Directories that stay open between looks must not show what is elsewhere by now as missing or there.
func TestLooksSeeWhatChangedMeanwhile(t *testing.T) {
	root, dir := openRoot(t)
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/f"), nil, 0o644))
	looks := root.Looks()
	defer looks.Close()
	if seen, err := looks.Look("d/f"); err != nil || !seen.Stat.Exists() {
		t.Fatalf("%+v, %v", seen, err)
	}
	must(t, os.Remove(filepath.Join(dir, "d/f")))
	if seen, err := looks.Look("d/f"); err != nil || seen.Stat.Exists() || seen.At != "d/f" {
		t.Errorf("a removed file: %+v, %v", seen, err)
	}
	must(t, os.Remove(filepath.Join(dir, "d")))
	if seen, err := looks.Look("d/f"); err != nil || seen.Stat.Exists() || seen.At != "d" {
		t.Errorf("a file of a removed directory: %+v, %v", seen, err)
	}
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/f"), nil, 0o644))
	if seen, err := looks.Look("d/f"); err != nil || !seen.Stat.Exists() {
		t.Errorf("a file of a directory that was made again: %+v, %v", seen, err)
	}
}
