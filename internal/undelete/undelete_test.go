package undelete

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// rig is a source with a staging directory.
type rig struct {
	*testing.T
	src     string
	root    *scan.Root
	staging *Staging
}

func newRig(t *testing.T, p change.Path, prepare func(r *rig)) *rig {
	r := &rig{T: t, src: t.TempDir()}
	if prepare != nil {
		prepare(r)
	}
	var err error
	r.root, err = scan.OpenRoot(r.src)
	r.must(err)
	t.Cleanup(func() { r.root.Close() })
	r.staging, err = Stage(r.root, p)
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) write(dir, name, content string) {
	r.Helper()
	file := filepath.Join(dir, name)
	r.must(os.MkdirAll(filepath.Dir(file), 0o755))
	r.must(os.WriteFile(file, []byte(content), 0o640))
}

// staged is a file that came back.
func (r *rig) staged(name, content string) {
	r.Helper()
	r.write(fmt.Sprintf("/proc/self/fd/%d", r.staging.Dir().Fd()), name, content)
}

// putBack returns what became of what.
func (r *rig) putBack(force bool) (map[string]Outcome, error) {
	got := map[string]Outcome{}
	err := r.staging.PutBack(force, func(p change.Path, o Outcome) { got[string(p)] = o })
	r.must(r.staging.Close())
	if _, err := os.Lstat(filepath.Join(r.src, ".sersync-trash")); !os.IsNotExist(err) {
		r.Errorf("the staging directory is still there: %v", err)
	}
	return got, err
}

func (r *rig) has(name, content string) {
	r.Helper()
	got, err := os.ReadFile(filepath.Join(r.src, name))
	if err != nil || string(got) != content {
		r.Errorf("%q: got %q, %v; want %q", name, got, err, content)
	}
}

func (r *rig) is(got, want map[string]Outcome) {
	r.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestWhatIsThereStaysUnlessForced(t *testing.T) {
	for _, force := range []bool{false, true} {
		r := newRig(t, "d/f", func(r *rig) {
			r.write(r.src, "d/f", "here")
			r.write(r.src, "d/dir/f", "here")
			r.write(r.src, "d/file", "here")
			r.must(os.Symlink("/etc/passwd", filepath.Join(r.src, "d/link")))
			r.must(os.Chmod(filepath.Join(r.src, "d"), 0o711))
		})
		for _, name := range []string{"d/f", "d/new/a/b", "d/dir/g", "d/file/f", "d/link", "gone/f"} {
			r.staged(name, "back")
		}
		got, err := r.putBack(force)
		r.must(err)
		kept, content := Kept, "here"
		if force {
			kept, content = Replaced, "back"
		}
		r.is(got, map[string]Outcome{"d/f": kept, "d/link": kept, "d/new": Back, "d/dir/g": Back, "d/file": Blocked, "gone": Back})
		r.has("d/f", content)
		r.has("d/new/a/b", "back")
		r.has("d/dir/f", "here")
		r.has("d/dir/g", "back")
		r.has("d/file", "here")
		r.has("gone/f", "back")
		if info, err := os.Stat(filepath.Join(r.src, "d")); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("the directory that was there is %v, %v", info.Mode(), err)
		}
		if info, err := os.Stat("/etc/passwd"); err != nil || info.Size() == 4 {
			t.Errorf("/etc/passwd is %v, %v", info, err)
		}
	}
}

// Who can write in the source puts a symlink where a directory was: nothing goes through it.
func TestSymlinkOnTheWayLeadsNowhere(t *testing.T) {
	outside := t.TempDir()
	r := newRig(t, "d/e/f", nil)
	r.staged("d/e/f", "back")
	r.must(os.Mkdir(filepath.Join(r.src, "d"), 0o755))
	r.must(os.Symlink(outside, filepath.Join(r.src, "d/e")))
	got, err := r.putBack(true)
	r.must(err)
	r.is(got, map[string]Outcome{"d/e": Blocked})
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside of the source is %v, %v", entries, err)
	}
}

func TestStagingIsNotMadeThroughASymlink(t *testing.T) {
	outside, src := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(src, ".sersync-trash")); err != nil {
		t.Fatal(err)
	}
	root, err := scan.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if s, err := Stage(root, "f"); err == nil {
		t.Errorf("staged in %v", s.Close())
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside of the source is %v, %v", entries, err)
	}
}

func TestNamesAreBytes(t *testing.T) {
	names := []string{"#x", "-rf", "new\nline", "\xff\xfe", "*", strings.Repeat("n", 255), "a -> b"}
	r := newRig(t, "d", nil)
	want := map[string]Outcome{}
	for _, name := range names {
		r.staged(name, name)
		want[name] = Back
	}
	got, err := r.putBack(false)
	r.must(err)
	r.is(got, want)
	for _, name := range names {
		r.has(name, name)
	}
}

// A rename does not leave a file system, so the staging directory is in that of the path.
func TestPathOnAMountBelowTheSource(t *testing.T) {
	r := newRig(t, "d/mnt/sub/f", func(r *rig) {
		mnt := filepath.Join(r.src, "d/mnt")
		r.must(os.MkdirAll(mnt, 0o755))
		r.must(unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m"))
		r.Cleanup(func() { r.must(unix.Unmount(mnt, unix.MNT_DETACH)) })
	})
	r.staged("d/mnt/sub/f", "back")
	got, err := r.putBack(false)
	r.must(err)
	r.is(got, map[string]Outcome{"d/mnt/sub": Back})
	r.has("d/mnt/sub/f", "back")
	if _, err := os.Lstat(filepath.Join(r.src, "d/mnt/.sersync-trash")); !os.IsNotExist(err) {
		t.Errorf("the staging directory is still there: %v", err)
	}
}

// What another undelete or an older one left is not ours to remove.
func TestTrashThatWasThereStays(t *testing.T) {
	r := newRig(t, "f", func(r *rig) { r.write(r.src, ".sersync-trash/2026-01-01/f", "x") })
	r.staged("f", "back")
	r.must(r.staging.PutBack(false, func(change.Path, Outcome) {}))
	r.must(r.staging.Close())
	r.has("f", "back")
	r.has(".sersync-trash/2026-01-01/f", "x")
	if entries, err := os.ReadDir(filepath.Join(r.src, ".sersync-trash")); err != nil || len(entries) != 1 {
		t.Errorf("in the trash is %v, %v", entries, err)
	}
}
