package transporttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
)

func updateSends(t *testing.T, b *bench) {
	b.write(b.src, "file", "content")
	b.write(b.src, "d/e/deep", "deep")
	b.write(b.src, "empty", "")
	b.must(os.Chmod(filepath.Join(b.src, "file"), 0o640))
	b.must(os.Chtimes(filepath.Join(b.src, "file"), when, when))
	b.must(os.Symlink("no/such/file", filepath.Join(b.src, "dangling")))
	b.must(os.Symlink("d", filepath.Join(b.src, "link")))
	b.must(unix.Mkfifo(filepath.Join(b.src, "pipe"), 0o600))
	b.must(os.Chtimes(filepath.Join(b.src, "d"), when, when))
	report := b.apply(transport.Update, append(b.all(), change.Root)...)
	b.equal()
	if report.Files != 3 || report.Bytes == 0 {
		t.Errorf("report %+v, want 3 files and some bytes", report)
	}
}

func updateDirectory(_ *testing.T, b *bench) {
	b.write(b.src, "d/inside", "x")
	b.write(b.Dir, "d/there", "y")
	b.must(os.Chtimes(filepath.Join(b.src, "d"), when, when))
	b.apply(transport.Update, "d")
	b.targetLacks("d/inside")
	b.targetHas("d/there", "y")
	b.sameTime("d")
}

func updateKeeps(t *testing.T, b *bench) {
	b.write(b.src, "file", "content")
	b.write(b.Dir, "file/inside", "x")
	b.write(b.src, "other", "y")
	batch := transport.Batch{Op: transport.Update, Root: b.root, Paths: []change.Path{"file", "other"}, Keep: true}
	report, err := b.Transport.Apply(t.Context(), batch)
	b.must(err)
	if len(report.Failed) != 1 || report.Failed[0].Path != "file" {
		t.Errorf("failed: %+v, want the file that finds a directory in its way", report.Failed)
	}
	b.targetHas("file/inside", "x")
	b.targetHas("other", "y")
}

func (b *bench) sameTime(name string) {
	b.Helper()
	want, err := os.Lstat(filepath.Join(b.src, name))
	b.must(err)
	got, err := os.Lstat(filepath.Join(b.Dir, name))
	b.must(err)
	if !got.ModTime().Equal(want.ModTime()) || got.Mode() != want.Mode() {
		b.Errorf("%q on the target: %v %v, want %v %v", name, got.Mode(), got.ModTime(), want.Mode(), want.ModTime())
	}
}

func updateRoot(_ *testing.T, b *bench) {
	b.write(b.src, "inside", "x")
	b.must(os.Mkdir(filepath.Join(b.src, "d"), 0o755))
	b.must(os.Chmod(b.src, 0o711))
	b.must(os.Chtimes(b.src, when, when))
	b.apply(transport.Update, change.Root)
	b.sameTime(".")
	b.targetLacks("inside")
	b.targetLacks("d")
}

func updateMissing(_ *testing.T, b *bench) {
	b.write(b.Dir, "kept", "x")
	b.write(b.Dir, "d/kept", "x")
	b.write(b.src, "f", "y")
	b.apply(transport.Update, "kept", "d/kept", "no/such", "f")
	b.targetHas("kept", "x")
	b.targetHas("d/kept", "x")
	b.targetHas("f", "y")
}

func updateOlder(_ *testing.T, b *bench) {
	b.write(b.src, "f", "older")
	b.must(os.Chtimes(filepath.Join(b.src, "f"), when, when))
	b.write(b.Dir, "f", "newer")
	b.apply(transport.Update, "f")
	b.targetHas("f", "older")
}

func updateSameSecond(_ *testing.T, b *bench) {
	path := filepath.Join(b.src, "f")
	for i, content := range []string{"one", "two", "six"} {
		b.write(b.src, "f", content)
		b.must(os.Chtimes(path, when, when.Add(time.Duration(i))))
		b.apply(transport.Update, "f")
		b.targetHas("f", content)
	}
}

func updateTypes(_ *testing.T, b *bench) {
	b.write(b.Dir, "dir-to-file/with/content", "x")
	b.write(b.Dir, "dir-to-link/content", "x")
	b.write(b.Dir, "file-to-dir", "x")
	b.write(b.Dir, "file-to-link", "x")
	b.must(os.Symlink("/etc", filepath.Join(b.Dir, "link-to-dir")))
	b.write(b.src, "dir-to-file", "f")
	b.must(os.Symlink("a", filepath.Join(b.src, "dir-to-link")))
	b.write(b.src, "file-to-dir/content", "c")
	b.must(os.Symlink("b", filepath.Join(b.src, "file-to-link")))
	b.write(b.src, "link-to-dir/content", "d")
	b.apply(transport.Update, append(b.all(), change.Root)...)
	b.equal()
}

func updateContent(_ *testing.T, b *bench) {
	b.write(b.src, "f", "new")
	b.write(b.Dir, "f", "old")
	for _, dir := range []string{b.src, b.Dir} {
		b.must(os.Chtimes(filepath.Join(dir, "f"), when, when))
	}
	b.apply(transport.UpdateContent, "f")
	b.targetHas("f", "new")
}

func updateLarge(t *testing.T, b *bench) {
	content := strings.Repeat("0123456789abcdef", 1<<16)
	b.write(b.src, "d/large", content)
	var last int64
	report, err := b.Transport.Apply(t.Context(), transport.Batch{
		Op: transport.UpdateLarge, Root: b.root, Paths: []change.Path{"d/large"},
		Progress: func(n int64) { last = n },
	})
	if err != nil || len(report.Failed) > 0 {
		t.Fatalf("update large: %+v, %v", report, err)
	}
	b.targetHas("d/large", content)
	if last != int64(len(content)) || report.Files != 1 {
		t.Errorf("progress ended at %d of %d, report %+v", last, len(content), report)
	}
}

func updateTwice(t *testing.T, b *bench) {
	b.write(b.src, "d/f", "x")
	b.apply(transport.Update, "d", "d/f")
	before := Tree(t, b.Dir)
	report := b.apply(transport.Update, "d", "d/f")
	if report.Files != 0 || report.Bytes != 0 {
		t.Errorf("second time: %+v, want nothing sent", report)
	}
	if after := Tree(t, b.Dir); after["d/f"] != before["d/f"] {
		t.Errorf("changed from %s to %s", before["d/f"], after["d/f"])
	}
}

func namesAreBytes(t *testing.T, b *bench) {
	for _, name := range hostile() {
		b.write(b.src, name, "content of "+name)
		b.write(b.src, "d/"+name+"/f", "below")
	}
	b.apply(transport.Update, append(b.all(), change.Root)...)
	b.equal()
	var gone []change.Path
	for _, name := range hostile() {
		b.must(os.Remove(filepath.Join(b.src, name)))
		b.must(os.RemoveAll(filepath.Join(b.src, "d", name)))
		gone = append(gone, change.Path(name), change.Path("d/"+name))
	}
	b.write(b.src, "br1", "kept")
	b.apply(transport.Update, "br1")
	b.apply(transport.Remove, gone...)
	b.apply(transport.Update, "d", change.Root)
	b.equal()
	_ = t
}
