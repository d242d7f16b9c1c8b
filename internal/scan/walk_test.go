package scan_test

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
)

// memory is an index that keeps what was recorded, and the marks.
type memory struct {
	rows  map[change.Path]change.Stat
	marks map[change.Path]change.Bits
	// times is how often each path was marked.
	times map[change.Path]int
	// comparing is a directory whose entries are to be compared with a target.
	comparing change.Path
	// renamed are the files of which it was told.
	renamed []scan.RenamedFile
}

func newMemory() *memory {
	return &memory{rows: map[change.Path]change.Stat{}, marks: map[change.Path]change.Bits{}, times: map[change.Path]int{}}
}

func (m *memory) Stat(p change.Path) change.Stat { return m.rows[p] }

func (m *memory) Names(dir change.Path) (names []string) {
	for p := range m.rows {
		if p != change.Root && p.Parent() == dir {
			names = append(names, p.Name())
		}
	}
	return names
}

func (m *memory) Below(dir change.Path) (below []change.Path) {
	for p := range m.rows {
		if p.Below(dir) {
			below = append(below, p)
		}
	}
	slices.SortFunc(below, func(a, b change.Path) int { return cmp.Compare(b, a) })
	return below
}

func (m *memory) Links(p change.Path, st change.Stat) (links []change.Path) {
	for q, row := range m.rows {
		if q != p && row.IsFile() && row.SameFile(st) {
			links = append(links, q)
		}
	}
	return links
}

func (m *memory) Record(findings ...scan.Finding) {
	for _, f := range findings {
		if !f.Unsure {
			for _, q := range append(m.Below(f.Path), f.Path) {
				if !f.Stat.Exists() {
					delete(m.rows, q)
				}
			}
			if f.Stat.Exists() {
				m.rows[f.Path] = f.Stat
			}
		}
		if f.Mark {
			m.marks[f.Path] |= f.Bits &^ (change.WasDir | change.WasFile)
			m.times[f.Path]++
		}
	}
}

func (m *memory) RenameFiles(files []scan.RenamedFile) { m.renamed = files }

func (m *memory) Rename(r scan.Rename) bool {
	from, to := r.From, r.To
	for _, p := range append(m.Below(from), from) {
		m.rows[to+p[len(from):]] = m.rows[p]
		delete(m.rows, p)
	}
	m.marks[from] |= change.Extras
	m.marks[to] |= change.Tree | change.Extras
	return true
}

func (m *memory) Went(change.Path) bool { return false }

func (m *memory) Comparing(dir change.Path) bool { return dir != change.Root && dir == m.comparing }

// tree is a source that is walked against an index.
type tree struct {
	*testing.T
	dir      string
	index    *memory
	observer *scan.Observer
	covered  []change.Path
}

func newTree(t *testing.T, f *filter.Filter) *tree {
	root, dir := openRoot(t)
	tr := &tree{T: t, dir: dir, index: newMemory()}
	tr.observer = scan.NewObserver(root, tr.index, f, func(change.Path) {}, func(change.Path, uint64) {})
	return tr
}

func (t *tree) walk(prime bool) {
	t.Helper()
	clear(t.index.marks)
	w := scan.Walk{
		Observer: t.observer, Since: time.Now(), Prime: prime,
		Cover: func(_ int, p change.Path) error { t.covered = append(t.covered, p); return nil },
		Done: func(p change.Path, err error) {
			if err != nil {
				t.Errorf("walk %q: %v", string(p), err)
			}
		},
	}
	must(t.T, w.Run(context.Background(), change.Root))
}

func (t *tree) write(rel, content string) {
	t.Helper()
	p := filepath.Join(t.dir, rel)
	must(t.T, os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o644))
}

