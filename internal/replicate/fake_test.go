package replicate_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

// fakeWatcher hands out what the test says; so time can be faked, which a real descriptor does not allow.
type fakeWatcher struct {
	events chan []watch.Event
	// asked are calls of Sync.
	asked chan chan struct{}
}

func newFakeWatcher() *fakeWatcher {
	return &fakeWatcher{events: make(chan []watch.Event), asked: make(chan chan struct{})}
}

func (w *fakeWatcher) Run(ctx context.Context, sink func([]watch.Event)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case events := <-w.events:
			sink(events)
		case done := <-w.asked:
			close(done)
		}
	}
}

func (w *fakeWatcher) Sync(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case w.asked <- done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *fakeWatcher) Cover(int, change.Path) error { return nil }
func (w *fakeWatcher) Status() watch.Status         { return watch.Status{Watches: 1} }
func (w *fakeWatcher) Close() error                 { return nil }

// call is one call of a transport.
type call struct {
	at    time.Time
	op    transport.Op
	paths []change.Path
}

// fakeTransport is a target in memory with a schedule of faults.
type fakeTransport struct {
	mu    sync.Mutex
	calls []call
	// apply is what becomes of a batch; nil takes everything.
	apply func(context.Context, transport.Batch) (transport.Report, error)
	// sweep is what a comparison finds; nil finds nothing.
	sweep  func(ctx context.Context, s transport.Sweep, yield func(transport.Difference) error) error
	closed int
}

func (f *fakeTransport) Apply(ctx context.Context, b transport.Batch) (transport.Report, error) {
	f.mu.Lock()
	f.calls = append(f.calls, call{time.Now(), b.Op, b.Paths})
	apply := f.apply
	f.mu.Unlock()
	if apply == nil {
		return transport.Report{Files: len(b.Paths)}, nil
	}
	return apply(ctx, b)
}

func (f *fakeTransport) Sweep(ctx context.Context, s transport.Sweep, yield func(transport.Difference) error) error {
	f.mu.Lock()
	sweep := f.sweep
	f.mu.Unlock()
	if sweep == nil {
		return nil
	}
	return sweep(ctx, s, yield)
}

func (f *fakeTransport) Check(context.Context) (transport.Facts, error) {
	return transport.Facts{}, nil
}

func (f *fakeTransport) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

// set replaces what becomes of batches.
func (f *fakeTransport) set(apply func(context.Context, transport.Batch) (transport.Report, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.apply = apply
}

// take returns the calls so far and forgets them.
func (f *fakeTransport) take() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

// fake is a source in a real directory, with a fake watcher and fake targets; it lives in a bubble of synctest.
type fake struct {
	*testing.T
	dir     string
	watcher *fakeWatcher
	opts    replicate.Options
	src     *replicate.Source
	targets map[string]*fakeTransport
	stop    func()
}

// inBubble runs body with a source that is watched and at rest. What it leaves running fails the test.
func inBubble(t *testing.T, change func(*fake), body func(*fake)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{T: t, dir: dir, watcher: newFakeWatcher(), targets: map[string]*fakeTransport{}}
		f.opts = replicate.Options{
			Name: "test", Path: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			NewWatcher: func(*scan.Root) (watch.Watcher, error) { return f.watcher, nil },
		}
		f.target("one")
		if change != nil {
			change(f)
		}
		src, err := replicate.New(f.opts)
		if err != nil {
			t.Fatal(err)
		}
		f.src = src
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- src.Run(ctx) }()
		<-time.After(time.Second) // of the bubble: the first walk is over
		for _, tr := range f.targets {
			tr.take() // the root's own attributes
		}
		f.stop = sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run source: %v", err)
			}
		})
		body(f)
		f.stop()
		for name, tr := range f.targets {
			if tr.closed != 1 {
				t.Errorf("the transport of %q was closed %d times", name, tr.closed)
			}
		}
	})
}

// target adds a target to the options.
func (f *fake) target(name string) *fakeTransport {
	tr := &fakeTransport{}
	f.targets[name] = tr
	f.opts.Targets = append(f.opts.Targets, replicate.TargetOptions{Name: name, Identity: name, Transport: tr})
	return tr
}

// write writes files of the source and says so to the watcher.
func (f *fake) write(names ...string) {
	f.Helper()
	for _, name := range names {
		p := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(name), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	f.happened(watch.Closed, names...)
}

// remove removes files of the source and says so.
func (f *fake) remove(names ...string) {
	f.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
			f.Fatal(err)
		}
	}
	f.happened(watch.Removed, names...)
}

func (f *fake) happened(kind watch.Kind, names ...string) {
	var events []watch.Event
	for _, name := range names {
		events = append(events, watch.Event{Path: change.Path(name), Kind: kind, At: time.Now()})
	}
	f.watcher.events <- events
}

// rest lets d go by.
func (f *fake) rest(d time.Duration) {
	<-time.After(d) // of the bubble
	synctest.Wait()
}
