package session

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// counted counts what is written to a connection, call by call.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// The sender waits for no result but that of an offer, and each word of the target wakes two processes and the sender.
func TestResultsOfSmallFilesWaitForTheEndOfTheBatch(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	there, server, over := &counted{Conn: accepted}, newServer(t, dir, Options{}), make(chan error, 1)
	go func() { over <- server.Serve(context.Background(), there, Sender{}) }()
	defer func() {
		here.Close()
		<-over
	}()
	p := &peer{T: t, w: wire.NewWriter(wire.NewPacker(here)), r: wire.NewReader(here)}
	p.say(&wire.Hello{Oldest: wire.Oldest, Newest: wire.Version, Target: "t"})
	if _, err := p.r.Read(); err != nil {
		t.Fatal(err)
	}
	before := there.writes.Load()
	const files = 100
	p.say(&wire.Begin{Op: transport.Update})
	small := wire.Attr{Mode: unix.S_IFREG | 0o644, Size: 1, Mtime: 1}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := range files {
		name := fmt.Sprint("f", n)
		p.say(&wire.Entry{Path: change.Path(name), Attr: small, Inline: true, Content: []byte("x")})
		for end := time.Now().Add(time.Minute); ; <-tick.C {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				break
			} else if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	p.say(&wire.End{})
	results := 0
	for done := false; !done; {
		m, err := p.r.Read()
		if err != nil {
			t.Fatal(err)
		}
		switch m.(type) {
		case *wire.Result:
			results++
		case *wire.Done:
			done = true
		}
	}
	if results != files {
		t.Errorf("%d results of %d files", results, files)
	}
	// Some signs of life may be among them.
	if n := there.writes.Load() - before; n > files/2 {
		t.Errorf("%d words for a batch of %d files", n, files)
	}
}