func (t *tree) marked(want map[change.Path]change.Bits) {
	t.Helper()
	if diff := gocmp.Diff(want, t.index.marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
}

// P3: a look at everything marks only differences, removals nobody saw among them.
func TestWalkMarksOnlyDifferences(t *testing.T) {
	tr := newTree(t, nil)
	for _, p := range []string{"same", "changed", "gone", "d/same", "d/gone", "e/f/g", "restored"} {
		tr.write(p, "content")
	}
	written := time.Now()
	for !scan.Now().After(written) { // what is as young as the tick of the clock is marked
		continue
	}
	tr.walk(true)
	tr.marked(map[change.Path]change.Bits{})
	if want := []change.Path{"", "d", "e", "e/f"}; !slices.Equal(want, slices.Sorted(slices.Values(tr.covered))) {
		t.Errorf("covered %q", tr.covered)
	}
	tr.walk(false)
	tr.marked(map[change.Path]change.Bits{})

	info, err := os.Stat(filepath.Join(tr.dir, "restored"))
	must(t, err)
	tr.write("changed", "other content")
	tr.write("restored", "CONTENT")
	must(t, os.Chtimes(filepath.Join(tr.dir, "restored"), info.ModTime(), info.ModTime()))
	must(t, os.Remove(filepath.Join(tr.dir, "gone")), os.Remove(filepath.Join(tr.dir, "d/gone")), os.RemoveAll(filepath.Join(tr.dir, "e")))
	tr.write("new/file", "x")
	tr.walk(false)
	tr.marked(map[change.Path]change.Bits{
		"": 0, "changed": 0, "restored": change.Content, "gone": 0, "d": 0, "d/gone": 0,
		"e": change.Extras, "new": 0, "new/file": 0,
	})
}

func TestWalkPrimesWithMarksForWhatChangesMeanwhile(t *testing.T) {
	tr := newTree(t, nil)
	w := scan.Walk{
		Observer: tr.observer, Since: time.Now().Add(-time.Hour), Prime: true,
		Cover: func(int, change.Path) error { return nil }, Done: func(change.Path, error) {},
	}
	tr.write("young", "x")
	must(t, w.Run(t.Context(), change.Root))
	tr.marked(map[change.Path]change.Bits{"": 0, "young": 0})
}

func TestDirectoryThatWasReplacedMayHaveExtras(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d/f", "x")
	tr.walk(true)
	must(t, os.Rename(filepath.Join(tr.dir, "d"), filepath.Join(t.TempDir(), "away")), os.Mkdir(filepath.Join(tr.dir, "d"), 0o755))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "d", Dir: true, Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"d": change.Extras})
}

// Looks that last keep a directory open, and let go of it once a walk has found what is there in its place by now.
func TestLooksThatLastDoNotTakeBackWhatAWalkFound(t *testing.T) {
	tr := newTree(t, nil)
	root, err := scan.OpenRoot(tr.dir)
	must(t, err)
	defer root.Close()
	looks := root.Looks()
	defer looks.Close()
	tr.write("d/f", "x")
	tr.walk(true)
	observe := func() { tr.observer.ObserveWith(looks, []scan.Happened{{Path: "d/f", Since: time.Now()}}) }
	observe()
	old := tr.index.rows["d/f"]
	must(t, os.Rename(filepath.Join(tr.dir, "d"), filepath.Join(tr.dir, "away")))
	tr.write("d/f", "another one")
	tr.walk(false)
	observe()
	if now := tr.index.rows["d/f"]; now.SameFile(old) || now.Size != int64(len("another one")) {
		t.Errorf("the index has %+v, which is what lies in another place", now)
	}
}

// With a filter nothing below a directory is removed that is not named: names that it protects may be there.
func TestRemovedDirectoryIsNamedPathByPathWhereThereIsAFilter(t *testing.T) {
	f, err := filter.New(filter.Glob("test", "*.log"))
	must(t, err)
	tr := newTree(t, f)
	for _, p := range []string{"d/f", "d/e/g", "d/e/keep.log"} {
		tr.write(p, "x")
	}
	tr.walk(true)
	must(t, os.RemoveAll(filepath.Join(tr.dir, "d")))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "d", Dir: true, Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"d": change.Extras, "d/f": 0, "d/e": 0, "d/e/g": 0})
}

func TestChangeThroughOneNameIsAChangeOfAll(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("a/f", "x")
	must(t, os.Link(filepath.Join(tr.dir, "a/f"), filepath.Join(tr.dir, "g")))
	tr.walk(true)
	tr.write("g", "longer")
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "g", Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"a/f": 0, "g": 0})
}

