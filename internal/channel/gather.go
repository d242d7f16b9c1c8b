package channel

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// recordMax is how much of what is written goes in one record, in bytes (RFC 8446, 5.1).
const recordMax = 16 << 10

// secured is a connection that has logged in. The records of one Write travel together: crypto/tls writes each one by itself, and
// each such call wakes the other side.
type secured struct {
	*tls.Conn
	below *gather
}

func (s *secured) Write(b []byte) (int, error) {
	if len(b) <= recordMax {
		return s.Conn.Write(b)
	}
	s.below.holds.Add(1)
	n, err := s.Conn.Write(b)
	return n, errors.Join(err, s.below.release())
}

// Close closes at once while something is written, as crypto/tls does, and says goodbye otherwise.
func (s *secured) Close() error {
	if s.below.holds.Load() > 0 {
		return s.below.Conn.Close()
	}
	return s.Conn.Close()
}

// NetConn is the connection below.
func (s *secured) NetConn() net.Conn { return s.below.Conn }

// gather is a connection that can hold back what is written to it.
type gather struct {
	net.Conn
	holds atomic.Int32 // how many want it to; less only under mu
	mu    sync.Mutex
	held  *[]byte // guarded by mu: what is held back; nil for nothing
	err   error   // guarded by mu: why it was not written; it stays
}

// buffers are for what is held back: many connections write seldom.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (g *gather) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	if g.holds.Load() == 0 {
		return g.Conn.Write(b)
	}
	if g.held == nil {
		g.held = buffers.Get().(*[]byte)
	}
	*g.held = append(*g.held, b...)
	return len(b), nil
}

// release writes what was held back, for one that wanted it.
func (g *gather) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.holds.Add(-1)
	if g.held == nil {
		return g.err
	}
	_, g.err = g.Conn.Write(*g.held)
	*g.held = (*g.held)[:0]
	buffers.Put(g.held)
	g.held = nil
	return g.err
}
