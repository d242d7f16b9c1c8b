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

// recordLongest is the longest that a record is on its way, in bytes (RFC 8446, 5.2).
const recordLongest = 5 + recordMax + 256

// secured is a connection that has logged in. The records of one Write travel together, and one Read takes all that are there: crypto/tls
// writes and reads each one by itself, and each such call wakes the other side, or tells it that there is room.
type secured struct {
	*tls.Conn
	below   *gather
	reading sync.Mutex
}

func (s *secured) Read(b []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	n, err := s.Conn.Read(b)
	// Where this much was read ahead, the end of a record is in it, and nothing is waited for.
	for err == nil && n < len(b) && s.below.end-s.below.start >= recordLongest {
		var m int
		m, err = s.Conn.Read(b[n:])
		n += m
	}
	return n, err
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

// gather is a connection that can hold back what is written to it, and reads ahead while there is much.
type gather struct {
	net.Conn
	// ahead: somebody has logged in, and may read ahead. read[start:end] was; it is nil when nothing was. full: as much came the last time as
	// there was room for.
	ahead, full bool
	read        *[]byte
	start, end  int

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

// aheadMax is how much is read ahead, in bytes.
const aheadMax = 256 << 10

// aheads are for what is read ahead, which few connections do at a time.
var aheads = sync.Pool{New: func() any {
	b := make([]byte, aheadMax)
	return &b
}}

// Read reads ahead when the last call brought all that it had room for, so that a connection on which nothing comes holds no memory.
func (g *gather) Read(b []byte) (n int, err error) {
	if g.read == nil && g.full && g.ahead {
		g.read = aheads.Get().(*[]byte)
		g.start = 0
		g.end, err = g.Conn.Read(*g.read)
		if g.full = g.end == aheadMax; g.end > 0 {
			err = nil // it comes again
		}
	}
	if g.read == nil {
		n, err = g.Conn.Read(b)
		g.full = n == len(b)
		return n, err
	}
	n = copy(b, (*g.read)[g.start:g.end])
	if g.start += n; g.start == g.end {
		aheads.Put(g.read)
		g.read, g.start, g.end = nil, 0, 0
	}
	return n, err
}
