package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// peer is a sender that says what it likes.
type peer struct {
	*testing.T
	dir    string
	server *Server
	nc     net.Conn
	w      *wire.Writer
	r      *wire.Reader
	over   chan error
}

func newServer(t *testing.T, dir string, o Options) *Server {
	tree, err := apply.Open(dir, apply.Options{Owners: true, Devices: true, SetID: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	o.Program, o.Log = "there", slog.New(slog.DiscardHandler)
	s := New(tree, o)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return s
}

// connect is a connection over which nothing was said.
func connect(t *testing.T, s *Server, dir string) *peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &peer{T: t, dir: dir, server: s, over: make(chan error, 1)}
	if p.nc, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() { p.over <- s.Serve(context.Background(), there, Sender{}) }()
	t.Cleanup(func() { p.nc.Close() })
	p.w, p.r = wire.NewWriter(wire.NewPacker(p.nc)), wire.NewReader(p.nc)
	return p
}

// greeted is a connection of a session that was let in.
func greeted(t *testing.T, s *Server, dir string) *peer {
	p := connect(t, s, dir)
	p.say(&wire.Hello{Oldest: wire.Oldest, Newest: wire.Version, Target: "t", Session: [wire.SessionSize]byte{1}})
	if m, err := p.r.Read(); err != nil {
		t.Fatalf("%+v, %v, in the place of a welcome", m, err)
	}
	return p
}

// say says something, to a receiver that may have gone.
func (p *peer) say(all ...wire.Message) {
	for _, m := range all {
		if err := p.w.Write(m); err != nil {
			return
		}
	}
	_ = p.w.Flush()
}

// ends waits for the end of the connection, with all that is said until then.
func (p *peer) ends() error {
	p.Helper()
	go func() {
		for {
			if _, err := p.r.Read(); err != nil {
				return
			}
		}
	}()
	select {
	case err := <-p.over:
		return err
	case <-time.After(time.Minute):
		p.Fatal("the connection does not end")
		return nil
	}
}

var (
	fileAttr = wire.Attr{Mode: unix.S_IFREG | 0o644, Size: 200 << 10, Mtime: 1}
	dirAttr  = wire.Attr{Mode: unix.S_IFDIR | 0o755}
)

func offer(path string) *wire.Entry { return &wire.Entry{Path: change.Path(path), Attr: fileAttr} }

func TestWhatMustNotBeSaidEndsTheConnection(t *testing.T) {
	update, remove := &wire.Begin{Op: transport.Update}, &wire.Begin{Op: transport.Remove}
	content := &wire.Content{Op: delta.Op{Kind: delta.Data, Data: []byte("x")}}
	for name, messages := range map[string][]wire.Message{
		"an entry outside of a batch":         {offer("f")},
		"an end outside of a batch":           {&wire.End{}},
		"a second greeting":                   {&wire.Hello{Oldest: 1, Newest: 1}},
		"a batch in a batch":                  {update, update},
		"a removal in an update":              {update, &wire.Remove{Path: "f"}},
		"an update in a removal":              {remove, offer("f")},
		"a removal of the root":               {remove, &wire.Remove{Path: change.Root}},
		"a move in a removal":                 {remove, &wire.Move{From: "a", To: "b", Attr: fileAttr}},
		"a parent that is no directory":       {update, &wire.Entry{Path: "f", Attr: fileAttr, Parent: true}},
		"content that nobody asked for":       {update, content},
		"an end of content nobody asked for":  {update, &wire.ContentEnd{}},
		"an end before the content":           {update, offer("f"), &wire.End{}},
		"something else in content":           {update, offer("f"), content, update},
		"content that is no delta":            {update, offer("f"), &wire.Content{Op: delta.Op{Kind: 99}}, &wire.ContentEnd{Whole: true}},
		"content that is longer than offered": {update, offer("f"), &wire.Content{Op: delta.Op{Kind: delta.Hole, Length: 1 << 40}}, &wire.ContentEnd{}},
		"a question in a batch":               {update, &wire.Dir{}},
		"an entry in a comparison":            {&wire.Compare{}, offer("f")},
		"room that it never had":              {&wire.Compare{}, &wire.More{Listings: 1}},
		"what a target says":                  {update, &wire.Result{}},
		"a question about the trash":          {&wire.Compare{}, &wire.Fetch{Path: "2021-02-03"}},
		"a day that goes for no trash":        {&wire.Compare{}, &wire.Expire{Day: "2021-02-03"}},
		"a day that is none":                  {&wire.Begin{Op: transport.Remove, Day: "../../f"}},
		"a removal while the trash is asked":  {&wire.Compare{Trash: true}, &wire.Remove{Path: "f"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := greeted(t, newServer(t, dir, Options{}), dir)
			p.say(messages...)
			if err := p.ends(); err == nil {
				t.Error("it ended without an error")
			}
			if _, err := os.Lstat(filepath.Join(dir, "f")); !errors.Is(err, unix.ENOENT) {
				t.Errorf("something was put there: %v", err)
			}
		})
	}
}

func TestASenderThatSaysNothingIsLetGo(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, Options{Timeout: 100 * time.Millisecond})
	for name, p := range map[string]*peer{"before the greeting": connect(t, s, dir), "without a batch": greeted(t, s, dir)} {
		if err := p.ends(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := greeted(t, s, dir)
	p.say(&wire.Begin{Op: transport.Update}, offer("f"))
	if err := p.ends(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("in a batch: %v", err)
	}
	if len(s.targets) != 0 {
		t.Errorf("%d names of senders are kept", len(s.targets))
	}
}

// endless says one thing again and again until the connection ends, and says how much memory there is then.
func endless(t *testing.T, begin wire.Message, next func(i int) wire.Message) {
	t.Helper()
	dir := t.TempDir()
	p := greeted(t, newServer(t, dir, Options{}), dir)
	p.say(begin)
	done := make(chan struct{})
	var most uint64
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			if p.w.Write(next(i)) != nil {
				return
			}
			if i%1024 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	if err := p.ends(); !errors.Is(err, wire.ErrFrame) {
		t.Errorf("it ended with %v", err)
	}
	<-done
	if most > 512<<20 {
		t.Errorf("%d MiB were in use", most>>20)
	}
}

func TestNothingGrowsWithoutBound(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 60<<10)
	t.Run("directories", func(t *testing.T) {
		endless(t, &wire.Begin{Op: transport.Update}, func(int) wire.Message {
			return &wire.Entry{Path: "d", Attr: dirAttr, HasXattrs: true, Xattrs: []wire.Xattr{{Name: "user.x", Value: long}}}
		})
	})
	t.Run("parents", func(t *testing.T) {
		endless(t, &wire.Begin{Op: transport.Update}, func(int) wire.Message { return &wire.Entry{Path: "d", Attr: dirAttr, Parent: true} })
	})
	t.Run("offers", func(t *testing.T) {
		endless(t, &wire.Begin{Op: transport.UpdateLarge}, func(i int) wire.Message { return offer(fmt.Sprint("f", i)) })
	})
	t.Run("moves", func(t *testing.T) {
		endless(t, &wire.Begin{Op: transport.Update}, func(i int) wire.Message {
			return &wire.Move{From: change.Path(fmt.Sprintf("%s%d", long[:4000], i)), To: "b", Attr: fileAttr}
		})
	})
}

// A sender that asks and does not listen is neither answered without bound nor waited for for ever.
func TestQuestionsWithoutEndAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := greeted(t, newServer(t, dir, Options{}), dir)
	p.say(&wire.Compare{})
	go func() {
		for p.w.Write(&wire.Dir{All: true}) == nil {
		}
	}()
	if err := p.ends(); !errors.Is(err, wire.ErrFrame) {
		t.Errorf("it ended with %v", err)
	}
}

