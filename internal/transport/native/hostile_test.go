package native

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// impostor is a receiver that says what it likes: answer is called with each message that comes in after the greeting, which is nil for the first one.
type impostor struct {
	*testing.T
	tr *Transport
}

func newImpostor(t *testing.T, welcome wire.Message, answer func(m wire.Message, say func(wire.Message) error) error) *impostor {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				r, w := wire.NewReader(wire.NewUnpacker(nc)), wire.NewWriter(nc)
				say := func(m wire.Message) error { return errors.Join(w.Write(m), w.Flush()) }
				if _, err := r.Read(); err != nil || say(welcome) != nil {
					return
				}
				for {
					m, err := r.Read()
					if err != nil || answer(m, say) != nil {
						return
					}
				}
			})
		}
	})
	tr := New(Options{Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}, Target: "t"})
	t.Cleanup(func() {
		tr.Close()
		l.Close()
		serving.Wait()
	})
	return &impostor{t, tr}
}

var welcome = &wire.Welcome{Version: wire.Version, Facts: wire.Facts{Granularity: 1}}

func TestAReceiverOfAnotherVersionIsToldFromOneThatIsAway(t *testing.T) {
	nothing := func(wire.Message, func(wire.Message) error) error { return nil }
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	b := transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}
	for _, v := range []int{wire.Oldest - 1, wire.Version + 1} {
		_, err := newImpostor(t, &wire.Welcome{Version: v, Facts: welcome.Facts}, nothing).tr.Apply(t.Context(), b)
		if te := state(t, err, transport.Broken); te.Hint == "" {
			t.Errorf("%v has no hint", te)
		}
	}
	refusal := &wire.Refused{Kind: transport.Misconfigured, Text: "no version in common", Hint: "do\nthis"}
	_, err := newImpostor(t, refusal, nothing).tr.Apply(t.Context(), b)
	if te := state(t, err, transport.Misconfigured); te.Hint != "do?this" {
		t.Errorf("%v has the hint %q", te, te.Hint)
	}
}

// endless has something said again and again once a message of a type came.
func endless[T wire.Message](say func(i int) wire.Message) func(wire.Message, func(wire.Message) error) error {
	return func(m wire.Message, send func(wire.Message) error) error {
		if _, ok := m.(T); !ok {
			return nil
		}
		for i := 0; ; i++ {
			if err := send(say(i)); err != nil {
				return err
			}
		}
	}
}

func TestWhatAReceiverSaysWithoutEndEndsTheConnection(t *testing.T) {
	src, root := source(t)
	write(t, src, "small", []byte("x"))
	write(t, src, "large", random(200<<10))
	signature := make([]byte, 60<<10)
	piece := make([]wire.Listed, wire.MaxListed)
	for i := range piece {
		piece[i] = wire.Listed{Name: fmt.Sprint("name", i), Attr: wire.Attr{Mode: unix.S_IFDIR}}
	}
	for name, answer := range map[string]func(wire.Message, func(wire.Message) error) error{
		"results":            endless[*wire.Entry](func(int) wire.Message { return &wire.Result{Index: 0, Outcome: wire.Changed} }),
		"limits":             endless[*wire.Entry](func(int) wire.Message { return &wire.Result{Index: 0, Outcome: wire.Limited} }),
		"results of nothing": endless[*wire.Entry](func(i int) wire.Message { return &wire.Result{Index: 1000} }),
		"signatures":         endless[*wire.Entry](func(int) wire.Message { return &wire.Want{Index: 0, Signature: signature} }),
		"wants":              endless[*wire.Entry](func(int) wire.Message { return &wire.Want{Index: 0, Last: true} }),
		"ends":               endless[*wire.Entry](func(int) wire.Message { return &wire.Done{} }),
		"batches on a disk":  endless[*wire.Entry](func(i int) wire.Message { return &wire.Durable{Batch: uint64(i)} }),
		"greetings":          endless[*wire.Entry](func(int) wire.Message { return welcome }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newImpostor(t, welcome, answer).tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"large", "small"}})
			var te *transport.Error
			if !errors.As(err, &te) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	for name, answer := range map[string]func(wire.Message, func(wire.Message) error) error{
		"listings of one name": endless[*wire.Dir](func(int) wire.Message { return &wire.Listing{Entries: piece} }),
		"empty listings":       endless[*wire.Dir](func(int) wire.Message { return &wire.Listing{} }),
		"answers":              endless[*wire.Dir](func(int) wire.Message { return &wire.Listing{Equal: true, Last: true} }),
		"names that leave": endless[*wire.Dir](func(int) wire.Message {
			return &wire.Listing{Last: true, Entries: []wire.Listed{{Attr: wire.Attr{Mode: unix.S_IFDIR}}, {Name: "../f", Attr: wire.Attr{Mode: unix.S_IFREG}}}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			// Nobody takes what is found: it does not gather either.
			block := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(block) })
			err := newImpostor(t, welcome, answer).tr.Sweep(t.Context(), transport.Sweep{Root: root, Under: []change.Path{change.Root}, Extras: true},
				func(transport.Difference) error {
					<-block
					return nil
				})
			state(t, err, transport.Broken)
		})
	}
}

