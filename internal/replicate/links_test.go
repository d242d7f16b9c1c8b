package replicate_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/replicate"
	"sersync/internal/transport/local"
	"sersync/internal/treetest"
	"sersync/internal/watch/mixed"
)

// toDirectory is a target that is a directory of this machine.
func (r *rig) toDirectory(dir string) replicate.TargetOptions {
	r.t.Helper()
	return replicate.TargetOptions{
		Name: "local", Identity: dir, Transport: local.New(local.Options{Dir: dir, Program: "test", Log: r.opts.Log}),
	}
}

// fileNames are the names of the regular files below dir, of each file those of it, where it has several.
func fileNames(t testing.TB, dir string) (names map[string]string) {
	t.Helper()
	files := map[uint64][]string{}
	for p, line := range treetest.Snapshot(t, dir, func(rel string) bool { return strings.HasPrefix(filepath.Base(rel), ".sersync-tmp.") }) {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, p), &st); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "-") {
			files[st.Ino] = append(files[st.Ino], p)
		}
	}
	names = map[string]string{}
	for _, all := range files {
		slices.Sort(all)
		for _, p := range all {
			names[p] = strings.Join(all, " ")
		}
	}
	return names
}

// sameNames checks that names of one file at the source are names of one file on the target.
func sameNames(t testing.TB, source, target string) {
	t.Helper()
	if diff := cmp.Diff(fileNames(t, source), fileNames(t, target)); diff != "" {
		t.Errorf("names of files (-source +target):\n%s", diff)
	}
}

// linked is a rig whose target is a directory of this machine; sent are how many files were sent so far, and bytes how many bytes for them.
type linked struct {
	*rig
	target string
	mu     sync.Mutex
	sent   int
	bytes  int64
}

func newLinked(t *testing.T, by mixed.Options, change func(*rig)) *linked {
	l := &linked{target: t.TempDir()}
	l.rig = newRig(t, func(r *rig) {
		noBudget(r)
		r.watchedBy(by)
		r.opts.Targets = []replicate.TargetOptions{r.toDirectory(l.target)}
		r.opts.OnBatch = func(b replicate.BatchDone) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.sent, l.bytes = l.sent+b.Files, l.bytes+b.Bytes
		}
		if change != nil {
			change(r)
		}
	})
	return l
}

// sends says how many files what is done has sent, when the target is equal again, names of files and all.
func (l *linked) sends(do func()) int {
	l.t.Helper()
	l.mu.Lock()
	before := l.sent
	l.mu.Unlock()
	do()
	l.same()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent - before
}

func (l *linked) same() {
	l.t.Helper()
	l.wait()
	treetest.Equal(l.t, l.dir, l.target, func(rel string) bool { return strings.HasPrefix(filepath.Base(rel), ".sersync-tmp.") })
	sameNames(l.t, l.dir, l.target)
}

func (l *linked) run(program string, args ...string) {
	l.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = l.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
}

// replace has a file that was made elsewhere take the place of another one.
func (l *linked) replace(rel, content string) {
	l.t.Helper()
	tmp := filepath.Join(l.t.TempDir(), "f")
	l.must(os.WriteFile(tmp, []byte(content), 0o644))
	l.must(os.Rename(tmp, filepath.Join(l.dir, rel)))
}

// Old versions that are kept by links cost a target what they cost the source.
func TestVersionsKeptByLinksAreLinksOnTheTarget(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		t.Parallel()
		l := newLinked(t, by, nil)
		const files = 300
		for i := range files {
			l.write(fmt.Sprintf("daily.0/d%d/f%d", i%7, i), strings.Repeat("content "+strconv.Itoa(i), 100*(i%20)))
		}
		l.start()
		l.same()
		if n := l.sends(func() { l.run("cp", "-al", "daily.0", "daily.1") }); n > 0 {
			t.Errorf("%d files were sent for new names", n)
		}
		n := l.sends(func() { // as rsync does it: a changed file is another one
			l.replace("daily.0/d1/f1", "changed")
			l.run("rm", "daily.0/d2/f2")
		})
		if n != 1 {
			t.Errorf("%d files were sent for one that changed", n)
		}
		for range 2 {
			if n := l.sends(func() { l.run("cp", "-al", "daily.0", "daily.new") }); n > 0 {
				t.Errorf("%d files were sent for new names once more", n)
			}
			// Directories that are not moved on the target are other names at the most.
			l.sends(func() {
				l.run("rm", "-r", "daily.1")
				l.run("mv", "daily.0", "daily.1")
				l.run("mv", "daily.new", "daily.0")
			})
		}
	})
}

// versions makes files in dir/v00, and versions of it whose files are names of these.
func (l *linked) versions(dir string, files, versions int) {
	l.t.Helper()
	for i := range files {
		p := filepath.Join(dir, fmt.Sprintf("v00/d%d/f%d", i%7, i))
		l.must(os.MkdirAll(filepath.Dir(p), 0o755))
		l.must(os.WriteFile(p, []byte("content "+strconv.Itoa(i)), 0o644))
	}
	for i := range versions {
		l.run("cp", "-al", filepath.Join(dir, "v00"), filepath.Join(dir, fmt.Sprintf("v%02d", i+1)))
	}
}

// The names of a file are in several batches, and the target lacks all of them.
func TestAFirstComparisonSendsAFileWithManyNamesOnce(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		t.Parallel()
		l := newLinked(t, by, nil)
		const files, versions = 150, 40
		l.versions(l.dir, files, versions)
		if n := l.sends(l.start); n != files {
			t.Errorf("%d files were sent of %d with %d names each", n, files, versions+1)
		}
	})
}

