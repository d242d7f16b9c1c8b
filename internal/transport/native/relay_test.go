package native

import (
	"net"
	"sync"
	"testing"
)

// relay is TCP to a receiver, with the faults of a network.
type relay struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu sync.Mutex
	// free is closed while something may pass, and left how many bytes pass to and from the receiver until a fault; negative for none.
	free  chan struct{}
	left  [2]int64
	fault func() // called once when left is used up, with mu held
	// passed is what went to and from the receiver, links are the connections, and accepted how many there were.
	passed   [2]int64
	links    map[net.Conn]struct{}
	accepted int
}

// Directions.
const (
	up   = 0 // to the receiver
	down = 1
)

func newRelay(t testing.TB, to string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, to: to, free: make(chan struct{}), left: [2]int64{-1, -1}, links: map[net.Conn]struct{}{}}
	close(r.free)
	r.all.Go(r.run)
	t.Cleanup(func() {
		l.Close()
		r.cut()
		r.pass()
		r.all.Wait()
	})
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) run() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.all.Go(func() { r.serve(client) })
	}
}

func (r *relay) serve(client net.Conn) {
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		client.Close()
		return
	}
	r.mu.Lock()
	r.accepted++
	r.links[client], r.links[server] = struct{}{}, struct{}{}
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.carry(server, client, up) })
	both.Go(func() { r.carry(client, server, down) })
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, client)
	delete(r.links, server)
}

// carry passes one direction on until it ends. What had arrived before a fault passes up to its place.
func (r *relay) carry(to, from net.Conn, way int) {
	defer reset(to)
	defer reset(from)
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			r.mu.Lock()
			free, most := r.free, len(p)
			if r.left[way] >= 0 {
				most = int(min(int64(most), r.left[way]))
			}
			r.mu.Unlock()
			<-free
			if _, err := to.Write(p[:most]); err != nil {
				return
			}
			p = p[most:]
			r.spend(way, int64(most))
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) spend(way int, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passed[way] += n
	if r.left[way] < 0 {
		return
	}
	if r.left[way] -= n; r.left[way] <= 0 {
		r.left[way] = -1
		r.fault()
	}
}

// reset ends a connection as a machine that went does.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// after has a fault happen after so many bytes more.
func (r *relay) after(way int, bytes int64, fault func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left[way], r.fault = bytes, fault
}

// calm takes back a fault that did not happen.
func (r *relay) calm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = [2]int64{-1, -1}
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutLocked()
}

func (r *relay) cutLocked() {
	for c := range r.links {
		reset(c)
	}
}

// hangLocked lets nothing pass until pass.
func (r *relay) hangLocked() { r.free = make(chan struct{}) }

func (r *relay) pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.free:
	default:
		close(r.free)
	}
}

func (r *relay) count() [2]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed
}

func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}
