package receive

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever is renamed or removed of what leads to a directory: it is known before anything else is done, once and for all.
func TestADirectoryThatLosesItsNameIsNoticedAtOnce(t *testing.T) {
	for name, lose := range map[string]func(dir string) error{
		"renamed":           func(dir string) error { return os.Rename(dir+"/a/b/root", dir+"/a/b/old") },
		"and back":          func(dir string) error { return twice(dir+"/a/b/root", dir+"/a/b/old") },
		"removed":           func(dir string) error { return os.Remove(dir + "/a/b/root") },
		"one above renamed": func(dir string) error { return os.Rename(dir+"/a", dir+"/c") },
		"exchanged link": func(dir string) error {
			if err := os.Symlink("c", dir+"/new"); err != nil {
				return err
			}
			return os.Rename(dir+"/new", dir+"/link")
		},
		"removed link": func(dir string) error { return os.Remove(dir + "/link") },
		"inner link":   func(dir string) error { return os.Remove(dir + "/a/up") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, err := range []error{
				os.MkdirAll(dir+"/a/b/root", 0o755), os.Symlink("../a", dir+"/a/up"), os.Symlink(dir+"/a/./up/b", dir+"/link"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			watch, err := watchWay(filepath.Join(dir, "link") + "//root/")
			if err != nil {
				t.Fatal(err)
			}
			defer watch.Close()
			told := 0
			w := &way{watch: watch, tell: func() { told++ }}
			for _, what := range []string{"f", "d/f"} {
				p := filepath.Join(dir, "a/b/root", what)
				if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, what := range []string{"f", "d"} {
				if err := os.RemoveAll(filepath.Join(dir, "a/b/root", what)); err != nil {
					t.Fatal(err)
				}
			}
			if w.moved() {
				t.Error("what happens in it is taken for its end")
			}
			if err := lose(dir); err != nil {
				t.Fatal(err)
			}
			if again := w.moved(); !again || !w.moved() || told != 1 {
				t.Errorf("it is not noticed, or told %d times", told)
			}
		})
	}
}

func twice(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return os.Rename(to, from)
}

func TestAWayThroughALoopOfLinksIsNone(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"a": "b", "b": "a"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	if watch, err := watchWay(filepath.Join(dir, "a")); err == nil {
		watch.Close()
		t.Error("it is watched")
	}
}
