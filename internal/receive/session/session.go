// Package session serves one directory to the senders that our own stream connects to it: it reads what internal/wire describes, and
// has internal/apply do it. It is the last step of the path of a change, in the process of a module of "sersync receive", or in
// that of the sender for a target that is a directory of the same machine.
//
// What comes in is believed as little as a stranger: whoever logged in may change what is below the directory, and nothing else.
package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"sersync/internal/apply"
	"sersync/internal/filter"
	"sersync/internal/perm"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// Options are what one directory allows.
type Options struct {
	// RefuseRemovals refuses every removal, and whatever would have to remove a directory that is not empty.
	RefuseRemovals bool
	// WriteOnly refuses to show the content of what is in the trash.
	WriteOnly bool
	// Exclude are names that senders neither see nor write nor remove. It may be nil.
	Exclude *filter.Filter
	// Munge makes symlinks useless here, as rsync does: what they hold gets Munged in front.
	Munge bool
	// Chmod is done to the mode of all that comes in.
	Chmod perm.Chmod
	// Timeout ends a connection over which nothing comes or goes while a batch is on its way. Default 1 min.
	Timeout time.Duration
	// SyncEvery and SyncBytes are after which time, and how much content, what was changed is brought to the disk. Defaults 5 s, 256 MiB.
	SyncEvery time.Duration
	SyncBytes int64
	// Program is the version of this program, for people.
	Program string
	Log     *slog.Logger
}

// readSize is how much is read from a connection at a time, in bytes.
const readSize = 64 << 10

// Munged is what rsync writes before what a symlink holds, where symlinks are not to be followed by anybody.
const Munged = "/rsyncd-munged/"

// Server serves one directory. It is safe for concurrent use.
type Server struct {
	o    Options
	tree *apply.Tree
	sync *syncer

	mu      sync.Mutex
	targets map[targetName]*target // guarded by mu
}

// targetName is that of Hello, and who said it.
type targetName struct{ user, name string }

// target is whoever replicates here under one name. One session of it is let in at a time.
type target struct {
	users int        // guarded by the lock of the server: connections that were or are to be let in
	turn  sync.Mutex // held while a session is let in

	mu      sync.Mutex
	session [wire.SessionSize]byte
	conns   map[*conn]struct{} // guarded by mu: those of the session
}

// New makes a server for a directory that is open. Run it, too.
func New(tree *apply.Tree, o Options) *Server {
	o.Timeout = orDefault(o.Timeout, time.Minute)
	o.SyncEvery = orDefault(o.SyncEvery, 5*time.Second)
	o.SyncBytes = orDefault(o.SyncBytes, 256<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, tree: tree, targets: map[targetName]*target{}}
	s.sync = newSyncer(tree, o, s.unsure)
	return s
}

func orDefault[T time.Duration | int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Run puts in order what an end without warning left in the directory, and brings to the disk what is changed, until ctx ends.
func (s *Server) Run(ctx context.Context) {
	s.sync.recover(ctx, s.o.Log)
	s.sync.run(ctx)
}

// Sender is who is at the other end of a connection.
type Sender struct {
	// User is who logged in; empty for nobody. Sessions of one user are no business of another.
	User string
	// ReadOnly, when not empty, is why updates are refused, with what to do about it.
	ReadOnly string
}

// Serve serves one connection until it ends, or ctx does. It closes it.
func (s *Server) Serve(ctx context.Context, nc net.Conn, who Sender) error {
	within, cancel := context.WithCancel(ctx)
	way := bounded{nc, s.o.Timeout}
	c := &conn{
		s: s, nc: nc, who: who,
		r: wire.NewReader(wire.NewUnpacker(bufio.NewReaderSize(way, readSize))), w: wire.NewWriter(way), cancel: cancel, over: make(chan struct{}),
	}
	defer close(c.over)
	defer c.close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	err := c.serve(within)
	if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// greet lets a connection in: whatever another session of the same name was doing is over when it returns.
func (s *Server) greet(c *conn, m *wire.Hello) {
	s.mu.Lock()
	c.name = targetName{c.who.User, m.Target}
	t := s.targets[c.name]
	if t == nil {
		t = &target{conns: map[*conn]struct{}{}}
		s.targets[c.name] = t
	}
	t.users++
	s.mu.Unlock()
	t.turn.Lock()
	defer t.turn.Unlock()
	t.mu.Lock()
	var old []*conn
	if t.session != m.Session {
		for other := range t.conns {
			other.close()
			old = append(old, other)
		}
		t.session, t.conns = m.Session, map[*conn]struct{}{}
	}
	t.mu.Unlock()
	for _, other := range old {
		<-other.over
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c] = struct{}{}
	c.target = t
}

// leave forgets a connection that was let in.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.target
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	if t.users--; t.users == 0 {
		delete(s.targets, c.name)
	}
}

// unsure ends all connections: what was acked over them may not come to the disk any more, and each sender is to look at it again.
func (s *Server) unsure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.targets {
		t.mu.Lock()
		for c := range t.conns {
			c.close()
		}
		t.mu.Unlock()
	}
}

// facts are what the directory can store.
func (s *Server) facts() wire.Facts {
	return wire.Facts{
		Owners: s.tree.Owners(), SetID: s.tree.SetID(), Xattrs: s.tree.Xattrs(), Fake: s.tree.FakeSuper(),
		Granularity: s.tree.Granularity(), Chmod: s.o.Chmod,
	}
}

// refused is a state of the target for the sender.
func refused(err error) *wire.Refused {
	m := &wire.Refused{Kind: transport.Broken, Text: cut(err.Error())}
	switch apply.KindOf(err) {
	case apply.Full:
		m.Kind, m.Hint = transport.Full, "make room on the target, or raise its quota"
	case apply.ReadOnly:
		m.Kind, m.Hint = transport.ReadOnly, "mount the file system of the target for writing"
	case apply.RootGone:
		m.Kind, m.Lost = transport.Away, true
		m.Hint = "make the directory of the target, or mount what belongs there"
	}
	return m
}

func cut(s string) string { return s[:min(len(s), wire.MaxText)] }

// choose is the version that both sides speak.
func choose(m *wire.Hello) (int, error) {
	if m.Oldest > wire.Version || m.Newest < wire.Oldest {
		return 0, fmt.Errorf("the sender speaks versions %d to %d of the stream, and this target %d to %d", m.Oldest, m.Newest, wire.Oldest, wire.Version)
	}
	return min(m.Newest, wire.Version), nil
}
