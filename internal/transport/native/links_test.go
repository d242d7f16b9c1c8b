package native

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/receive/session"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// hardLink gives a file below dir another name.
func hardLink(t testing.TB, dir, from, to string) {
	t.Helper()
	if err := os.Link(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

func TestAnOlderReceiverGetsTheContentOfEachName(t *testing.T) {
	src, root := source(t)
	write(t, src, "a", []byte("content"))
	hardLink(t, src, "a", "b")
	hardLink(t, src, "a", "c")
	var mu sync.Mutex
	var got []wire.Entry
	old := &wire.Welcome{Version: wire.Links - 1, Facts: welcome.Facts}
	tr := newImpostor(t, old, func(m wire.Message, say func(wire.Message) error) error {
		switch m := m.(type) {
		case *wire.Entry:
			mu.Lock()
			defer mu.Unlock()
			got = append(got, *m)
		case *wire.End:
			return say(&wire.Done{})
		}
		return nil
	}).tr
	for _, op := range []transport.Op{transport.Update, transport.UpdateContent} {
		mu.Lock()
		got = nil
		mu.Unlock()
		send(t, tr, transport.Batch{
			Op: op, Root: root, Paths: []change.Path{"a", "b", "c"}, Seen: []transport.Seen{{}, {Link: "a"}, {}},
		})
		mu.Lock()
		files := 0
		for _, e := range got {
			if e.Link != "" || e.Attr.IsRegular() && !e.Inline {
				t.Errorf("%v: %+v", op, e)
			}
			if e.Attr.IsRegular() {
				files++
			}
		}
		mu.Unlock()
		if files != 3 {
			t.Errorf("%v: %d files were sent", op, files)
		}
	}
}

// What a module does not show is not to be had by another name either.
func TestWhatAModuleExcludesGetsNoOtherName(t *testing.T) {
	hidden, err := filter.New(filter.Glob("", "hidden"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOf(t, t.TempDir(), session.Options{Exclude: hidden})
	src, root := source(t)
	write(t, src, "hidden", []byte("content"))
	hardLink(t, src, "hidden", "seen")
	write(t, r.dir, "hidden", []byte("CONTENT"))
	info, err := os.Stat(filepath.Join(src, "hidden"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(r.dir, "hidden"), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"seen"}, Seen: []transport.Seen{{Link: "hidden"}}})
	if got, err := os.ReadFile(filepath.Join(r.dir, "seen")); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
}

// On another file system a file cannot have another name: each gets the content.
func TestANameOnAnotherFileSystemIsAFileOfItsOwn(t *testing.T) {
	r := newRig(t)
	mounted := filepath.Join(r.dir, "d")
	if err := errors.Join(os.Mkdir(mounted, 0o755), unix.Mount("tmpfs", mounted, "tmpfs", 0, "size=2m")); err != nil {
		t.Fatal(err)
	}
	tr := r.transport(Options{})
	t.Cleanup(func() {
		tr.Close()
		if err := unix.Unmount(mounted, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	src, root := source(t)
	for name, content := range map[string][]byte{"small": []byte("content"), "large": random(100 << 10)} {
		write(t, src, "d/"+name, content)
		hardLink(t, src, "d/"+name, name)
		hardLink(t, src, "d/"+name, "d/"+name+".b")
		for range 2 {
			send(t, tr, transport.Batch{Op: transport.UpdateContent, Root: root, Paths: []change.Path{change.Path(name), change.Path("d/" + name), change.Path("d/" + name + ".b")}})
			for _, p := range []string{name, "d/" + name, "d/" + name + ".b"} {
				if got, err := os.ReadFile(filepath.Join(r.dir, p)); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: %d bytes, %v", p, len(got), err)
				}
			}
		}
	}
}
