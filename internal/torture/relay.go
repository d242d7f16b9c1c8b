package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// manner is how a relay passes on what it gets. The zero manner passes all at once.
type manner struct {
	// hang: connections are accepted and nothing passes.
	hang bool
	// delay comes before each piece, chunk is its size in bytes; 0 is as much as there is.
	delay time.Duration
	chunk int
}

// relay is what the daemon under test takes for an rsync daemon: TCP to the real one, with faults.
type relay struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	manner manner
	// changed is closed when the manner is another one.
	changed chan struct{}
	// left is how many bytes pass until a connection is cut; negative for no cut.
	left  int64
	links map[*link]struct{}
	// accepted and cut count connections.
	accepted, cut int
}

// link is one connection and the one that belongs to it.
type link struct {
	client, server *net.TCPConn
	over           chan struct{}
	end            func()
}

func newRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a relay: %w", err)
	}
	return &relay{listener: l, to: to, changed: make(chan struct{}), left: -1, links: map[*link]struct{}{}}, nil
}

func (r *relay) port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// run passes connections on until ctx ends.
func (r *relay) run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	stop := context.AfterFunc(ctx, func() {
		r.listener.Close()
		r.cutAll()
	})
	defer stop()
	for {
		client, err := r.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				client.Close()
			}
			return nil
		case err != nil:
			return fmt.Errorf("accept for a relay: %w", err)
		}
		all.Go(func() { r.serve(ctx, client.(*net.TCPConn)) })
	}
}

func (r *relay) serve(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	r.mu.Lock()
	r.accepted++
	r.mu.Unlock()
	// One that hangs has not even begun.
	l := &link{client: client, over: make(chan struct{})}
	if !r.passing(ctx, l) {
		return
	}
	server, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp4", r.to)
	if err != nil {
		return // the daemon is stopped: the client sees a connection that ends
	}
	l.server = server.(*net.TCPConn)
	defer l.server.Close()
	l.end = sync.OnceFunc(func() {
		close(l.over)
		// A reset, as of a machine that went.
		client.SetLinger(0)
		client.Close()
		l.server.SetLinger(0)
		l.server.Close()
	})
	r.mu.Lock()
	r.links[l] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.links, l)
		r.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { r.carry(ctx, l, l.server, client) })
	both.Go(func() { r.carry(ctx, l, client, l.server) })
	both.Wait()
}

// carry passes one direction on until it ends or is cut.
func (r *relay) carry(ctx context.Context, l *link, to, from *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		m, _ := r.how()
		size := len(buf)
		if m.chunk > 0 {
			size = m.chunk
		}
		n, err := from.Read(buf[:size])
		if n > 0 {
			if m.delay > 0 && !pause(ctx, m.delay) || !r.passing(ctx, l) {
				l.end()
				return
			}
			pass, cut := r.spend(n)
			if _, err := to.Write(buf[:pass]); err != nil || cut {
				l.end()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite() // the other side may have gone
			return
		}
		if err != nil {
			l.end()
			return
		}
	}
}

func (r *relay) how() (manner, chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.manner, r.changed
}

// passing returns true when something may pass, and false when the connection is over.
func (r *relay) passing(ctx context.Context, l *link) bool {
	for {
		m, changed := r.how()
		if !m.hang {
			return true
		}
		select {
		case <-changed:
		case <-l.over:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// spend takes n bytes of what may pass until a cut, and says how many of them still do.
func (r *relay) spend(n int) (pass int, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left < 0 {
		return n, false
	}
	if int64(n) < r.left {
		r.left -= int64(n)
		return n, false
	}
	pass = int(r.left)
	r.left = -1
	r.cut++
	return pass, true
}

// set changes the manner of all connections, those that are open too.
func (r *relay) set(m manner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manner = m
	close(r.changed)
	r.changed = make(chan struct{})
}

// cutAfter cuts the connection that passes so many bytes from now.
func (r *relay) cutAfter(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = bytes
}

// cutAll cuts every connection.
func (r *relay) cutAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		l.end()
		r.cut++
	}
}

func (r *relay) counts() (accepted, cut int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted, r.cut
}
