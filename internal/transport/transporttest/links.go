package transporttest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// RunLinks runs the part of the suite that is for transports which make names of one file on the target of names of one file at the source.
func RunLinks(t *testing.T, start func(t *testing.T) Target) {
	run(t, start, []testCase{
		{"NamesOfAFileInOneBatch", linksTogether},
		{"ANameOfAFileThatIsThere", linksToWhatIsThere},
		{"ANameOfAFileThatIsNotThereAsItShouldBe", linksToNothing},
		{"AFileWrittenThroughOneNameIsWrittenUnderAll", linksWritten},
		{"AttributesOfAFileWithSeveralNames", linksAttributes},
		{"ANameThatIsAFileOfItsOwn", linksBroken},
		{"NamesInPlaceOfSomethingElse", linksReplace},
		{"FilesWithNamesOutsideOfTheTargetAreLeftAlone", linksOutside},
		{"RandomNames", linksRandom},
	})
}

var updates = []transport.Op{transport.Update, transport.UpdateContent, transport.UpdateLarge, transport.UpdateLargeContent}

// inode is the number of a file.
func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("look at %q: %v", path, err)
	}
	return st.Ino
}

// oneFile checks that the target has names of one file.
func (b *bench) oneFile(names ...string) {
	b.Helper()
	for _, name := range names[1:] {
		if inode(b, filepath.Join(b.Dir, names[0])) != inode(b, filepath.Join(b.Dir, name)) {
			b.Errorf("%q and %q are two files", names[0], name)
		}
	}
}

func (b *bench) link(from, to string) {
	b.Helper()
	b.must(os.MkdirAll(filepath.Dir(filepath.Join(b.src, to)), 0o755))
	b.must(os.Link(filepath.Join(b.src, from), filepath.Join(b.src, to)))
}

// applyLinked applies an update of a path of which the target is known to have another name.
func (b *bench) applyLinked(op transport.Op, p, there change.Path) transport.Report {
	b.Helper()
	report, err := b.Transport.Apply(b.Context(), transport.Batch{
		Op: op, Root: b.root, Paths: []change.Path{p}, Seen: []transport.Seen{{Link: there}},
	})
	if err != nil || len(report.Failed) > 0 {
		b.Fatalf("%v %v: %+v, %v", op, p, report, err)
	}
	return report
}

func large(c string) string { return strings.Repeat(c, 200<<10) }

func linksTogether(t *testing.T, b *bench) {
	for i, op := range updates {
		for name, content := range map[string]string{"small": "content", "large": large("x"), "empty": ""} {
			file := func(s string) string { return fmt.Sprintf("%d/%s/%s", i, name, s) }
			b.write(b.src, file("z"), content)
			b.link(file("z"), file("y"))
			b.link(file("z"), file("a/b"))
			report := b.apply(op, change.Path(file("a/b")), change.Path(file("y")), change.Path(file("z")))
			b.oneFile(file("z"), file("y"), file("a/b"))
			if report.Files != 1 || len(report.Changed) != 3 {
				t.Errorf("%v of %s: %d files were sent, and %q changed", op, name, report.Files, report.Changed)
			}
			if report = b.apply(op, change.Path(file("a/b")), change.Path(file("y")), change.Path(file("z"))); report.Files+len(report.Changed) != 0 {
				t.Errorf("%v of %s a second time: %+v", op, name, report)
			}
		}
	}
	b.apply(transport.Update, append(b.all(), change.Root)...)
	b.equal()
}

func linksToWhatIsThere(t *testing.T, b *bench) {
	b.write(b.src, "file", large("x"))
	b.apply(transport.Update, "file")
	for i, op := range updates {
		name := fmt.Sprint("d/other", i)
		b.link("file", name)
		if report := b.applyLinked(op, change.Path(name), "file"); report.Files != 0 || report.Bytes != 0 || len(report.Changed) != 1 {
			t.Errorf("%v: %+v", op, report)
		}
		b.oneFile("file", name)
		if report := b.applyLinked(op, change.Path(name), "file"); report.Files+len(report.Changed) != 0 {
			t.Errorf("%v a second time: %+v", op, report)
		}
	}
	b.must(os.Chtimes(filepath.Join(b.src, "d"), when, when))
	b.apply(transport.Update, append(b.all(), change.Root)...)
	b.equal()
}

