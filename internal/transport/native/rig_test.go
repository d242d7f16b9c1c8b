package native

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"sersync/internal/apply"
	"sersync/internal/channel"
	"sersync/internal/receive/session"
)

// rig is a receiver on a free port of the loopback interface: login and session, as "sersync receive" has them.
type rig struct {
	testing.TB
	dir      string
	address  string
	listener net.Listener
	login    *channel.Server

	mu     sync.Mutex
	server *session.Server
	stop   func()
}

const secret = "open sesame"

func newRig(t testing.TB) *rig {
	r := &rig{TB: t, dir: t.TempDir()}
	var err error
	r.login, err = channel.NewServer(func(context.Context, string, string, net.Addr) (channel.Access, error) {
		return channel.Access{Secret: []byte(secret)}, nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	r.address = r.listener.Addr().String()
	r.start()
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := r.listener.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
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
func (r *rig) start() {
	tree, err := apply.Open(r.dir, apply.Options{Owners: true, Devices: true, SetID: true})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := session.New(tree, session.Options{Program: "there", Log: slog.New(slog.DiscardHandler)})
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
	_ = server.Serve(context.Background(), secured, "") // it ends with the connection
}

// dial is the Dial of a transport.
func (r *rig) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return nil, err
	}
	return channel.Client(ctx, conn, channel.Login{Module: "m", User: "u", Secret: []byte(secret)})
}

func (r *rig) transport(o Options) *Transport {
	if o.Dial == nil {
		o.Dial = r.dial
	}
	o.Target, o.Program, o.Log = "test", "here", slog.New(slog.DiscardHandler)
	return New(o)
}
