package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// relay passes TCP connections on to a port, counts their bytes, and delays them. A delay takes nothing from the
// throughput: each piece has a time of its own at which it goes on. What a long way does beside that, as the slow start of
// TCP and losses, is not there.
type relay struct {
	listener net.Listener
	to       string
	// delay is that of one direction, half a round trip.
	delay time.Duration
	// bytes counts what passed, both ways.
	bytes atomic.Int64
	all   sync.WaitGroup

	mu     sync.Mutex
	conns  []*net.TCPConn
	closed bool
}

const (
	// pieceSize is the most that a relay reads at once, in bytes.
	pieceSize = 64 << 10
	// pieces is how many can be on their way in one direction: 64 MiB of full ones, of which 10 ms hold 6 GiB/s.
	pieces = 1024
)

// piece is what a relay read at once, and when it goes on.
type piece struct {
	data []byte
	due  time.Time
}

// newRelay starts a relay to a port of the loopback interface, which ends with the stage.
func newRelay(s *stage, port int, delay time.Duration) (*relay, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a relay: %w", err)
	}
	r := &relay{listener: l, to: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), delay: delay}
	r.all.Go(r.run)
	s.onClose(r.close)
	return r, nil
}

func (r *relay) port() int { return r.listener.Addr().(*net.TCPAddr).Port }

func (r *relay) run() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.all.Go(func() { r.serve(client.(*net.TCPConn)) })
	}
}

// serve passes one connection on. To connect takes a round trip, as it does where there is a way between.
func (r *relay) serve(client *net.TCPConn) {
	defer client.Close()
	time.Sleep(2 * r.delay)
	conn, err := net.Dial("tcp4", r.to)
	if err != nil {
		return // the client sees a connection that ends
	}
	defer conn.Close()
	server := conn.(*net.TCPConn)
	if !r.keep(client, server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { r.carry(server, client) })
	both.Go(func() { r.carry(client, server) })
	both.Wait()
}

// keep notes connections that close has to end. It is false when the relay is over.
func (r *relay) keep(conns ...*net.TCPConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conns...)
	return !r.closed
}

// carry passes one direction on until it ends.
func (r *relay) carry(to, from *net.TCPConn) {
	way := make(chan piece, pieces)
	r.all.Go(func() {
		defer close(way)
		buf := make([]byte, pieceSize)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				way <- piece{bytes.Clone(buf[:n]), time.Now().Add(r.delay)}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range way {
		sleepUntil(p.due)
		r.bytes.Add(int64(len(p.data)))
		if _, err := to.Write(p.data); err != nil {
			from.Close() // ends the reading
		}
	}
	_ = to.CloseWrite() // the other side may have gone
}

// sleepUntil is finer than a Go timer, which may be a millisecond late.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		ts := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&ts, nil) // EINTR: the rest of it
	}
}

// close ends all connections.
func (r *relay) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for _, conn := range r.conns {
		if e := conn.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	r.mu.Unlock()
	r.all.Wait()
	return err
}

// relayed puts a relay between the targets and what will use their URLs.
func (s *site) relayed(delay time.Duration) (err error) {
	if s.relay, err = newRelay(s.stage, s.port, delay); err != nil {
		return err
	}
	for i := range s.targets {
		s.urls[i] = moduleURL(s.relay.port(), i)
	}
	return nil
}
