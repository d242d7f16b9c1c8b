package session

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

const day = "2021-02-03"

// tree makes files below dir that hold their own names.
func tree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func there(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func gone(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q is there: %v", name, err)
		}
	}
}

// until is all that is said up to the end of what is under way.
func (p *peer) until() (said []wire.Message) {
	p.Helper()
	for {
		m, err := p.r.Read()
		if err != nil {
			p.Fatalf("after %+v: %v", said, err)
		}
		switch m := m.(type) {
		case *wire.Result:
			kept := *m
			said = append(said, &kept)
		case *wire.Entry:
			kept := *m
			said = append(said, &kept)
		case *wire.Done, *wire.Refused:
			return append(said, m)
		case *wire.Alive, *wire.Durable:
		default:
			said = append(said, m)
		}
	}
}

// The trash is reached by what removes and replaces, and by questions about it: by no name.
func TestASenderCannotNameWhatIsInTheTrash(t *testing.T) {
	dir := t.TempDir()
	kept := []string{".sersync-trash/" + day + "/f", "sub/.sersync-trash/f"}
	tree(t, dir, append(kept, "own")...)
	p := greeted(t, newServer(t, dir, Options{}), dir)
	for _, name := range append(kept, ".sersync-trash", "sub/.sersync-trash") {
		at := change.Path(name)
		for _, op := range []transport.Op{transport.Remove, transport.RemoveExact} {
			for _, of := range []string{"", day} {
				p.say(&wire.Begin{Op: op, Day: of}, &wire.Remove{Path: at}, &wire.End{})
				if r, ok := p.until()[0].(*wire.Result); !ok || r.Outcome != wire.Stuck {
					t.Errorf("%v of %q: %+v", op, name, r)
				}
			}
		}
		p.say(&wire.Begin{Op: transport.Update}, &wire.Entry{Path: at, Attr: wire.Attr{Mode: unix.S_IFLNK, Link: "x"}}, &wire.End{})
		if r, ok := p.until()[0].(*wire.Result); !ok || r.Outcome != wire.Stuck {
			t.Errorf("update of %q: %+v", name, r)
		}
		file := wire.Attr{Mode: unix.S_IFDIR | 0o755}
		p.say(&wire.Begin{Op: transport.Update}, &wire.Move{From: at, To: "moved", Attr: file}, &wire.Move{From: "own", To: at, Clear: true, Attr: file}, &wire.End{})
		p.until()
		p.say(&wire.Compare{}, &wire.Dir{Path: at, All: true}, &wire.End{})
		if l, ok := p.until()[0].(*wire.Listing); !ok || !l.Absent {
			t.Errorf("a question about %q: %+v", name, l)
		}
	}
	there(t, dir, append(kept, "own")...)
	gone(t, dir, "moved")
}

func TestWhatTheModuleForbidsHoldsForTheTrash(t *testing.T) {
	exclude, err := filter.New(filter.Glob("", "*.secret"))
	if err != nil {
		t.Fatal(err)
	}
	old := ".sersync-trash/2020-01-01/"
	t.Run("removals", func(t *testing.T) {
		dir := t.TempDir()
		tree(t, dir, "f", "d/f", old+"f")
		p := greeted(t, newServer(t, dir, Options{RefuseRemovals: true}), dir)
		p.say(&wire.Begin{Op: transport.Remove, Day: day}, &wire.Remove{Path: "f"}, &wire.End{})
		if r, ok := p.until()[0].(*wire.Refused); !ok || r.Kind != transport.RemovalsRefused {
			t.Errorf("a removal: %+v", r)
		}
		p.say(&wire.Begin{Op: transport.Update, Day: day}, &wire.Entry{Path: "d", Attr: wire.Attr{Mode: unix.S_IFLNK, Link: "x"}}, &wire.End{})
		if r, ok := p.until()[0].(*wire.Result); !ok || r.Outcome != wire.Stuck {
			t.Errorf("what has to make way: %+v", r)
		}
		p.say(&wire.Compare{Trash: true}, &wire.Expire{Day: "2020-01-01"}, &wire.End{})
		if r, ok := p.until()[0].(*wire.Result); !ok || r.Outcome != wire.Failed {
			t.Errorf("an old day: %+v", r)
		}
		there(t, dir, "f", "d/f", old+"f")
	})
	t.Run("reading", func(t *testing.T) {
		dir := t.TempDir()
		tree(t, dir, old+"f")
		p := greeted(t, newServer(t, dir, Options{WriteOnly: true}), dir)
		p.say(&wire.Compare{Trash: true}, &wire.Fetch{Path: "2020-01-01/f", Content: true}, &wire.Fetch{Path: "2020-01-01/f"}, &wire.End{})
		said := p.until()
		if r, ok := said[0].(*wire.Result); !ok || r.Outcome != wire.Failed {
			t.Errorf("the content: %+v", said[0])
		}
		if e, ok := said[1].(*wire.Entry); !ok || e.Attr.Size == 0 {
			t.Errorf("what there is: %+v", said[1])
		}
	})
	t.Run("excluded names", func(t *testing.T) {
		dir := t.TempDir()
		tree(t, dir, "d/f", "d/x.secret", "d/sub/g", old+"d/y.secret", old+"d/z")
		p := greeted(t, newServer(t, dir, Options{Exclude: exclude}), dir)
		p.say(&wire.Begin{Op: transport.Remove, Day: day}, &wire.Remove{Path: "d"}, &wire.End{})
		p.until()
		there(t, dir, "d/x.secret", ".sersync-trash/"+day+"/d/f", ".sersync-trash/"+day+"/d/sub/g")
		gone(t, dir, "d/f", "d/sub", ".sersync-trash/"+day+"/d/x.secret")
		p.say(&wire.Compare{Trash: true}, &wire.Fetch{Path: "2020-01-01/d/y.secret", Content: true}, &wire.Fetch{Path: "2020-01-01/d/z"}, &wire.Dir{Path: "2020-01-01/d", All: true}, &wire.End{})
		said := p.until()
		if r, ok := said[0].(*wire.Result); !ok || r.Outcome != wire.Same {
			t.Errorf("an excluded file: %+v", said[0])
		}
		if e, ok := said[1].(*wire.Entry); !ok || e.Path != "2020-01-01/d/z" {
			t.Errorf("another one: %+v", said[1])
		}
		if l, ok := said[3].(*wire.Listing); !ok || len(l.Entries) != 2 {
			t.Errorf("the directory: %+v", said[3])
		}
	})
}

// A directory that is moved leaves nothing in the trash; what it takes the place of is there.
func TestWhatAMoveReplacesIsInTheTrash(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "from/f", "to/g")
	p := greeted(t, newServer(t, dir, Options{}), dir)
	p.say(&wire.Begin{Op: transport.Update, Day: day}, &wire.Move{From: "from", To: "to", Clear: true, Attr: dirAttr}, &wire.End{})
	if r, ok := p.until()[0].(*wire.Result); !ok || r.Outcome != wire.Changed {
		t.Errorf("the move: %+v", r)
	}
	there(t, dir, "to/f", ".sersync-trash/"+day+"/to/g")
	gone(t, dir, "from", "to/g", ".sersync-trash/"+day+"/from")
}
