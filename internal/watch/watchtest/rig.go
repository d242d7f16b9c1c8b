package watchtest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
)

// patience bounds every wait.
const patience = 30 * time.Second

// Rig is a watched tree and a consumer of its events. Tests of one watcher alone use it too.
type Rig struct {
	// Dir is the root of the tree.
	Dir     string
	Root    *scan.Root
	Watcher watch.Watcher

	t      *testing.T
	mirror *mirror
	cancel context.CancelFunc
	ran    chan error

	mu     sync.Mutex
	moved  *sync.Cond // whenever one of the following changes
	queue  []watch.Event
	seen   []watch.Event
	busy   bool
	held   bool // the sink is to wait
	waits  bool // it does
	once   bool // but not at this call
	closed bool
	done   chan struct{}
}

// NewRig makes an empty tree, has it watched, and starts the consumer.
func NewRig(t *testing.T, open Open) *Rig {
	t.Helper()
	return newRig(t, open, filepath.Join(t.TempDir(), "root"))
}

func newRig(t *testing.T, open Open, dir string) *Rig {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	root, err := scan.OpenRoot(dir)
	must(t, err)
	watcher, err := open(root)
	must(t, err)
	r := &Rig{Dir: dir, Root: root, Watcher: watcher, t: t, ran: make(chan error, 1), done: make(chan struct{})}
	r.moved = sync.NewCond(&r.mu)
	r.mirror = &mirror{root: root, watcher: watcher, rows: make(map[change.Path]row)}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ran <- watcher.Run(ctx, r.sink) }()
	go r.consume()
	t.Cleanup(r.Close)
	r.push(watch.Event{Kind: watch.Look, Dir: true})
	r.Settle()
	return r
}

func (r *Rig) sink(events []watch.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.held && !r.once && !r.closed {
		r.waits = true
		r.moved.Broadcast()
		r.moved.Wait()
	}
	r.waits, r.once = false, false
	r.queue = append(r.queue, events...)
	r.seen = append(r.seen, events...)
	r.moved.Broadcast()
}

func (r *Rig) push(e watch.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, e)
	r.moved.Broadcast()
}

func (r *Rig) consume() {
	defer close(r.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(r.queue) == 0 && !r.closed {
			r.moved.Wait()
		}
		if r.closed {
			return
		}
		batch := r.queue
		r.queue, r.busy = nil, true
		r.mu.Unlock()
		for _, e := range batch {
			r.mirror.take(e)
		}
		r.mu.Lock()
		r.busy = false
		r.moved.Broadcast()
	}
}

// Settle returns when the consumer knows all that happened before the call.
func (r *Rig) Settle() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Watcher.Sync(ctx); err != nil {
		r.t.Fatalf("sync: %v", err)
	}
	r.Await("the consumer to be at rest", func() bool { return len(r.queue) == 0 && !r.busy })
}

// Await waits until cond holds. It is called with the lock of Seen held.
func (r *Rig) Await(what string, cond func() bool) {
	r.t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		late = true
		r.moved.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !cond() {
		if late {
			r.t.Fatalf("waited in vain for %s", what)
		}
		r.moved.Wait()
	}
}

// AwaitEvent waits for an event of the kind for p.
func (r *Rig) AwaitEvent(kind watch.Kind, p change.Path) {
	r.t.Helper()
	r.Await(kind.String()+" of "+p.String(), func() bool {
		return slices.ContainsFunc(r.seen, func(e watch.Event) bool { return e.Kind == kind && e.Path == p })
	})
}

// Seen returns the events since the last call.
func (r *Rig) Seen() []watch.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// Hold makes the sink block until the returned function is called.
func (r *Rig) Hold() (release func()) {
	r.set(true)
	return func() { r.set(false) }
}

// letOne lets one call of a held sink return.
func (r *Rig) letOne() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.once = true
	r.moved.Broadcast()
}

func (r *Rig) set(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	r.moved.Broadcast()
}

// Equal settles and checks that the consumer knows the tree as it is.
func (r *Rig) Equal() {
	r.t.Helper()
	r.Settle()
	if diff := r.mirror.differs(r.t, r.Dir); len(diff) > 0 {
		r.t.Fatalf("%d paths are not known as they are:\n%s", len(diff), strings.Join(diff[:min(len(diff), 20)], "\n"))
	}
}

// CoverErrors are the errors that Cover returned to the consumer since the last call.
func (r *Rig) CoverErrors() []error {
	r.mirror.mu.Lock()
	defer r.mirror.mu.Unlock()
	errs := r.mirror.errors
	r.mirror.errors = nil
	return errs
}

// Walk has the consumer look at everything at and below p.
func (r *Rig) Walk(p change.Path) {
	r.t.Helper()
	r.push(watch.Event{Path: p, Kind: watch.Look, Dir: true})
	r.Settle()
}

// Close ends all and checks that Run did not fail.
func (r *Rig) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	r.moved.Broadcast()
	r.mu.Unlock()
	r.cancel()
	<-r.done
	if err := <-r.ran; err != nil {
		r.t.Errorf("run: %v", err)
	}
	if err := r.Watcher.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
	r.Root.Close()
}
