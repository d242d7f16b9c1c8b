package apply

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

func TestNamesArriveAsTheyAre(t *testing.T) {
	r := newRig(t, all())
	names := []string{
		"-rf", "*", "a b", "new\nline", "\xff\xfe", "日志", "`id`", "x\x1b[31m", "...", "..x", "\\", strings.Repeat("n", 255), strings.Repeat("\xff", 255),
		".sersync-tmp", "x.sersync-tmp.",
	}
	for _, name := range names {
		p := change.Path(name)
		r.file(p, name)
		r.file(p, name+name) // replaced
		r.has(p, name+name)
		r.put("d", dirAttr())
		if errs := r.Rename([]Move{{From: p, To: "d" + "/" + p}}); errs[0] != nil {
			t.Errorf("%s: %v", p, errs[0])
		}
		r.has("d/"+p, name+name)
	}
	r.clean()
	for _, p := range []change.Path{"d", "d"} {
		_, err := r.Remove(p)
		r.must(err)
	}
	r.lacks("d")
}

func TestPathsThatLeadOutAreRefused(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	outside := t.TempDir()
	r.put("link", linkAttr(outside))
	r.put("d/up", linkAttr(".."))
	long := change.Path(strings.Repeat("n", 256))
	for p, kind := range map[change.Path]Kind{
		"..": Never, "../x": Never, "/etc/x": Never, "d/../../x": Never, "a//b": Never, "d/.": Never, "x\x00y": Never, long: Never,
		".sersync-tmp.x": Never, "d/.sersync-tmp.x/y": Never, "link/x": NoParent, "d/up/x": NoParent, "missing/x": NoParent,
	} {
		if _, err := r.write(p, "x", fileAttr("x"), false); KindOf(err) != kind {
			t.Errorf("create %s: %v", p, err)
		}
		if _, err := r.Put(p, dirAttr(), Old{}); KindOf(err) != kind {
			t.Errorf("put %s: %v", p, err)
		}
		if err := r.Rename([]Move{{From: "d", To: p}})[0]; err == nil {
			t.Errorf("rename to %s", p)
		}
		done, err := r.Remove(p)
		if kind == NoParent && (err != nil || done.Changed) || kind == Never && err == nil {
			t.Errorf("remove %s: %+v, %v", p, done, err)
		}
	}
	if _, err := r.OpenOld("link/x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if _, err := r.OpenOld("link"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open a link: %v", err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("outside: %v", entries)
	}
}

// A directory is swapped for a symlink that leads outside, and back, all the time: nothing outside is ever touched.
func TestASwappedDirectoryLeadsNowhere(t *testing.T) {
	r := newRig(t, all())
	outside := t.TempDir()
	for _, name := range []string{"f", "sub/f", "gone/f"} {
		r.must(os.MkdirAll(filepath.Dir(filepath.Join(outside, name)), 0o755))
		r.must(os.WriteFile(filepath.Join(outside, name), []byte("outside"), 0o600))
	}
	before := snapshot(t, outside)
	r.put("d", dirAttr())
	r.must(os.Symlink(outside, r.at("trap")))
	stop := make(chan struct{})
	var flips int
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				flips++
				_ = unix.Renameat2(unix.AT_FDCWD, r.at("d"), unix.AT_FDCWD, r.at("trap"), unix.RENAME_EXCHANGE)
			}
		}
	})
	refused, done := 0, 0
	for deadline := time.Now().Add(time.Minute); (refused < 50 || done < 50) && time.Now().Before(deadline); {
		r.dirs.clear() // each time the kernel is asked
		for _, err := range []error{
			second(r.Put("d/sub", dirAttr(), Old{})),
			second(r.write("d/f", "new", fileAttr("new"), false)),
			second(r.Put("d/l", linkAttr("x"), Old{})),
			second(r.Remove("d/gone")),
			second(r.RemoveExact("d/sub/f")),
			r.Rename([]Move{{From: "d/f", To: "d/g"}})[0],
			second(r.Remove("d/g")),
		} {
			if err != nil {
				refused++
			} else {
				done++
			}
		}
	}
	close(stop)
	wg.Wait()
	if refused < 50 || done < 50 {
		t.Errorf("%d refused, %d done in %d flips: this proves nothing", refused, done, flips)
	}
	if after := snapshot(t, outside); after != before {
		t.Errorf("outside is\n%s, and was\n%s", after, before)
	}
}

func second[T any](_ T, err error) error { return err }

func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		st, err := os.ReadFile(path)
		if err != nil && !info.IsDir() {
			return err
		}
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + " " + string(st) + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What others did to a directory whose descriptor is kept is noticed.
func TestADirectoryThatOthersRemovedOrMoved(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	r.file("d/f", "x")
	r.must(r.Sync())
	r.must(os.RemoveAll(r.at("d")))
	r.lacks("d/f")
	if _, err := r.write("d/f", "x", fileAttr("x"), false); KindOf(err) != NoParent {
		t.Errorf("in a directory that is gone: %v", err)
	}
	r.must(os.Mkdir(r.at("d"), 0o755))
	r.file("d/f", "again")
	r.must(os.RemoveAll(r.at("d")))
	r.must(os.Mkdir(r.at("d"), 0o755))
	r.file("d/f", "once more") // by a descriptor of the one before
	r.has("d/f", "once more")
	r.must(os.RemoveAll(r.at("d")))
	r.must(os.Mkdir(r.at("d"), 0o755))
	r.must(os.WriteFile(r.at("d/f"), []byte("of others"), 0o644))
	if _, err := r.LookToPut("d/f"); err != nil {
		t.Error(err)
	}
	r.file("d/f", "of ours") // whichever of the two was looked at
	r.has("d/f", "of ours")

	r.must(os.Rename(r.at("d"), r.at("moved")))
	r.must(os.Mkdir(r.at("d"), 0o755))
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		r.file("d/g", "x")
		if _, err := os.Stat(r.at("d/g")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a directory that was moved is written to for ever")
		}
	}
}

func TestARootThatIsGone(t *testing.T) {
	dir := t.TempDir()
	r := openRig(t, filepath.Join(dir, "."), all())
	sub := filepath.Join(dir, "root")
	r.must(os.Mkdir(sub, 0o755))
	tree := openRig(t, sub, all())
	r.must(os.Remove(sub))
	_, err := tree.write("f", "x", fileAttr("x"), false)
	if KindOf(err) != RootGone {
		t.Errorf("create: %v", err)
	}
	if _, err := tree.Look("f"); KindOf(err) != RootGone {
		t.Errorf("look: %v", err)
	}
	if _, err := tree.Remove("f"); KindOf(err) != RootGone {
		t.Errorf("remove: %v", err)
	}
}
