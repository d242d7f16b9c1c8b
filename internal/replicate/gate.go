package replicate

import (
	"context"
	"sync"
	"time"
)

// gate holds a sender back while its target is paused. What was in flight before is finished.
type gate struct {
	mu sync.Mutex
	// since is when the target was paused; zero when it is not.
	since time.Time
	// inFlight counts what is being handed to the transport.
	inFlight int
	// open ends when the target is paused, by shut. resumed is closed when it is paused no more.
	open    context.Context
	shut    context.CancelFunc
	resumed chan struct{}
}

func newGate() *gate {
	g := &gate{resumed: make(chan struct{})}
	close(g.resumed)
	g.open, g.shut = context.WithCancel(context.Background())
	return g
}

// pause reports whether the target was not paused before.
func (g *gate) pause() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.since.IsZero() {
		return false
	}
	g.since = time.Now()
	g.resumed = make(chan struct{})
	g.shut()
	return true
}

// resume reports whether the target was paused.
func (g *gate) resume() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since.IsZero() {
		return false
	}
	g.since = time.Time{}
	g.open, g.shut = context.WithCancel(context.Background())
	close(g.resumed)
	return true
}

// enter reports whether something may be sent; then it is in flight until leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.since.IsZero() {
		return false
	}
	g.inFlight++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
}

// paused says since when the target is paused, the zero time when it is not, and whether something is still in flight.
func (g *gate) paused() (since time.Time, inFlight bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since, g.inFlight > 0
}

// opens is closed when the target is not paused, or not paused any more.
func (g *gate) opens() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.resumed
}

// shuts is closed when the target is paused, or was since the call.
func (g *gate) shuts() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open.Done()
}

// wait waits while the target is paused. It reports whether ctx goes on.
func (g *gate) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
	case <-g.opens():
	}
	return ctx.Err() == nil
}

// within is a context that ends when the target is paused.
func (g *gate) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	g.mu.Lock()
	stop := context.AfterFunc(g.open, cancel)
	g.mu.Unlock()
	return ctx, func() {
		stop()
		cancel()
	}
}