// A walk that finds one name of a file after the other marks each once: what it knows of the others it has seen itself.
func TestWalkMarksEachNameOfAFileOnce(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("a/f", "x")
	for _, dir := range []string{"b", "c", "d"} {
		must(t, os.Mkdir(filepath.Join(tr.dir, dir), 0o755), os.Link(filepath.Join(tr.dir, "a/f"), filepath.Join(tr.dir, dir, "f")))
	}
	tr.walk(false)
	for _, p := range []change.Path{"a/f", "b/f", "c/f", "d/f"} {
		if n := tr.index.times[p]; n != 1 {
			t.Errorf("%s was marked %d times", p, n)
		}
	}
	// Another name, that nobody saw come: whether anything else happened nobody knows.
	must(t, os.Link(filepath.Join(tr.dir, "a/f"), filepath.Join(tr.dir, "g")))
	clear(tr.index.times)
	tr.walk(false)
	for _, p := range []change.Path{"a/f", "b/f", "c/f", "d/f", "g"} {
		if tr.index.times[p] == 0 {
			t.Errorf("%s was not marked", p)
		}
	}
}

// P7: an error while a directory is listed stops removals below it. Root is not refused anything, so the
// thread that looks gives its rights away.
// Nobody is told of what came into a directory before it was watched. Its row must not be older than that, or the next start finds a change.
func TestWhatComesIntoADirectoryBeforeItIsWatchedIsInItsRow(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d/f", "x")
	late := func(_ int, p change.Path) error {
		if p == "d" {
			tr.write("d/sub/g", "x")
		}
		return nil
	}
	w := scan.Walk{Observer: tr.observer, Since: time.Now(), Cover: late, Done: func(change.Path, error) {}}
	must(t, w.Run(t.Context(), change.Root))
	tr.walk(false)
	tr.marked(map[change.Path]change.Bits{})
}

func TestDirectoryThatCannotBeListedRemovesNothing(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d/f", "x")
	tr.walk(true)
	must(t, os.Chmod(filepath.Join(tr.dir, "d"), 0o700), os.Chmod(tr.dir, 0o755))
	for up := tr.dir; strings.HasPrefix(up, os.TempDir()) && up != os.TempDir(); up = filepath.Dir(up) {
		must(t, os.Chmod(up, 0o755))
	}
	clear(tr.index.marks)
	var failed []change.Path
	w := scan.Walk{
		Observer: tr.observer, Since: time.Now(), Cover: func(int, change.Path) error { return nil },
		Done: func(p change.Path, err error) {
			if err != nil {
				failed = append(failed, p)
			}
		},
	}
	done := make(chan error)
	go func() {
		lockWithoutRights()
		done <- w.Run(t.Context(), change.Root)
	}()
	must(t, <-done)
	if !slices.Contains(failed, "d") {
		t.Fatalf("failed %q: nothing is shown", failed)
	}
	if _, marked := tr.index.marks["d/f"]; marked || !tr.index.rows["d/f"].Exists() {
		t.Error("what could not be listed was taken for gone")
	}
}

// lockWithoutRights makes the calling goroutine's thread look at files as nobody. The thread ends with the goroutine.
func lockWithoutRights() {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSGID, 65534, 0, 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
}

// A symlink may have several names, too.
func TestOwnerOfASymlinkIsThatOfAllItsNames(t *testing.T) {
	tr := newTree(t, nil)
	must(t, os.Symlink("nowhere", filepath.Join(tr.dir, "l")), os.Link(filepath.Join(tr.dir, "l"), filepath.Join(tr.dir, "m")))
	tr.walk(true)
	must(t, os.Lchown(filepath.Join(tr.dir, "m"), 1, 2))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "m", Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"l": 0, "m": 0})
}

// A change of the mode through a name that is gone by the time of the look is one of the names that are left; a name that
// merely went is none.
func TestModeSetThroughALinkThatIsGoneMarksTheOtherNames(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("kept", "x")
	must(t, os.Link(filepath.Join(tr.dir, "kept"), filepath.Join(tr.dir, "link")))
	must(t, os.Link(filepath.Join(tr.dir, "kept"), filepath.Join(tr.dir, "second")))
	tr.walk(true)
	must(t, os.Remove(filepath.Join(tr.dir, "link")))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "link", Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"link": 0})
	must(t, os.Chmod(filepath.Join(tr.dir, "second"), 0o600), os.Remove(filepath.Join(tr.dir, "second")))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "second", Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"second": 0, "kept": change.Content})
}