func TestVersionsThatDoNotMeetAreRefusedWithWhatToDo(t *testing.T) {
	for _, m := range []*wire.Hello{
		{Oldest: wire.Version + 1, Newest: wire.Version + 5, Program: "newer"},
		{Oldest: 0, Newest: wire.Oldest - 1, Program: "older"},
	} {
		dir := t.TempDir()
		p := connect(t, newServer(t, dir, Options{}), dir)
		p.say(m)
		answer, err := p.r.Read()
		refusal, ok := answer.(*wire.Refused)
		if err != nil || !ok || refusal.Kind != transport.Misconfigured || refusal.Hint == "" {
			t.Errorf("%s: %+v, %v", m.Program, answer, err)
		}
		if err := p.ends(); err == nil {
			t.Errorf("%s: it ended without an error", m.Program)
		}
	}
	dir := t.TempDir()
	p := connect(t, newServer(t, dir, Options{}), dir)
	p.say(&wire.Hello{Oldest: wire.Version, Newest: wire.Version + 5})
	if m, err := p.r.Read(); err != nil || m.(*wire.Welcome).Version != wire.Version {
		t.Errorf("a newer one that speaks ours: %+v, %v", m, err)
	}
}

// chaos is a message of any kind, with paths that meet.
func chaos(rnd *rand.Rand) wire.Message {
	paths := []change.Path{change.Root, "a", "a/b", "a/b/c", "link", "link/f", "link/../f", "../outside/f", "/etc/f", ".sersync-tmp.x", ".sersync-partial/a", ".sersync-trash/2021-02-03/a", "f"}
	path := func() change.Path { return paths[rnd.IntN(len(paths))] }
	attr := func() wire.Attr {
		kinds := []uint32{unix.S_IFREG, unix.S_IFREG, unix.S_IFREG, unix.S_IFDIR, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFSOCK}
		links := []string{"../outside", "/etc", "a", "", "link"}
		return wire.Attr{
			Mode: kinds[rnd.IntN(len(kinds))] | uint32(rnd.IntN(0o10000)), UID: rnd.Uint32() % 3, Size: int64(rnd.IntN(100 << 10)), Mtime: rnd.Int64(),
			Link: links[rnd.IntN(len(links))],
		}
	}
	switch rnd.IntN(22) {
	case 0, 1, 2:
		return &wire.Begin{Op: transport.Op(rnd.IntN(6)), Keep: rnd.IntN(4) == 0, Durable: rnd.IntN(4) == 0, Day: []string{"", "2021-02-03"}[rnd.IntN(2)]}
	case 3, 4, 5, 6:
		return &wire.Entry{Path: path(), Attr: attr(), Parent: rnd.IntN(9) == 0}
	case 7, 8:
		content := bytes.Repeat([]byte("x"), rnd.IntN(100))
		a := attr()
		a.Mode, a.Size = unix.S_IFREG|a.Mode&0o7777, int64(len(content))
		return &wire.Entry{Path: path(), Attr: a, Inline: true, Content: content, HasXattrs: rnd.IntN(2) == 0}
	case 9, 10:
		return &wire.Remove{Path: path()}
	case 11, 12:
		ops := []delta.Op{
			{Kind: delta.Data, Data: []byte("data")},
			{Kind: delta.Hole, Length: rnd.Int64N(1 << 20)},
			{Kind: delta.Copy, Base: rnd.IntN(3), Offset: rnd.Int64N(1 << 20), Length: 1 + rnd.Int64N(1<<20)},
			{Kind: delta.End},
		}
		return &wire.Content{Op: ops[rnd.IntN(len(ops))]}
	case 13:
		return &wire.ContentEnd{Whole: rnd.IntN(2) == 0}
	case 14:
		return &wire.Move{From: path(), To: path(), Attr: attr()}
	case 15:
		return &wire.Compare{Content: rnd.IntN(2) == 0, Trash: rnd.IntN(2) == 0}
	case 16:
		return &wire.Dir{Path: path(), All: rnd.IntN(2) == 0}
	case 17:
		return &wire.Alive{}
	case 18:
		return &wire.Fetch{Path: path(), Content: rnd.IntN(2) == 0}
	case 19:
		return &wire.Expire{Day: "2021-02-03"}
	}
	return &wire.End{}
}

