package native

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// deaf is a receiver that accepts and says nothing.
func deaf(t *testing.T) func(context.Context) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}
}

func TestAReceiverThatSaysNothingIsAway(t *testing.T) {
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	tr := New(Options{Dial: deaf(t), Target: "t", Timeout: time.Second})
	defer tr.Close()
	_, err := tr.Apply(context.Background(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	state(t, err, transport.Away)
	_, err = tr.Check(context.Background())
	state(t, err, transport.Away)
}

func TestTheContextEndsTheWaitForAReceiverThatSaysNothing(t *testing.T) {
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	tr := New(Options{Dial: deaf(t), Target: "t", Timeout: time.Hour})
	defer tr.Close()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := tr.Apply(ctx, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
}

// hanging sends a batch to a receiver that stops in the middle of it.
func hanging(t *testing.T, ctx context.Context, timeout time.Duration, op transport.Op, hung func()) (*relay, *Transport, transport.Batch, error) {
	r := newRig(t)
	way := newRelay(t, r.address)
	tr := r.transport(Options{Dial: by(way), Timeout: timeout})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	for i := range 20 {
		write(t, src, fmt.Sprint("f", i), random(1<<20))
	}
	way.after(up, 5<<20, func() {
		way.hangLocked()
		hung()
	})
	b := transport.Batch{Op: op, Root: root, Paths: all(t, src)}
	_, err := tr.Apply(ctx, b)
	return way, tr, b, err
}

func TestAReceiverThatStopsInTheMiddleIsAway(t *testing.T) {
	for _, op := range []transport.Op{transport.Update, transport.UpdateLarge} {
		t.Run(op.String(), func(t *testing.T) {
			way, tr, b, err := hanging(t, context.Background(), time.Second, op, func() {})
			state(t, err, transport.Away)
			way.pass()
			tr.Synced()
			send(t, tr, b)
		})
	}
}

func TestTheContextEndsABatchWhoseReceiverStopped(t *testing.T) {
	for _, op := range []transport.Op{transport.Update, transport.UpdateLarge} {
		t.Run(op.String(), func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_, _, _, err := hanging(t, ctx, time.Hour, op, cancel)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled: %v", err)
			}
		})
	}
}

func TestASweepThatIsEndedLeavesABatchAlone(t *testing.T) {
	r := newRig(t)
	way := newRelay(t, r.address)
	tr := r.transport(Options{Dial: by(way)})
	defer tr.Close()
	src, root := source(t)
	write(t, src, "large", random(8<<20))
	enough := errors.New("enough")
	b := transport.Batch{Op: transport.UpdateLarge, Root: root, Paths: []change.Path{"large"}, Progress: func(int64) {
		err := tr.Sweep(context.Background(), transport.Sweep{Root: root, Under: []change.Path{change.Root}}, func(transport.Difference) error { return enough })
		if !errors.Is(err, enough) {
			t.Errorf("sweep: %v", err)
		}
	}}
	send(t, tr, b)
}

// open counts the descriptors of this process.
func open(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), open(t)
	t.Run("work", func(t *testing.T) {
		r := newRig(t)
		way := newRelay(t, r.address)
		src, root := source(t)
		for i := range 40 {
			write(t, src, fmt.Sprint("f", i), random(100<<10))
			write(t, r.dir, fmt.Sprint("f", i), random(90<<10)) // a base, which is open while its file is wanted
		}
		for round := range 6 {
			tr := r.transport(Options{Dial: by(way)})
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					_, _ = tr.Apply(context.Background(), transport.Batch{Op: transport.UpdateContent, Root: root, Paths: all(t, src)})
				})
			}
			if round > 0 {
				way.after(up, int64(round)<<19, way.cutLocked)
			}
			both.Wait()
			way.calm()
			_ = tr.Sweep(context.Background(), transport.Sweep{Root: root, Under: []change.Path{change.Root}}, func(transport.Difference) error { return nil })
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	poll(t, "the end of goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
	poll(t, "the end of descriptors", func() bool { return open(t) <= files })
}
