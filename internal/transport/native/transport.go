// Package native is the transport of our own: it keeps connections to a target that runs our binary, and sends over them what
// internal/wire describes. A small change needs one round trip. What serves it on the other side is internal/receive/session.
package native

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sersync/internal/transport"
	"sersync/internal/wire"
)

// Options are what one target needs.
type Options struct {
	// Dial makes a connection to the target, over which nobody else can read or write. Its error is a *transport.Error, or ctx's.
	Dial func(ctx context.Context) (net.Conn, error)
	// Target names who replicates what to where, the same after each start: a session ends all others of that name.
	Target string
	// Durable: what is acked is on the target's disk.
	Durable bool
	// Trash: what goes on the target is moved to its trash.
	Trash bool
	// Xattrs: comparisons are of extended attributes, too. They are in any case when they are by content.
	Xattrs bool
	// Settle is how long a receiver that we lost may go on with what it has, where none keeps the sessions of a target apart: over
	// ssh each connection has a process of its own. 0 is not at all.
	Settle time.Duration
	// Timeout ends a connection over which nothing came or went for so long. Each side says something every 3 s. Default 15 s.
	Timeout time.Duration
	// Bandwidth bounds what is sent, in bytes a second; 0 is no bound.
	Bandwidth int64
	// Program is the version of this program, for people.
	Program string
	Log     *slog.Logger
}

const defaultTimeout = 15 * time.Second

// Transport is one target reached by our own stream.
type Transport struct {
	o    Options
	rate *rate.Limiter // nil for no bound

	mu sync.Mutex
	// session names all connections that are open now. One that ends badly ends the session: the next one begins when nothing of
	// the old one is at work over there any more.
	session [wire.SessionSize]byte
	conns   map[*conn]struct{} // guarded by mu: all that are open
	idle    []*conn            // guarded by mu: those of them that nobody uses
	lost    time.Time          // guarded by mu: when the oldest batch began that was not on the disk when its connection ended
	root    string             // guarded by mu: which directory the target had last
	losses  int                // guarded by mu: how many connections ended so
	news    chan struct{}      // gets a value when there are more of them
	closed  bool
	wg      sync.WaitGroup // what connections run
}

var _ transport.Syncer = (*Transport)(nil)

// New makes a transport. It starts nothing.
func New(o Options) *Transport {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	t := &Transport{o: o, conns: map[*conn]struct{}{}, news: make(chan struct{}, 1)}
	if o.Bandwidth > 0 {
		t.rate = rate.NewLimiter(rate.Limit(o.Bandwidth), rateBurst)
	}
	t.renew()
	return t
}

// renew begins a session. The caller holds mu, or nobody else knows t.
func (t *Transport) renew() {
	_, _ = rand.Read(t.session[:]) // it never fails
}

// take is a connection for one batch or comparison.
func (t *Transport) take(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		c, session := t.kept()
		if c != nil {
			return c, nil
		}
		c, err := t.connect(ctx, session)
		if err == errSession {
			continue
		}
		if err != nil {
			return nil, t.away(ctx, err)
		}
		return c, nil
	}
}

// kept is a connection that nobody uses, if there is one, and the session.
func (t *Transport) kept() (*conn, [wire.SessionSize]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.idle) > 0 {
		c := t.idle[len(t.idle)-1]
		t.idle = t.idle[:len(t.idle)-1]
		if c.alive() {
			return c, t.session
		}
	}
	return nil, t.session
}

// connect makes a connection of a session.
func (t *Transport) connect(ctx context.Context, session [wire.SessionSize]byte) (*conn, error) {
	nc, err := t.o.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c, err := t.greet(ctx, nc, session)
	if err != nil {
		nc.Close()
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		nc.Close()
		return nil, net.ErrClosed
	case session != t.session:
		nc.Close()
		return nil, errSession
	}
	t.conns[c] = struct{}{}
	t.wg.Go(c.live)
	t.wg.Go(func() {
		c.read()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.lose(c)
	})
	return c, nil
}

// connectAnew is what the target says of itself now.
func (t *Transport) connectAnew(ctx context.Context) (wire.Facts, error) {
	_, session := t.kept()
	c, err := t.connect(ctx, session)
	if err != nil {
		return wire.Facts{}, t.away(ctx, err)
	}
	t.give(c)
	return c.facts, nil
}

// errSession: another connection of the session ended badly meanwhile, and another session began.
var errSession = errors.New("the session was ended")

// greet agrees on a version, and waits until nothing of an older session is at work.
func (t *Transport) greet(ctx context.Context, nc net.Conn, session [wire.SessionSize]byte) (*conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(past) })
	defer stop()
	_ = nc.SetDeadline(time.Now().Add(t.o.Timeout))
	c := newConn(nc, session, t.o.Timeout, t.rate)
	hello := &wire.Hello{Oldest: wire.Oldest, Newest: wire.Version, Target: t.o.Target, Session: session, Program: t.o.Program}
	if err := c.say(hello); err != nil {
		return nil, err
	}
	for {
		m, err := c.r.Read()
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *wire.Alive:
			_ = nc.SetDeadline(time.Now().Add(t.o.Timeout))
		case *wire.Refused:
			return nil, refusal(m)
		case *wire.Welcome:
			if m.Version < wire.Oldest || m.Version > wire.Version {
				return nil, fmt.Errorf("the target chose version %d: %w", m.Version, wire.ErrFrame)
			}
			c.facts, c.program, c.version = m.Facts, m.Program, m.Version
			if t.o.Trash && m.Version < wire.Trash {
				return nil, tooOld(m.Program)
			}
			return c, t.recognize(m.Root)
		default:
			return nil, fmt.Errorf("await the answer to a greeting, and get %T: %w", m, wire.ErrFrame)
		}
	}
}

