package replicate_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/transport/rsync"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/treetest"
	"sersync/internal/watch"
	"sersync/internal/watch/mixed"
)

// rig is a source that is replicated to the modules of a real rsync daemon.
type rig struct {
	t      testing.TB
	dir    string // of the source
	daemon *rsyncdtest.Daemon
	opts   replicate.Options
	src    *replicate.Source
	stop   func()
	logged *logBuffer
	// other is the directory of a target of another daemon, where a test has one.
	other string
}

// method is how the sources of all tests are watched that do not say it themselves. All of them run with the best one by:
// go test ./internal/replicate -watch=
var method = flag.String("watch", watch.Inotify, "how the source is watched; empty for the best way")

func (r *rig) watchedBy(opts mixed.Options) {
	opts.Log = r.opts.Log
	r.opts.NewWatcher = func(root *scan.Root) (watch.Watcher, error) { return mixed.New(root, opts) }
}

// byEach runs a test once for each way in which a source is watched.
func byEach(t *testing.T, test func(t *testing.T, by mixed.Options)) {
	for _, method := range []string{watch.Inotify, watch.Fanotify} {
		t.Run(method, func(t *testing.T) { test(t, mixed.Options{Method: method}) })
	}
}

// newRig makes a rig with one target, the module "one"; change changes the options before anything runs.
func newRig(t testing.TB, change func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), logged: &logBuffer{}}
	chroot := []string{"use chroot = yes"} // without it a daemon takes the first slash of a symlink away
	r.daemon = rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "one", Lines: chroot}, {Name: "two", Lines: chroot}, {Name: "three", Lines: chroot}}})
	log := slog.New(slog.NewTextHandler(io.MultiWriter(r.logged, t.Output()), nil))
	r.opts = replicate.Options{
		Name: "test", Path: r.dir, Log: log, Initial: true, GapEvery: time.Second,
	}
	r.watchedBy(mixed.Options{Method: *method})
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
	if change != nil {
		change(r)
	}
	return r
}

// noBudget is for tests whose writers remove at random.
func noBudget(r *rig) { r.opts.RemovalBudget = replicate.RemovalBudget{Off: true} }

// target describes a module of the daemon.
func (r *rig) target(module string, change func(*rsync.Options)) replicate.TargetOptions {
	r.t.Helper()
	o := rsync.Options{
		Host: r.daemon.Host(), Port: r.daemon.Port(), User: rsyncdtest.User, Module: module,
		PasswordFile: r.daemon.PasswordFile(), Timeout: 5 * time.Second, ConnectTimeout: 2 * time.Second,
		Log: r.opts.Log,
	}
	if change != nil {
		change(&o)
	}
	tr, err := rsync.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return replicate.TargetOptions{Name: module, Transport: tr, Identity: module}
}

// start runs the source until the test ends or stop is called.
func (r *rig) start() {
	r.t.Helper()
	src, err := replicate.New(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	r.src = src
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("run source: %v", err)
			}
		case <-time.After(30 * time.Second):
			r.t.Error("the source did not stop")
		}
	})
	r.t.Cleanup(r.stop)
	select {
	case <-src.Ready():
	case <-time.After(10 * time.Second):
		r.t.Fatal("the source did not become ready")
	}
}

func (r *rig) wait(targets ...string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := r.src.Wait(ctx, targets...); err != nil {
		r.t.Fatalf("wait for targets %q: %v; status %+v", targets, err, r.src.Status())
	}
}

// equal waits, and compares the module with the source.
func (r *rig) equal(module string) {
	r.t.Helper()
	r.wait(module)
	treetest.Equal(r.t, r.dir, r.daemon.Dir(module), ofOurs)
}

// ofOurs are names that wait on a target of our own until all is on its disk.
func ofOurs(rel string) bool { return strings.HasPrefix(filepath.Base(rel), filter.TempPrefix) }

// eventually polls until ok is true.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-late:
			r.t.Fatalf("never: %s; status %+v", what, r.src.Status())
		case <-tick.C:
		}
	}
}

// write writes a file of the source, with its directories.
func (r *rig) write(rel, content string) {
	r.t.Helper()
	p := filepath.Join(r.dir, rel)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// there reads a file of a module; "" when it is not there.
func (r *rig) there(module, rel string) string {
	b, _ := os.ReadFile(filepath.Join(r.daemon.Dir(module), rel))
	return string(b)
}

func (r *rig) exists(module, rel string) bool {
	_, err := os.Lstat(filepath.Join(r.daemon.Dir(module), rel))
	return err == nil
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