func TestChaosStaysInTheDirectoryAndEnds(t *testing.T) {
	base := t.TempDir()
	dir, outside := filepath.Join(base, "dir"), filepath.Join(base, "outside")
	for _, d := range []string{dir, outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	var before unix.Stat_t
	if err := unix.Stat(outside, &before); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, dir, Options{})
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		p := greeted(t, s, dir)
		open := false
		for range 60 {
			m := chaos(rnd)
			_, begins := m.(*wire.Begin)
			if begins && open && rnd.IntN(10) > 0 {
				m = &wire.End{} // so that it goes on for a while
			} else if !begins && !open && rnd.IntN(10) > 0 {
				m = &wire.Begin{Op: transport.Op(rnd.IntN(6))}
			}
			switch m.(type) {
			case *wire.Begin, *wire.Compare:
				open = true
			case *wire.End:
				open = false
			}
			p.say(m)
		}
		p.nc.(*net.TCPConn).CloseWrite()
		_ = p.ends()
	}
	content, err := os.ReadFile(filepath.Join(outside, "f"))
	if err != nil || string(content) != "mine" {
		t.Errorf("the file outside is %q, %v", content, err)
	}
	var after unix.Stat_t
	if err := unix.Stat(outside, &after); err != nil || after.Mtim != before.Mtim || after.Ctim != before.Ctim {
		t.Errorf("the directory outside was %+v, and is %+v, %v", before, after, err)
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != 2 {
		t.Errorf("beside the directory are %v, %v", entries, err)
	}
}

func TestFramesOfNoiseEndTheConnection(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, Options{})
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		p := greeted(t, s, dir)
		noise := make([]byte, 1+rnd.IntN(5000))
		for i := range noise {
			noise[i] = byte(rnd.IntN(256) >> rnd.IntN(8))
		}
		_, _ = p.nc.Write(noise)
		p.nc.(*net.TCPConn).CloseWrite()
		_ = p.ends()
	}
}
