package torture

import (
	"context"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// echo is a relay to a server that sends back what it gets.
func echo(t *testing.T) *relay {
	t.Helper()
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	r, err := newRelay(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func dial(t *testing.T, r *relay) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRelayCutsAtTheByte(t *testing.T) {
	r := echo(t)
	c := dial(t, r)
	r.cutAfter(5)
	if _, err := c.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); err == nil {
		t.Errorf("the connection ended well, after %q", text)
	}
	if accepted, cut := r.counts(); accepted != 1 || cut != 1 {
		t.Errorf("%d accepted, %d cut", accepted, cut)
	}
}

func TestRelayHangsUntilItMayPass(t *testing.T) {
	r := echo(t)
	r.set(manner{hang: true})
	c := dial(t, r)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(c, make([]byte, 1))
		read <- err
	}()
	select {
	case err := <-read:
		t.Fatalf("something passed: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	r.set(manner{chunk: 1, delay: time.Millisecond})
	if err := <-read; err != nil {
		t.Errorf("nothing passed in the end: %v", err)
	}
}