// An mtime that was set back through a name that is gone by the time of the look hides what was written before.
func TestMtimeSetBackThroughALinkThatIsGoneComparesTheContent(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("kept", "content")
	must(t, os.Link(filepath.Join(tr.dir, "kept"), filepath.Join(tr.dir, "link")))
	info, err := os.Stat(filepath.Join(tr.dir, "kept"))
	must(t, err)
	tr.walk(true)
	tr.write("link", "CONTENT")
	tr.observer.Observe([]scan.Happened{{Path: "link", Wrote: true, Since: time.Now()}})
	must(t, os.Chtimes(filepath.Join(tr.dir, "link"), info.ModTime(), info.ModTime()), os.Remove(filepath.Join(tr.dir, "link")))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "link", Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"link": 0, "kept": change.Content})
}

// What was written through a name that is gone by the time of the look, alone or with its directory, is a change of the names that are left.
func TestWriteThroughALinkThatIsGoneMarksTheOtherNames(t *testing.T) {
	for name, gone := range map[change.Path]string{"link": "link", "d/link": "d"} {
		tr := newTree(t, nil)
		tr.write("kept", "content")
		tr.write("d/f", "x")
		must(t, os.Link(filepath.Join(tr.dir, "kept"), filepath.Join(tr.dir, string(name))))
		tr.walk(true)
		tr.write(string(name), "CONTENT")
		must(t, os.RemoveAll(filepath.Join(tr.dir, gone)))
		clear(tr.index.marks)
		tr.observer.Observe([]scan.Happened{{Path: name, Wrote: true, Since: time.Now()}})
		tr.marked(map[change.Path]change.Bits{name: 0, "kept": change.Content})
	}
}

// A directory that comes back, or makes room for another, leaves nothing of what was sent meanwhile.
func TestDirectoryThatWentIsComparedWhenOneIsBack(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d/f", "x")
	tr.walk(true)
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "d", Dir: true, Moved: true, Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"d": change.Extras})
	must(t, os.RemoveAll(filepath.Join(tr.dir, "d")))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "e", Dir: true, Since: time.Now()}})
	tr.observer.Observe([]scan.Happened{{Path: "d/f", Went: true, Since: time.Now()}})
	tr.observer.Observe([]scan.Happened{{Path: "d", Dir: true, Went: true, Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"e": change.Extras, "d": change.Extras})
}

// A file system gives the number of a directory that went to the next file.
func TestFileWithTheNumberOfADirectoryIsAnotherOne(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d", "x")
	tr.walk(true)
	st := tr.index.rows["d"]
	st.Mode = syscall.S_IFDIR | 0o755
	tr.index.rows["d"], tr.index.rows["d/f"] = st, change.Stat{Mode: syscall.S_IFREG | 0o644, Dev: st.Dev, Ino: st.Ino + 1, Links: 1}
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "d", Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"d": change.Extras})
	if _, known := tr.index.rows["d/f"]; known {
		t.Error("the index knows what was in the directory")
	}
}

// Half of a rewrite may be seen: with another mtime than before, which is set back afterwards.
func TestMtimeThatIsSetBackIsComparedByContent(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("f", "content")
	info, err := os.Stat(filepath.Join(tr.dir, "f"))
	must(t, err)
	tr.walk(true)
	tr.write("f", "CONTENT")
	tr.observer.Observe([]scan.Happened{{Path: "f", Since: time.Now()}})
	must(t, os.Chtimes(filepath.Join(tr.dir, "f"), info.ModTime(), info.ModTime()))
	clear(tr.index.marks)
	tr.observer.Observe([]scan.Happened{{Path: "f", Since: time.Now()}})
	tr.marked(map[change.Path]change.Bits{"f": change.Content})
}

// Nobody watches yet when the first walk begins: what is moved out of the part that it has seen comes with all that is in it.
func TestWalkPrimesWithMarksForAllOfADirectoryThatWasMovedMeanwhile(t *testing.T) {
	tr := newTree(t, nil)
	tr.write("d/old/f", "x")
	tr.write("z/g", "x")
	since := time.Now()
	for !scan.Now().After(since) {
		continue
	}
	since = scan.Now()
	for !scan.Now().After(since) {
		continue
	}
	must(t, os.Rename(filepath.Join(tr.dir, "d/old"), filepath.Join(tr.dir, "z/new")))
	w := scan.Walk{
		Observer: tr.observer, Since: since, Prime: true,
		Cover: func(int, change.Path) error { return nil }, Done: func(change.Path, error) {},
	}
	must(t, w.Run(t.Context(), change.Root))
	tr.marked(map[change.Path]change.Bits{"d": 0, "z": 0, "z/new": 0, "z/new/f": 0})
}
