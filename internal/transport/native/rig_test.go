package native

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/channel"
	"sersync/internal/receive/session"
	"sersync/internal/transport"
	"sersync/internal/transport/transporttest"
)

// rig is a receiver on a free port of the loopback interface: login and session, as "sersync receive" has them.
type rig struct {
	testing.TB
	dir      string
	readOnly string // why nothing may be changed
	address  string
	listener net.Listener
	login    *channel.Server
	tree     apply.Options
	serving  sync.WaitGroup

	mu     sync.Mutex
	server *session.Server
	stop   func()
}

const secret = "open sesame"

// newRig starts a receiver.
func newRig(t testing.TB) *rig { return newRigOf(t, t.TempDir(), session.Options{}) }

func newRigOf(t testing.TB, dir string, o session.Options) *rig {
	return newRigWith(t, dir, apply.Options{Owners: true, Devices: true, SetID: true}, o)
}

func newRigWith(t testing.TB, dir string, tree apply.Options, o session.Options) *rig {
	r := &rig{TB: t, dir: dir, tree: tree}
	var err error
	r.login, err = channel.NewServer(func(context.Context, string, string, net.Addr) (channel.Access, error) {
		return channel.Access{Secret: []byte(secret)}, nil
	}, channel.Certificates{})
	if err != nil {
		t.Fatal(err)
	}
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	r.address = r.listener.Addr().String()
	r.start(o)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.serving.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		r.listener.Close()
		accepting.Wait()
		r.stop()
	})
	return r
}

// start starts the server of the directory.
func (r *rig) start(o session.Options) {
	tree, err := apply.Open(r.dir, r.tree)
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.Program, o.Log = "there", slog.New(slog.DiscardHandler)
	server := session.New(tree, o)
	var running sync.WaitGroup
	running.Go(func() { server.Run(ctx) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = server
	r.stop = func() {
		cancel()
		running.Wait()
		tree.Close()
	}
}

func (r *rig) serve(conn net.Conn) {
	secured, _, err := r.login.Login(context.Background(), conn)
	if err != nil {
		return
	}
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	_ = server.Serve(context.Background(), secured, session.Sender{User: "u", ReadOnly: r.readOnly}) // it ends with the connection
}

// dial is the Dial of a transport.
func (r *rig) dial(ctx context.Context) (net.Conn, error) { return dialTo(ctx, r.address) }

func dialTo(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return channel.Client(ctx, conn, channel.Login{Module: "m", User: "u", Secret: []byte(secret)})
}

// by is the Dial of a transport that goes by a relay.
func by(r *relay) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return dialTo(ctx, r.address()) }
}

func (r *rig) transport(o Options) *Transport {
	if o.Dial == nil {
		o.Dial = r.dial
	}
	if o.Target == "" {
		o.Target = "test"
	}
	o.Program, o.Log = "here", slog.New(slog.DiscardHandler)
	return New(o)
}

// patience is how long a state is waited for. No test is about how long something takes.
const patience = time.Minute

// poll waits for a state.
func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// source is a directory to send, and the same open.
func source(t testing.TB) (string, *os.File) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

// write writes a file below dir, with parents.
func write(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// all are the paths of everything below dir.
func all(t testing.TB, dir string) []change.Path {
	t.Helper()
	var paths []change.Path
	for p := range transporttest.Tree(t, dir) {
		if p != "." {
			paths = append(paths, change.Path(p))
		}
	}
	return paths
}

// send applies a batch that must succeed, path by path.
func send(t testing.TB, tr transport.Transport, b transport.Batch) transport.Report {
	t.Helper()
	report, err := tr.Apply(context.Background(), b)
	if err != nil || len(report.Failed) > 0 {
		t.Fatalf("%v: %+v, %v", b.Op, report, err)
	}
	return report
}

// state is the state of the target that an error must be.
func state(t testing.TB, err error, kind transport.Kind) *transport.Error {
	t.Helper()
	var te *transport.Error
	if !errors.As(err, &te) || te.Kind != kind {
		t.Fatalf("error %v, want a target that is %v", err, kind)
	}
	return te
}
