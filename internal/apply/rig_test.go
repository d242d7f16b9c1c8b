package apply

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// someTime is a time with nanoseconds, long ago.
const someTime = 1_234_567_890_123_456_789

// rig is a tree below a directory that is removed at the end.
type rig struct {
	testing.TB
	*Tree
	dir string
}

func all() Options { return Options{Owners: true, Devices: true, SetID: true} }

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	return openRig(t, t.TempDir(), o)
}

func openRig(t testing.TB, dir string, o Options) *rig {
	t.Helper()
	tree, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, tree, dir}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) at(p change.Path) string { return filepath.Join(r.dir, string(p)) }

func fileAttr(content string) Attr {
	return Attr{Mode: unix.S_IFREG | 0o644, Size: int64(len(content)), Mtime: someTime}
}

func dirAttr() Attr { return Attr{Mode: unix.S_IFDIR | 0o755, Mtime: someTime} }

func linkAttr(to string) Attr { return Attr{Mode: unix.S_IFLNK | 0o777, Mtime: someTime, Link: to} }

// write places content.
func (r *rig) write(p change.Path, content string, a Attr, keep bool) (Done, error) {
	f, err := r.Create(p, a, Old{Keep: keep})
	if err != nil {
		return Done{}, err
	}
	defer f.Discard()
	if _, err := f.Write([]byte(content)); err != nil {
		return Done{}, err
	}
	return f.Place()
}

func (r *rig) file(p change.Path, content string) {
	r.Helper()
	done, err := r.write(p, content, fileAttr(content), false)
	if err != nil || !done.Changed || done.Limits != nil {
		r.Fatalf("%s: %+v, %v", p, done, err)
	}
}

func (r *rig) put(p change.Path, a Attr) Done {
	r.Helper()
	done, err := r.Put(p, a, Old{})
	if err != nil || done.Limits != nil {
		r.Fatalf("%s: %+v, %v", p, done, err)
	}
	return done
}

func (r *rig) has(p change.Path, content string) {
	r.Helper()
	if got, err := os.ReadFile(r.at(p)); err != nil || string(got) != content {
		r.Errorf("%s: %q, %v; want %q", p, got, err, content)
	}
}

func (r *rig) same(p change.Path, a Attr) {
	r.Helper()
	st, err := r.Look(p)
	r.must(err)
	if differs, err := r.Same(p, st, a); err != nil || differs != 0 {
		r.Errorf("%s differs by %b: %+v, want %+v, %v", p, differs, st, a, err)
	}
}

func (r *rig) lacks(p change.Path) {
	r.Helper()
	if _, err := os.Lstat(r.at(p)); !errors.Is(err, os.ErrNotExist) {
		r.Errorf("%s is there: %v", p, err)
	}
	if st, err := r.Look(p); err != nil || st.Exists() {
		r.Errorf("%s is looked at: %+v, %v", p, st, err)
	}
}

// clean checks that no temporary name is left after a Sync.
func (r *rig) clean() {
	r.Helper()
	r.must(r.Sync())
	for _, name := range temps(r, r.dir) {
		r.Errorf("left over: %s", name)
	}
}

func temps(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".sersync-tmp.") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