// recognize tells that the directory over there is another one than before: what it has is not known. Where that was told already,
// it is not told again.
func (t *Transport) recognize(root string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.root
	t.root = root
	if was == "" || was == root {
		return nil
	}
	return &transport.Error{
		Kind: transport.Away, Lost: true, Err: errors.New("the target has another directory than before"),
	}
}

// give takes a connection back from who took it, which is in a state to go on.
func (t *Transport) give(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.session == t.session && c.alive() {
		t.idle = append(t.idle, c)
	}
}

// end ends the session of a connection on which a batch came to no end, or whose target has lost its directory.
func (t *Transport) end(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.session == t.session {
		t.drop()
	}
}

// Synced implements transport.Syncer. What a connection that ended had not brought to the disk counts until somebody asked.
func (t *Transport) Synced() (before time.Time, losses int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := time.Now()
	if !t.lost.IsZero() {
		oldest, t.lost = t.lost, time.Time{}
	}
	for c := range t.conns {
		if at := c.unsynced(); !at.IsZero() && at.Before(oldest) {
			oldest = at
		}
	}
	return oldest, t.losses
}

// Lost implements transport.Syncer.
func (t *Transport) Lost() <-chan struct{} { return t.news }

// forgot reports whether the target may have lost something that nobody was told of.
func (t *Transport) forgot() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.lost.IsZero()
}

// lose forgets a connection that ends, but for what it had not brought to the disk. The caller holds mu.
func (t *Transport) lose(c *conn) {
	if _, open := t.conns[c]; !open {
		return
	}
	delete(t.conns, c)
	at := c.unsynced()
	if at.IsZero() {
		return
	}
	t.losses++
	poke(t.news)
	if t.lost.IsZero() || at.Before(t.lost) {
		t.lost = at
	}
}

// drop ends all connections and begins a session. The caller holds mu.
func (t *Transport) drop() {
	for c := range t.conns {
		t.lose(c)
		c.nc.Close()
	}
	t.idle = nil
	t.renew()
}

// ended is what an error of a batch or a sweep says of the target. Why a connection was ended says more than that it was.
func (t *Transport) ended(ctx context.Context, c *conn, err error) error {
	if why := c.why(); why != nil && errors.Is(err, net.ErrClosed) {
		err = why
	}
	return t.away(ctx, err)
}

// away is what an error of a connection says of the target.
func (t *Transport) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("reach target: %w", ctx.Err())
	}
	var state *transport.Error
	switch {
	case errors.As(err, &state):
		return t.told(state)
	case errors.Is(err, wire.ErrFrame):
		return &transport.Error{
			Kind: transport.Broken, Err: err,
			Hint: "the two sides do not understand each other: install the same version of sersync on both",
		}
	}
	if short := transport.Short(err); short != nil {
		return short
	}
	return &transport.Error{
		Kind: transport.Away, Err: fmt.Errorf("talk to the target: %w", err), Unclean: t.o.Settle > 0, Settle: t.o.Settle,
	}
}

// told notes that somebody is told of a directory whose content is not known.
func (t *Transport) told(state *transport.Error) *transport.Error {
	if state.Lost {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.root = ""
	}
	return state
}

// refusal is the error of a state of the target that it told.
func refusal(m *wire.Refused) *transport.Error {
	return &transport.Error{Kind: m.Kind, Lost: m.Lost, Hint: printable(m.Hint), Err: errors.New(printable(m.Text))}
}

// Check implements transport.Transport.
func (t *Transport) Check(ctx context.Context) (transport.Facts, error) {
	c, err := t.take(ctx)
	if err != nil {
		return transport.Facts{}, err
	}
	t.give(c)
	f := transport.Facts{Here: "sersync " + t.o.Program, There: "sersync " + printable(c.program)}
	if !c.facts.Owners {
		f.Limits = append(f.Limits, "it sets no owners: files belong to the user of the module; set uid = root in its configuration for that")
	}
	if c.facts.Fake {
		f.Limits = append(f.Limits, "it stores owners, modes, devices and symlinks beside the files (fake super): it is a backup, not a tree to use")
	}
	if len(c.facts.Chmod) > 0 {
		f.Limits = append(f.Limits, "it changes modes: incoming chmod of its module")
	}
	if c.facts.Granularity > 1 {
		f.Limits = append(f.Limits, fmt.Sprintf("its file system stores times in steps of %v", time.Duration(c.facts.Granularity)))
	}
	if t.o.Trash {
		unusable, err := t.trashLimit(ctx)
		if err != nil {
			return f, err
		}
		if unusable != "" {
			f.Limits = append(f.Limits, unusable)
		}
	}
	return f, nil
}

// Close implements transport.Transport.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	t.drop()
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}
