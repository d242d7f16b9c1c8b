package channel

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts what is written to a connection, call by call.
type counted struct {
	net.Conn
	calls atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.calls.Add(1)
	return c.Conn.Write(b)
}

// countedPair is a connection that has logged in, with what is below it, and its other end.
func countedPair(t *testing.T) (c net.Conn, below *counted, there net.Conn) {
	t.Helper()
	addr, arrivals := receiver(t, nil)
	below = &counted{Conn: dial(t, addr)}
	c, err := Client(within(t), below, rightLogin())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	a := await(t, arrivals)
	if a.err != nil {
		t.Fatal(a.err)
	}
	t.Cleanup(func() { a.conn.Close() })
	return c, below, a.conn
}

func TestRecordsOfOneWriteTravelTogether(t *testing.T) {
	c, below, there := countedPair(t)
	sent := make([]byte, 10*recordMax+1)
	_, _ = rand.Read(sent)
	before := below.calls.Load()
	writes := [][]byte{sent, sent[:recordMax], sent[:1], sent}
	for _, b := range writes {
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(b)
			wrote <- err
		}()
		got := make([]byte, len(b))
		if _, err := io.ReadFull(there, got); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%d bytes came otherwise than they were written: %v", len(b), err)
		}
		if err := await(t, wrote); err != nil {
			t.Fatal(err)
		}
	}
	if n := below.calls.Load() - before; n != int64(len(writes)) {
		t.Errorf("%d writes were %d below", len(writes), n)
	}
}

// What one writes while another one's records are held back must not stay behind.
func TestWritesSideBySideAllArrive(t *testing.T) {
	c, _, there := countedPair(t)
	const each = 200
	long, short := make([]byte, 2*recordMax), make([]byte, 1)
	var writers sync.WaitGroup
	for _, b := range [][]byte{long, short, short} {
		writers.Go(func() {
			for range each {
				if _, err := c.Write(b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	// The connection stays open: nothing but the writes brings what was written.
	if err := there.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, there, each*int64(len(long)+2)); err != nil {
		t.Errorf("%d bytes came: %v", n, err)
	}
	writers.Wait()
}

func TestClosingEndsAWriteThatNobodyReads(t *testing.T) {
	c, below, _ := countedPair(t)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Write(make([]byte, 8*recordMax)); err != nil {
				ended <- err
				return
			}
		}
	}()
	// Until the buffers of the kernel are full, as far as can be seen.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last, same := int64(-1), 0; same < 10; same++ {
		<-tick.C
		if now := below.calls.Load(); now != last {
			last, same = now, 0
		}
	}
	c.Close()
	// A goodbye would have waited for it until its time was over.
	if err := await(t, ended); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the write ended with %v, want %v", err, net.ErrClosed)
	}
}

func TestOneReadTakesTheRecordsThatAreThere(t *testing.T) {
	c, _, there := countedPair(t)
	for name, way := range map[string][2]net.Conn{"to the receiver": {c, there}, "to the sender": {there, c}} {
		sent, got := make([]byte, 4*recordMax), make([]byte, 4*recordMax)
		// How much is there when a read begins is for the kernel to say: it may be little, but not every time.
		for most, end := 0, time.Now().Add(30*time.Second); most <= recordMax; {
			if time.Now().After(end) {
				t.Fatalf("%s: no read brought more than %d bytes of %d that had been written", name, most, len(sent))
			}
			_, _ = rand.Read(sent)
			if _, err := way[0].Write(sent); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < len(got); {
				m, err := way[1].Read(got[n:])
				if err != nil {
					t.Fatal(err)
				}
				n, most = n+m, max(most, m)
			}
			if !bytes.Equal(sent, got) {
				t.Fatalf("%s: other bytes came than were written", name)
			}
		}
		if way[1].(*secured).below.read != nil {
			t.Errorf("%s: memory is held for what is to come", name)
		}
	}
}
