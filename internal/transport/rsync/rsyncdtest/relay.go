package rsyncdtest

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Relay is what a client takes for the daemon: TCP to the real one, with the faults of a network and of machines.
type Relay struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup
	closed   chan struct{}

	mu sync.Mutex
	// free is closed while something may pass.
	free chan struct{}
	// delay comes before each piece, piece is its size in bytes.
	delay time.Duration
	piece int
	// left is how many bytes from the client pass until its connection is cut; negative for no cut.
	left  int64
	cuts  int
	links map[net.Conn]net.Conn
}

// pieceMax is how much passes at one time, in bytes.
const pieceMax = 32 << 10

// StartRelay starts a relay to the daemon, which ends with the test.
func StartRelay(t testing.TB, d *Daemon) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for a relay: %v", err)
	}
	r := &Relay{
		listener: l, to: net.JoinHostPort(d.Host(), strconv.Itoa(d.Port())), closed: make(chan struct{}),
		free: make(chan struct{}), piece: pieceMax, left: -1, links: map[net.Conn]net.Conn{},
	}
	close(r.free)
	r.all.Go(r.run)
	t.Cleanup(func() {
		close(r.closed)
		l.Close()
		r.Cut()
		r.all.Wait()
	})
	return r
}

// Port is where the relay listens, on 127.0.0.1.
func (r *Relay) Port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// Hang lets connections be accepted and nothing pass, those that are open included.
func (r *Relay) Hang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = make(chan struct{})
}

// Pass ends Hang.
func (r *Relay) Pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.free)
}

// Slow lets each piece of so many bytes pass after a delay.
func (r *Relay) Slow(delay time.Duration, piece int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay, r.piece = delay, piece
}

// CutAfter cuts the connection that passes so many bytes from the client, counted from now.
func (r *Relay) CutAfter(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = bytes
}

// Cuts counts the connections that CutAfter cut.
func (r *Relay) Cuts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cuts
}

// Cut cuts every connection.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for client, server := range r.links {
		reset(client)
		reset(server)
	}
}

// reset ends a connection as a machine that went does.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func (r *Relay) run() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.all.Go(func() { r.serve(client) })
	}
}

func (r *Relay) serve(client net.Conn) {
	defer client.Close()
	if !r.pass(0) {
		return
	}
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return // the client sees a connection that ends
	}
	defer server.Close()
	r.mu.Lock()
	r.links[client] = server
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.carry(server, client, true) })
	both.Go(func() { r.carry(client, server, false) })
	both.Wait()
	r.mu.Lock()
	delete(r.links, client)
	r.mu.Unlock()
}

// carry passes one direction on until it ends or is cut.
func (r *Relay) carry(to, from net.Conn, counted bool) {
	buf := make([]byte, pieceMax)
	for {
		r.mu.Lock()
		delay, piece := r.delay, r.piece
		r.mu.Unlock()
		n, err := from.Read(buf[:piece])
		if n > 0 {
			pass, cut := n, !r.pass(delay)
			if counted && !cut {
				pass, cut = r.spend(n)
			}
			if _, err := to.Write(buf[:pass]); err != nil || cut {
				reset(to)
				reset(from)
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = to.(*net.TCPConn).CloseWrite() // the other side may have gone
			return
		}
		if err != nil {
			reset(to)
			reset(from)
			return
		}
	}
}

// pass waits until something may pass, and then for the delay. It returns false when the relay ends.
func (r *Relay) pass(delay time.Duration) bool {
	r.mu.Lock()
	free := r.free
	r.mu.Unlock()
	select {
	case <-free:
	case <-r.closed:
		return false
	}
	if delay == 0 {
		return true
	}
	select {
	case <-time.After(delay):
		return true
	case <-r.closed:
		return false
	}
}

// spend takes n bytes of what may pass until a cut, and says how many of them still do.
func (r *Relay) spend(n int) (pass int, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left < 0 || int64(n) < r.left {
		if r.left >= 0 {
			r.left -= int64(n)
		}
		return n, false
	}
	pass = int(r.left)
	r.left = -1
	r.cuts++
	return pass, true
}
