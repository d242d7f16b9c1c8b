package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/time/rate"

	"sersync/internal/delta"
	"sersync/internal/wire"
)

// past is a deadline that ends what is under way.
var past = time.Unix(1, 0)

// conn is one connection. What comes in is read by a goroutine of its own all the time, so that the target never waits for us to
// read before it reads itself, and a dead peer is noticed while nothing is to be said. Another one tells the target that we are there.
type conn struct {
	nc      net.Conn
	session [wire.SessionSize]byte
	r       *wire.Reader
	timeout time.Duration
	facts   wire.Facts
	version int // of the stream
	program string

	writing sync.Mutex
	w       *wire.Writer // guarded by writing
	spoke   bool         // guarded by writing: something was written since it was set to false

	mu sync.Mutex
	// begun are when the batches began that are not on the target's disk, the first of which has the number synced+1. flying: the
	// last one of them is not over.
	begun  []time.Time // guarded by mu
	flying bool        // guarded by mu
	synced uint64      // guarded by mu
	// take is called with each message that comes in while a batch or a comparison is under way; nil when none is.
	take func(wire.Message) error // guarded by mu
	err  error                    // guarded by mu: why it ended
	gone chan struct{}            // closed when it ended
}

func newConn(nc net.Conn, session [wire.SessionSize]byte, timeout time.Duration, bound *rate.Limiter) *conn {
	c := &conn{nc: nc, session: session, r: wire.NewReader(nc), timeout: timeout, gone: make(chan struct{})}
	packer := wire.NewPacker(patient{c, bound})
	packer.Pays = newLink(nc).isSlow
	c.w = wire.NewWriter(packer)
	return c
}

// put writes a message that may wait.
func (c *conn) put(m wire.Message) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.w.Write(m)
}

// flush writes what waits.
func (c *conn) flush() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.spoke = true
	return c.w.Flush()
}

// say writes a message at once.
func (c *conn) say(m wire.Message) error { return errors.Join(c.put(m), c.flush()) }

// sent is how many bytes were written so far.
func (c *conn) sent() int64 {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.w.Sent()
}

// live tells the target now and then that we are there, until the connection ends.
func (c *conn) live() {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-tick.C:
		}
		c.writing.Lock()
		quiet := !c.spoke
		c.spoke = false
		c.writing.Unlock()
		if quiet && c.say(&wire.Alive{}) != nil {
			c.nc.Close()
		}
	}
}

// patient writes to a connection for as long as anything moves, or the target says that it is there.
type patient struct {
	c    *conn
	rate *rate.Limiter
}

// writeMost is how much may take as long as the timeout, in bytes: what goes over at a time of a large file. rateBurst is how much is sent at a time
// where the bandwidth is bounded.
const (
	writeMost = delta.MaxData + 16<<10
	rateBurst = 16 << 10
)

func (p patient) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		most := writeMost
		if p.rate != nil {
			most = rateBurst
			if err := p.rate.WaitN(context.Background(), min(len(b), most)); err != nil {
				return n, err
			}
		}
		_ = p.c.nc.SetWriteDeadline(time.Now().Add(p.c.timeout))
		m, err := p.c.nc.Write(b[:min(len(b), most)])
		n += m
		if err != nil {
			return n, err
		}
		b = b[m:]
	}
	return n, nil
}

// aliveEvery is how often each side says something while a connection is open, at the least.
const aliveEvery = 3 * time.Second

// read reads until the connection ends.
func (c *conn) read() {
	defer close(c.gone)
	defer c.nc.Close()
	for {
		if !c.r.Buffered() {
			_ = c.nc.SetReadDeadline(time.Now().Add(c.timeout))
		}
		m, err := c.r.Read()
		if err == nil {
			err = c.took(m)
		}
		if err != nil {
			c.mu.Lock()
			c.err = fmt.Errorf("the connection ended: %w", noEOF(err))
			c.mu.Unlock()
			return
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the target closed it")
	}
	return err
}

func (c *conn) took(m wire.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m := m.(type) {
	case *wire.Alive:
		// It may be too busy to read.
		return c.nc.SetWriteDeadline(time.Now().Add(c.timeout))
	case *wire.Durable:
		n := m.Batch - c.synced
		if m.Batch < c.synced || n > uint64(len(c.begun)) {
			return fmt.Errorf("%d batches are on the disk, of %d: %w", m.Batch, c.synced+uint64(len(c.begun)), wire.ErrFrame)
		}
		c.begun, c.synced = c.begun[n:], m.Batch
		return nil
	}
	switch m.(type) {
	case *wire.Done, *wire.Refused:
		c.flying = false
	}
	if c.take == nil {
		return fmt.Errorf("%T that nobody asked for: %w", m, wire.ErrFrame)
	}
	return c.take(m)
}

// begin counts a batch.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun, c.flying = append(c.begun, time.Now()), true
}

// unsynced is when the oldest batch began that is over and not on the target's disk; zero when there is none.
func (c *conn) unsynced() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.begun) == 0 || len(c.begun) == 1 && c.flying {
		return time.Time{}
	}
	return c.begun[0]
}

// listen has all that comes in given to take, until silence.
func (c *conn) listen(take func(wire.Message) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take = take
}

func (c *conn) silence() { c.listen(nil) }

// alive reports whether nothing is known to be wrong with it.
func (c *conn) alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// why is the error that ended it.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// await waits for what a receiver closes or sends on done.
func await[T any](ctx context.Context, c *conn, done <-chan T) (v T, err error) {
	select {
	case v = <-done:
		return v, nil
	case <-c.gone:
		return v, c.why()
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// printable is a text of the other side as a person may see it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
