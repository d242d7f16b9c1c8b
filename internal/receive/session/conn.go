package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sersync/internal/transport"
	"sersync/internal/wire"
)

// conn is one connection.
type conn struct {
	s      *Server
	nc     net.Conn
	r      *wire.Reader
	target *target
	name   targetName
	cancel context.CancelFunc // ends what it does
	over   chan struct{}      // closed when nothing of it is at work any more
	who    Sender

	mu sync.Mutex
	// batches counts those that came to their end; recent are those that may not be on the disk.
	batches uint64       // guarded by mu
	recent  []ended      // guarded by mu
	w       *wire.Writer // guarded by mu
	awaited bool         // guarded by mu: what waits to be written is more than putLate wrote
	spoke   time.Time    // guarded by mu: when something was written last
}

// ended is a batch with what the syncer's durable has to be for it to be on the disk.
type ended struct{ batch, changed uint64 }

// ended counts a batch that came to its end.
func (c *conn) ended(changed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches++
	if n := len(c.recent); n > 0 && c.recent[n-1].changed == changed {
		c.recent[n-1].batch = c.batches
		return
	}
	c.recent = append(c.recent, ended{c.batches, changed})
}

// tell tells the sender which batches are on the disk, by a message that may wait, and reports whether there are new ones.
func (c *conn) tell(changed uint64) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.recent) && c.recent[n].changed <= changed {
		n++
	}
	if n == 0 {
		return false, nil
	}
	last := c.recent[n-1].batch
	c.recent = c.recent[n:]
	return true, c.w.Write(&wire.Durable{Batch: last})
}

// bounded is a connection each read and each write of which may last so long: messages that are in a buffer need no clock.
type bounded struct {
	net.Conn
	timeout time.Duration
}

func (b bounded) Read(p []byte) (int, error) {
	_ = b.SetReadDeadline(time.Now().Add(b.timeout))
	return b.Conn.Read(p)
}

func (b bounded) Write(p []byte) (int, error) {
	_ = b.SetWriteDeadline(time.Now().Add(b.timeout))
	return b.Conn.Write(p)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends the connection and what it does. Serve returns when that is over.
func (c *conn) close() {
	c.cancel()
	c.nc.Close()
}

// aliveEvery is how often the sender hears of us at the least.
const aliveEvery = 3 * time.Second

func (c *conn) serve(ctx context.Context) error {
	m, version, err := c.hello()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.cancel()
	wg.Go(func() { c.live(ctx) })
	c.s.greet(c, m)
	defer c.s.leave(c)
	if err := c.say(&wire.Welcome{Version: version, Program: c.s.o.Program, Root: c.s.tree.Identity(), Facts: c.s.facts()}); err != nil {
		return err
	}
	wg.Go(func() { c.s.sync.tell(ctx, c) })
	for {
		m, err := c.read()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wire.Alive:
		case *wire.Begin:
			err = newBatch(c, m).run(ctx)
		case *wire.Compare:
			err = (&comparison{c: c, content: m.Content, trash: m.Trash}).run(ctx)
		default:
			err = fmt.Errorf("%T while nothing is under way: %w", m, wire.ErrFrame)
		}
		if err != nil {
			return err
		}
	}
}

// hello reads the greeting, and refuses one that is not understood.
func (c *conn) hello() (m *wire.Hello, version int, err error) {
	first, err := c.r.Read()
	if err != nil {
		return nil, 0, err
	}
	m, ok := first.(*wire.Hello)
	if !ok {
		return nil, 0, fmt.Errorf("%T in the place of a greeting: %w", first, wire.ErrFrame)
	}
	version, err = choose(m)
	if err != nil {
		refusal := &wire.Refused{
			Kind: transport.Misconfigured, Text: err.Error(),
			Hint: fmt.Sprintf("the sender is sersync %s, the target %s: install the same version on both", cut(m.Program), c.s.o.Program),
		}
		err = errors.Join(err, c.say(refusal))
	}
	return m, version, err
}

// read reads a message. What is to be said is said before that waits, but for what may be late.
func (c *conn) read() (wire.Message, error) {
	if !c.r.Buffered() && c.isAwaited() {
		if err := c.flush(); err != nil {
			return nil, err
		}
	}
	return c.r.Read()
}

func (c *conn) isAwaited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited
}

// put writes a message that may wait until the sender is waited for.
func (c *conn) put(m wire.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited = true
	return c.w.Write(m)
}

// putLate writes a message that may wait until another one goes.
func (c *conn) putLate(m wire.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Write(m)
}

func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited = false
	c.spoke = time.Now()
	return c.w.Flush()
}

// say writes a message at once.
func (c *conn) say(m wire.Message) error { return errors.Join(c.put(m), c.flush()) }

// live tells the sender now and then that we are there.
func (c *conn) live(ctx context.Context) {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		quiet := time.Since(c.spoke) >= aliveEvery/2
		c.mu.Unlock()
		if quiet && c.say(&wire.Alive{}) != nil {
			c.close()
			return
		}
	}
}