// A directory over there in which there are always more directories.
func TestATreeWithoutEndIsComparedInBoundedMemory(t *testing.T) {
	_, root := source(t)
	next, room, waiting := 0, wire.MaxListings, 0
	answer := func(m wire.Message, say func(wire.Message) error) error {
		switch m := m.(type) {
		case *wire.Dir:
			waiting++
		case *wire.More:
			room += m.Listings
		}
		for waiting > 0 && room > 0 {
			waiting--
			room--
			if err := say(another(&next)); err != nil {
				return err
			}
		}
		return nil
	}
	enough := errors.New("enough")
	found := 0
	err := newImpostor(t, welcome, answer).tr.Sweep(t.Context(), transport.Sweep{Root: root, Under: []change.Path{change.Root}, Extras: true},
		func(transport.Difference) error {
			if found++; found == 1<<20 {
				return enough
			}
			return nil
		})
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if !errors.Is(err, enough) {
		t.Errorf("sweep: %v after %d", err, found)
	}
	if m.HeapAlloc > 1<<30 {
		t.Errorf("%d MiB are in use", m.HeapAlloc>>20)
	}
}

// another is a directory with new directories.
func another(next *int) *wire.Listing {
	l := &wire.Listing{Last: true, Entries: []wire.Listed{{Attr: wire.Attr{Mode: unix.S_IFDIR}}}}
	for len(l.Entries) < wire.MaxListed {
		*next++
		l.Entries = append(l.Entries, wire.Listed{Name: fmt.Sprintf("%09d", *next), Attr: wire.Attr{Mode: unix.S_IFDIR}})
	}
	return l
}

// noise is any message that a receiver may say, with numbers that nearly fit.
func noise(rnd *rand.Rand) wire.Message {
	switch rnd.IntN(9) {
	case 0, 1:
		return &wire.Result{Index: rnd.IntN(6), Outcome: wire.Outcome(rnd.IntN(5)), Sent: rnd.IntN(2) == 0, Text: "\x1b[31m"}
	case 2, 3:
		return &wire.Want{Index: rnd.IntN(6), Last: rnd.IntN(2) == 0, Signature: make([]byte, rnd.IntN(30))}
	case 4:
		return &wire.Done{}
	case 5:
		return &wire.Refused{Kind: transport.Kind(rnd.IntN(len(transport.Kinds()))), Lost: rnd.IntN(2) == 0}
	case 6:
		return &wire.Durable{Batch: rnd.Uint64N(3)}
	case 7:
		return &wire.Listing{Equal: rnd.IntN(2) == 0, Absent: rnd.IntN(3) == 0, Unknown: rnd.IntN(3) == 0, Last: rnd.IntN(2) == 0}
	}
	return &wire.Alive{}
}

func TestChaosFromAReceiverEndsEachCall(t *testing.T) {
	src, root := source(t)
	for i := range 3 {
		write(t, src, fmt.Sprint("small", i), []byte("x"))
		write(t, src, fmt.Sprint("large", i), random(200<<10))
	}
	paths := all(t, src)
	for seed := range uint64(200) {
		var mu sync.Mutex
		rnd := rand.New(rand.NewPCG(seed, 4))
		answer := func(_ wire.Message, say func(wire.Message) error) error {
			mu.Lock()
			defer mu.Unlock()
			if rnd.IntN(40) == 0 {
				return errors.New("enough")
			}
			return say(noise(rnd))
		}
		tr := newImpostor(t, welcome, answer).tr
		for _, op := range []transport.Op{transport.Update, transport.UpdateLarge, transport.Remove} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // it may wait for an answer
			_, _ = tr.Apply(ctx, transport.Batch{Op: op, Root: root, Paths: paths})
			cancel()
			tr.Synced()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_ = tr.Sweep(ctx, transport.Sweep{Root: root, Under: []change.Path{change.Root}, Extras: true}, func(transport.Difference) error { return nil })
		cancel()
	}
}