// What the target has at the other name is something else than the source says: the content goes over.
func linksToNothing(_ *testing.T, b *bench) {
	for name, there := range map[string]func(path string){
		"absent":            func(string) {},
		"absent with above": func(path string) { b.must(os.RemoveAll(filepath.Dir(path))) },
		"a directory":       func(path string) { b.must(os.Mkdir(path, 0o755)) },
		"a pipe":            func(path string) { b.must(unix.Mkfifo(path, 0o600)) },
		"another size":      func(path string) { b.must(os.WriteFile(path, []byte("xyz"), 0o644)) },
		"another time":      func(path string) { b.must(os.WriteFile(path, []byte("content"), 0o644)) },
		"a symlink":         func(path string) { b.must(os.Symlink("right", path)) },
		"another mode": func(path string) {
			b.must(os.WriteFile(path, []byte("content"), 0o600))
			b.must(os.Chmod(path, 0o4600))
			b.must(os.Chtimes(path, when, when))
		},
	} {
		b.write(b.src, name+"/file", "content")
		b.must(os.Chtimes(filepath.Join(b.src, name, "file"), when, when))
		b.link(name+"/file", name+"/other")
		b.must(os.MkdirAll(filepath.Join(b.Dir, name), 0o755))
		b.write(b.Dir, name+"/right", "content")
		b.must(os.Chtimes(filepath.Join(b.Dir, name, "right"), when, when))
		there(filepath.Join(b.Dir, name, "file"))
		b.applyLinked(transport.Update, change.Path(name+"/other"), change.Path(name+"/file"))
		b.targetHas(name+"/other", "content")
	}
}

func linksWritten(_ *testing.T, b *bench) {
	for i, op := range updates {
		for _, size := range []int{1, 200 << 10} {
			dir := fmt.Sprintf("%d.%d/", i, size)
			b.write(b.src, dir+"a", strings.Repeat("x", size))
			b.link(dir+"a", dir+"b")
			b.link(dir+"a", dir+"c")
			b.apply(op, change.Path(dir+"a"), change.Path(dir+"b"), change.Path(dir+"c"))
			b.write(b.src, dir+"b", strings.Repeat("y", size)+"more")
			b.apply(op, change.Path(dir+"a"), change.Path(dir+"b"))
			b.applyLinked(op, change.Path(dir+"c"), change.Path(dir+"a"))
			b.targetHas(dir+"c", strings.Repeat("y", size)+"more")
			b.oneFile(dir+"a", dir+"b", dir+"c")
		}
	}
	// Nothing of size and time tells.
	b.must(os.Chtimes(filepath.Join(b.src, "1.1/b"), when, when))
	b.apply(transport.UpdateContent, "1.1/a", "1.1/b", "1.1/c")
	b.write(b.src, "1.1/a", "z"+"more")
	b.must(os.Chtimes(filepath.Join(b.src, "1.1/b"), when, when))
	b.apply(transport.UpdateContent, "1.1/c", "1.1/a", "1.1/b")
	b.targetHas("1.1/b", "zmore")
	b.oneFile("1.1/a", "1.1/b", "1.1/c")
}

func linksAttributes(_ *testing.T, b *bench) {
	for _, op := range updates {
		for _, content := range []string{"small", large("x")} {
			name := fmt.Sprintf("%v-%d", op, len(content))
			b.write(b.src, name, content)
			b.link(name, name+".b")
			b.apply(op, change.Path(name), change.Path(name+".b"))
			b.must(os.Chmod(filepath.Join(b.src, name), 0o640))
			b.must(os.Chtimes(filepath.Join(b.src, name), when, when))
			b.apply(op, change.Path(name+".b"), change.Path(name))
			b.oneFile(name, name+".b")
			b.sameTime(name + ".b")
			b.targetHas(name, content)
		}
	}
}

// A name that is no link any more is none on the target, and what happens to one of both does not happen to the other.
func linksBroken(_ *testing.T, b *bench) {
	for _, content := range []string{"small", large("x")} {
		name := fmt.Sprint(len(content))
		b.write(b.src, name, content)
		b.must(os.Chtimes(filepath.Join(b.src, name), when, when))
		b.link(name, name+".b")
		b.apply(transport.Update, change.Path(name), change.Path(name+".b"))
		b.must(os.Remove(filepath.Join(b.src, name+".b")))
		b.write(b.src, name+".b", content)
		b.must(os.Chtimes(filepath.Join(b.src, name+".b"), when, when))
		b.apply(transport.UpdateContent, change.Path(name+".b")) // equal, so that it may stay what it is
		b.must(os.Chmod(filepath.Join(b.src, name), 0o600))
		b.apply(transport.UpdateContent, change.Path(name))
		b.sameTime(name)
		b.sameTime(name + ".b")
		b.write(b.src, name+".b", "something else")
		b.apply(transport.Update, change.Path(name+".b"))
		b.targetHas(name, content)
		b.targetHas(name+".b", "something else")
	}
}

func linksReplace(t *testing.T, b *bench) {
	b.write(b.Dir, "dir/with/content", "x")
	b.must(os.Symlink("/etc/passwd", filepath.Join(b.Dir, "link")))
	b.write(b.Dir, "file", "other")
	b.write(b.Dir, "kept/content", "x")
	b.write(b.src, "a", "content")
	for _, name := range []string{"dir", "file", "kept", "link"} {
		b.link("a", name)
	}
	b.apply(transport.Update, "a", "dir", "file", "link")
	b.oneFile("a", "dir", "file", "link")
	report, err := b.Transport.Apply(b.Context(), transport.Batch{Op: transport.Update, Root: b.root, Paths: []change.Path{"a", "kept"}, Keep: true})
	if err != nil || len(report.Failed) != 1 || report.Failed[0].Path != "kept" {
		t.Errorf("%+v, %v", report, err)
	}
	b.targetHas("kept/content", "x")
}