// A walk finds one name after the other, and marks those that it knows with each, while the first ones are on their way.
func TestATreeThatComesSendsAFileWithManyNamesOnce(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		t.Parallel()
		l := newLinked(t, by, nil)
		const files, versions = 150, 40
		outside := filepath.Join(t.TempDir(), "tree")
		l.versions(outside, files, versions)
		l.start()
		l.same()
		if n := l.sends(func() { l.must(os.Rename(outside, filepath.Join(l.dir, "tree"))) }); n != files {
			t.Errorf("%d files were sent of %d with %d names each", n, files, versions+1)
		}
	})
}

// What happens through one name, in its own time or in that of the others, happens to all of them.
func TestAChangeThroughOneNameIsOneOfAllOnTheTarget(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		t.Parallel()
		l := newLinked(t, by, func(r *rig) { r.opts.Targets[0].Large = 1 << 20 })
		for name, size := range map[string]int{"small": 10, "medium": 200 << 10, "large": 2 << 20} {
			content := strings.Repeat("x", size)
			l.write(name+"/a", content)
			l.must(os.MkdirAll(filepath.Join(l.dir, name, "d"), 0o755))
			l.run("ln", name+"/a", name+"/b")
			l.run("ln", name+"/a", name+"/d/c")
		}
		l.start()
		l.same()
		each := func(what string, most int, do func(dir string)) {
			t.Helper()
			n := l.sends(func() {
				for _, dir := range []string{"small", "medium", "large"} {
					do(dir)
				}
			})
			if n > most {
				t.Errorf("%s: %d files were sent", what, n)
			}
		}
		each("a name that came", 0, func(dir string) { l.run("ln", dir+"/d/c", dir+"/new") })
		each("a name that went", 0, func(dir string) { l.run("rm", dir+"/a") })
		each("a name that was renamed", 0, func(dir string) { l.run("mv", dir+"/new", dir+"/d/newer") })
		each("a mode", 3, func(dir string) { l.run("chmod", "600", dir+"/b") })
		each("a time", 3, func(dir string) { l.run("touch", "-d", "2020-01-02", dir+"/d/c") })
		l.sends(func() {
			for _, dir := range []string{"small", "medium", "large"} {
				l.run("sh", "-c", "echo more >> "+dir+"/b")
			}
		})
		each("a file in the place of a name", 3, func(dir string) {
			l.replace(dir+"/b", strings.Repeat("y", 100))
		})
		each("a name in the place of a file", 0, func(dir string) { l.run("ln", "-f", dir+"/d/c", dir+"/b") })
	})
}

// While sersync was down, files got other names, and some were written.
func TestNamesThatCameWhileNobodyWatchedAreLinksOnTheTarget(t *testing.T) {
	state := t.TempDir()
	l := newLinked(t, mixed.Options{Method: *method}, func(r *rig) { r.opts.StateDir = state })
	for i := range 50 {
		l.write(fmt.Sprintf("d/f%d", i), strings.Repeat("content "+strconv.Itoa(i), 100*(i%20)))
	}
	l.start()
	l.same()
	l.stop()
	l.run("cp", "-al", "d", "c")
	l.run("cp", "-al", "d", "e")
	l.run("sh", "-c", "echo more >> c/f7")
	l.opts.Targets = []replicate.TargetOptions{l.toDirectory(l.target)}
	l.start()
	l.same()
}

// A file with several names that is damaged on the target is damaged under all of them, and repaired under all.
func TestAVerificationByContentRepairsAllNamesOfAFile(t *testing.T) {
	l := newLinked(t, mixed.Options{Method: *method}, func(r *rig) {
		r.opts.Verify = replicate.VerifyOptions{Every: 100_000_000, Content: true}
	})
	for _, dir := range []string{"a", "b", "c"} {
		l.must(os.Mkdir(filepath.Join(l.dir, dir), 0o755))
	}
	l.write("b/f", "content")
	l.run("ln", "b/f", "a/f")
	l.run("ln", "b/f", "c/f")
	l.start()
	l.same()
	info, err := os.Stat(filepath.Join(l.target, "a/f"))
	l.must(err)
	l.must(os.WriteFile(filepath.Join(l.target, "a/f"), []byte("CONTENT"), 0o644))
	l.must(os.Chtimes(filepath.Join(l.target, "a/f"), info.ModTime(), info.ModTime()))
	for _, p := range []string{"a/f", "b/f", "c/f"} {
		l.eventually(p+" is repaired", func() bool {
			got, err := os.ReadFile(filepath.Join(l.target, p))
			return err == nil && string(got) == "content"
		})
	}
	l.same()
}

// Whatever is done with files and their names: names of one file are names of one file on the target.
func TestP1ConvergeWithNamesOfOneFile(t *testing.T) {
	seeds := []uint64{11, 12}
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	byEach(t, func(t *testing.T, by mixed.Options) {
		for _, seed := range seeds {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				l := newLinked(t, by, func(r *rig) { r.opts.MoveLeast, r.opts.Targets[0].Large = 1, 64<<10 })
				l.start()
				var wg sync.WaitGroup
				for i := range uint64(3) {
					w := treetest.NewWriter(l.dir, seed, i)
					w.Large = 200 << 10
					wg.Go(func() {
						for range *steps {
							if err := w.Step(); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				l.same()
			})
		}
	})
}
