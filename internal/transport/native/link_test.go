package native

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"sersync/internal/change"
	"sersync/internal/channel"
	"sersync/internal/transport"
)

func TestALinkIsSlowWhenItAndNotTheTargetHoldsUp(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		busy, full time.Duration
		sent       uint64
		slow       bool
	}{
		"little to send":        {20 * ms, 0, 1 << 10, false},
		"a slow network":        {240 * ms, 0, 1 << 20, true},
		"a quick network":       {240 * ms, 0, 100 << 20, false},
		"a target without room": {240 * ms, 200 * ms, 1 << 20, false},
	} {
		if got := waits(250*ms, c.busy, c.full, c.sent); got != c.slow {
			t.Errorf("%s: slow is %v", name, got)
		}
	}
}

// carrying is a relay to a rig, which reads what is sent at a rate and counts it.
func carrying(t *testing.T, r *rig, limit rate.Limit) (address string, carried *atomic.Int64) {
	carried = new(atomic.Int64)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", r.address)
			if err != nil {
				here.Close()
				return
			}
			go carry(there, here, rate.NewLimiter(limit, 64<<10), carried)
			go carry(here, there, rate.NewLimiter(rate.Inf, 0), new(atomic.Int64))
		}
	}()
	return listener.Addr().String(), carried
}

// carry carries bytes from one connection to the other until either ends.
func carry(to, from net.Conn, limit *rate.Limiter, carried *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || limit.WaitN(context.Background(), n) != nil {
			return
		}
		carried.Add(int64(n))
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// through is a transport over a relay, whose connections the kernel sends no quicker than at a rate; 0 is no bound.
func through(t *testing.T, r *rig, address string, pace int) *Transport {
	tr := r.transport(Options{Dial: func(ctx context.Context) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		if pace > 0 {
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				return nil, err
			}
			paced := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, pace) })
			if err := errors.Join(paced, err); err != nil {
				return nil, err
			}
		}
		return channel.Client(ctx, conn, channel.Login{Module: "m", User: "u", Secret: []byte(secret)})
	}})
	t.Cleanup(func() { tr.Close() })
	return tr
}

// easy is a file that can be made much smaller, in a source.
func easy(t *testing.T, size int) *os.File {
	src, root := source(t)
	write(t, src, "f", bytes.Repeat([]byte("easily made smaller\n"), size/20))
	return root
}

func TestNothingIsCompressedForATargetThatIsSlow(t *testing.T) {
	const size = 12 << 20
	r := newRig(t)
	address, carried := carrying(t, r, 8<<20)
	send(t, through(t, r, address, 0), transport.Batch{Op: transport.Update, Root: easy(t, size), Paths: []change.Path{"f"}})
	if carried.Load() < size*9/10 {
		t.Errorf("%d bytes went over for %d", carried.Load(), size)
	}
}

func TestWhatWaitsForTheLinkIsCompressed(t *testing.T) {
	const size = 64 << 20
	r := newRig(t)
	address, carried := carrying(t, r, rate.Inf)
	send(t, through(t, r, address, 8<<20), transport.Batch{Op: transport.Update, Root: easy(t, size), Paths: []change.Path{"f"}})
	if carried.Load() > size/2 {
		t.Errorf("%d bytes went over for %d", carried.Load(), size)
	}
}
