package watchtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/watch"
)

// testMovedWhileCovered: a walk has opened a directory and is late: when it covers it by the path it came by,
// the directory is elsewhere, and covered there already.
func testMovedWhileCovered(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("a/in")
	r.Equal()
	dir, err := r.Root.OpenDir("a")
	must(t, err)
	defer dir.Close()
	r.Rename("a", "b")
	r.Equal()
	if err := r.Watcher.Cover(int(dir.Fd()), "a"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cover by the old path: %v", err)
	}
	if gaps := r.Watcher.Status().Gaps; len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
	r.Write("b/f", "x")
	r.Write("b/in/f", "x")
	r.Equal()

	// Another directory is at the old path.
	r.Mkdir("a/in")
	r.Equal()
	_ = r.Watcher.Cover(int(dir.Fd()), "a")
	r.Write("a/in/f", "x")
	r.Write("b/in/f", "xx")
	r.Equal()
}

func testGoneWhileCovered(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("a")
	r.Equal()
	dir, err := r.Root.OpenDir("a")
	must(t, err)
	defer dir.Close()
	must(t, os.Remove(r.Path("a")))
	if err := r.Watcher.Cover(int(dir.Fd()), "a"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cover what is gone: %v", err)
	}
	if gaps := r.Watcher.Status().Gaps; len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
	r.Equal()
}

func testRootMoved(t *testing.T, open Open) {
	r := NewRig(t, open)
	must(t, os.Rename(r.Dir, r.Dir+".away"))
	r.AwaitEvent(watch.RootGone, change.Root)
}

func testRootRemoved(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("a/b")
	r.Equal()
	must(t, os.RemoveAll(r.Dir))
	r.AwaitEvent(watch.RootGone, change.Root)
}

// testSync: what was done before a Sync is seen after it, while others keep the watcher busy.
func testSync(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("busy")
	r.Mkdir("mine")
	r.Settle()
	quit := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
				_ = os.WriteFile(r.Path("busy/"+strconv.Itoa(i%100)), []byte("x"), 0o644)
			}
		}
	})
	defer busy.Wait()
	defer close(quit)
	for i := range 100 {
		name := "mine/" + strconv.Itoa(i)
		r.Write(name, "x")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := r.Watcher.Sync(ctx)
		cancel()
		must(t, err)
		if !slices.ContainsFunc(r.Seen(), func(e watch.Event) bool { return e.Kind == watch.Closed && e.Path == change.Path(name) }) {
			t.Fatalf("the close of %s was not seen when Sync returned", name)
		}
	}
}

func testSyncBehindSink(t *testing.T, open Open) {
	r := NewRig(t, open)
	for i := range 20 {
		r.Seen()
		release := r.Hold()
		r.Write("first", "x")
		r.Await("the sink to be called", func() bool { return r.waits })
		last := "last" + strconv.Itoa(i)
		r.Write(last, "x")
		synced := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		go func() { synced <- r.Watcher.Sync(ctx) }()
		notYet := func() {
			t.Helper()
			select {
			case err := <-synced:
				t.Fatalf("sync returned before the sink did: %v", err)
			case <-time.After(5 * time.Millisecond):
			}
		}
		notYet()
		r.letOne()
		notYet()
		release()
		err := <-synced
		cancel()
		must(t, err)
		if !slices.ContainsFunc(r.Seen(), func(e watch.Event) bool { return e.Kind == watch.Closed && e.Path == change.Path(last) }) {
			t.Fatalf("the close of %s was not seen when Sync returned", last)
		}
	}
}

func testSyncContext(t *testing.T, open Open) {
	r := NewRig(t, open)
	defer r.Hold()()
	r.Write("f", "x")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := r.Watcher.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sync of a watcher whose sink blocks: %v", err)
	}
}

func testCoverBesideSink(t *testing.T, open Open) {
	r := NewRig(t, open)
	r.Mkdir("d")
	r.Settle()
	release := r.Hold()
	r.Write("f", "x")
	dir, err := r.Root.OpenDir("d")
	must(t, err)
	defer dir.Close()
	covered := make(chan error, 1)
	go func() { covered <- r.Watcher.Cover(int(dir.Fd()), "d") }()
	select {
	case err := <-covered:
		must(t, err)
	case <-time.After(patience):
		t.Error("cover waits for the sink")
	}
	release()
	r.Equal()
}

func testLeaks(t *testing.T, open Open) {
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(names)
	}
	dir := t.TempDir() + "/root"
	before, running := descriptors(), runtime.NumGoroutine()
	for range 5 {
		r := newRig(t, open, dir)
		r.Mkdir("a/b/c")
		r.Write("a/b/c/f", "x")
		r.Equal()
		r.Close()
		must(t, os.RemoveAll(r.Path("a")))
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if after := runtime.NumGoroutine(); after > running {
		t.Errorf("%d goroutines before, %d after", running, after)
	}
}
