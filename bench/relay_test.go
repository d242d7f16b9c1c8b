package main

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// startEcho listens on a port and sends back what it gets, until the end of it.
func startEcho(t *testing.T) (port int) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// dialRelay connects through a new relay.
func dialRelay(t *testing.T, delay time.Duration) (*relay, *net.TCPConn) {
	stage := &stage{}
	r, err := newRelay(stage, startEcho(t), delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return r, conn.(*net.TCPConn)
}

func TestRelayPassesEverythingOnAndCountsBothWays(t *testing.T) {
	r, conn := dialRelay(t, 0)
	sent := bytes.Repeat([]byte("0123456789"), 1_000_000)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(sent))
	}
	if n := r.bytes.Load(); n != int64(2*len(sent)) {
		t.Errorf("counted %d bytes, want %d", n, 2*len(sent))
	}
}

func TestRelayDelaysEachDirection(t *testing.T) {
	const delay = 30 * time.Millisecond
	began := time.Now() // before the relay accepts
	_, conn := dialRelay(t, delay)
	for round := range 3 {
		if _, err := conn.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		trips := time.Duration(round + 2) // and one to connect
		if took := time.Since(began); took < trips*2*delay {
			t.Errorf("%d round trips took %v, less than %v", trips, took, trips*2*delay)
		}
	}
}

func TestRelayDelaysNoPieceByTheOnesBeforeIt(t *testing.T) {
	const pieces, delay = 50, time.Second
	_, conn := dialRelay(t, delay)
	began := time.Now()
	go func() {
		for range pieces {
			_, _ = conn.Write([]byte{1})
		}
	}()
	if _, err := io.ReadFull(conn, make([]byte, pieces)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > pieces*delay/2 {
		t.Errorf("%d pieces took %v: each waited for the one before it", pieces, took)
	}
}