// Somebody keeps old versions of the target by links.
func linksOutside(_ *testing.T, b *bench) {
	kept := filepath.Join(b.TempDir(), "kept")
	for _, op := range updates {
		name := fmt.Sprint(op)
		b.write(b.src, name, "first")
		b.link(name, name+".b")
		b.apply(op, change.Path(name), change.Path(name+".b"))
		b.must(os.Link(filepath.Join(b.Dir, name), kept+name))
		b.must(os.Chmod(filepath.Join(b.src, name), 0o600))
		b.apply(op, change.Path(name), change.Path(name+".b"))
		b.write(b.src, name, "second")
		b.apply(op, change.Path(name), change.Path(name+".b"))
		b.oneFile(name, name+".b")
		if got, err := os.ReadFile(kept + name); err != nil || string(got) != "first" {
			b.Errorf("%v: what was kept is %q, %v", op, got, err)
		}
		if info, err := os.Lstat(kept + name); err != nil || info.Mode() != 0o644 {
			b.Errorf("%v: what was kept is %v, %v", op, info.Mode(), err)
		}
	}
}

// linksRandom makes, breaks and writes names of files, and sends in any order what that changes, with what it knows the target to have.
func linksRandom(t *testing.T, b *bench) {
	w := &linker{bench: b, seed: uint64(time.Now().UnixNano())}
	w.rnd = rand.New(rand.NewPCG(w.seed, 0))
	for w.n = range 150 {
		w.owed = map[change.Path]bool{}
		for range 1 + w.rnd.IntN(4) {
			w.change()
		}
		for len(w.owed) > 0 {
			w.send()
		}
		w.compare()
		if t.Failed() {
			t.Fatalf("step %d of seed %d", w.n, w.seed)
		}
	}
}

type linker struct {
	*bench
	seed uint64
	rnd  *rand.Rand
	n    int
	owed map[change.Path]bool
}

// names are those of all files of the source, by file.
func (w *linker) names(dir string) map[uint64][]change.Path {
	w.Helper()
	all := map[uint64][]change.Path{}
	for _, p := range slices.Sorted(maps.Keys(Tree(w, dir))) {
		if filepath.Dir(p) != "." {
			ino := inode(w, filepath.Join(dir, p))
			all[ino] = append(all[ino], change.Path(p))
		}
	}
	return all
}

func (w *linker) change() {
	name := func() string { return fmt.Sprintf("d%d/f%d", w.rnd.IntN(2), w.rnd.IntN(6)) }
	p, q := name(), name()
	at := filepath.Join(w.src, p)
	_, err := os.Lstat(at)
	op := w.rnd.IntN(6)
	if err == nil && op > 2 && p != q {
		_ = os.Remove(filepath.Join(w.src, q))
		w.link(p, q)
		w.owed[change.Path(q)] = true
		return
	}
	if op == 0 {
		_ = os.Remove(at)
	}
	if err != nil || op < 2 {
		w.write(w.src, p, fmt.Sprint(w.n, strings.Repeat("x", w.rnd.IntN(100<<10))))
	}
	w.must(os.Chmod(at, os.FileMode(0o600+w.rnd.IntN(8))))
	w.must(os.Chtimes(at, when, when.Add(time.Duration(w.n*100+len(w.owed))*time.Second)))
	for _, p := range w.names(w.src)[inode(w, at)] {
		w.owed[p] = true
	}
}

// send sends some of what is owed.
func (w *linker) send() {
	var batch []change.Path
	for _, p := range slices.Sorted(maps.Keys(w.owed)) {
		if w.rnd.IntN(3) > 0 {
			batch = append(batch, p)
		}
	}
	names := w.names(w.src)
	seen := make([]transport.Seen, len(batch))
	for i, p := range batch {
		for _, q := range names[inode(w, filepath.Join(w.src, string(p)))] {
			if !w.owed[q] {
				seen[i].Link = q
			}
		}
	}
	op := updates[w.rnd.IntN(len(updates))]
	report, err := w.Transport.Apply(w.Context(), transport.Batch{Op: op, Root: w.root, Paths: batch, Seen: seen})
	if err != nil || len(report.Failed) > 0 {
		w.Fatalf("%v %v: %+v, %v", op, batch, report, err)
	}
	for _, p := range batch {
		delete(w.owed, p)
	}
}

func (w *linker) compare() {
	var groups [2][]string
	for i, dir := range []string{w.src, w.Dir} {
		for _, names := range w.names(dir) {
			groups[i] = append(groups[i], fmt.Sprint(names))
		}
		slices.Sort(groups[i])
	}
	if diff := cmp.Diff(groups[0], groups[1]); diff != "" {
		w.Errorf("names of files (-source +target):\n%s", diff)
	}
	w.equal()
}
