package receive

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// loginPatience is how long a client may take to log in.
	loginPatience = 15 * time.Second
	// maxClients is how many connections there are at the most, logged in or not.
	maxClients = 4096
	// acceptPause is how long nothing is accepted when descriptors have run out.
	acceptPause = 100 * time.Millisecond
)

// frontProcess lets clients log in.
type frontProcess struct {
	modules map[string]*Module
	login   Login
	broker  *caller
	log     *slog.Logger
	gate    *gate
	clients sync.WaitGroup

	mu      sync.Mutex
	refused map[string]*Refusal // guarded by mu: by the address of the client, while it logs in
}

// front is the process that clients connect to.
func front(parent *control, from *gob.Decoder, login func(Auth, Certificates) (Login, error), log *slog.Logger) error {
	var config frontConfig
	if err := from.Decode(&config); err != nil {
		return fmt.Errorf("read configuration of front: %w", err)
	}
	f := &frontProcess{
		modules: make(map[string]*Module), log: log, gate: newGate(log), refused: make(map[string]*Refusal),
		broker: &caller{control: parent, waiting: make(map[uint64]chan<- reply)},
	}
	for i := range config.Modules {
		f.modules[config.Modules[i].Name] = &config.Modules[i]
	}
	var err error
	if f.login, err = login(f.auth, config.Certificates); err != nil {
		return fmt.Errorf("prepare login: %w", err)
	}
	file := os.NewFile(firstFD, "listener")
	listener, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("use listening socket: %w", err)
	}
	file.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// To close it here leaves it open in the parent, and so for the next front.
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	go func() {
		defer cancel()
		f.answers(parent)
	}()
	f.accept(ctx, listener)
	f.clients.Wait()
	return nil
}

// answers hands out what the parent answers, until it wants us to end.
func (f *frontProcess) answers(parent *control) {
	for {
		m, stream, err := parent.receive()
		if err != nil {
			return
		}
		f.broker.answered(m, stream)
	}
}

func (f *frontProcess) accept(ctx context.Context, listener net.Listener) {
	failing := false
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return
		case err != nil:
			if !failing {
				f.log.Error("no connection can be accepted", "error", err)
			}
			failing = true
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		failing = false
		from := addressOf(conn.RemoteAddr())
		if !f.welcome(from) || !f.gate.enter(from) {
			conn.Close()
			continue
		}
		f.clients.Go(func() { f.client(ctx, conn, from) })
	}
}

// welcome reports whether there is a module for somebody from there. All others need not be talked to.
func (f *frontProcess) welcome(from netip.Addr) bool {
	for _, m := range f.modules {
		if m.Hosts.byAddress(from) != no {
			return true
		}
	}
	f.gate.unwelcome(from)
	return false
}

func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// client lets one client in, and is its way to the module until it goes.
func (f *frontProcess) client(ctx context.Context, conn net.Conn, from netip.Addr) {
	defer f.gate.leave()
	defer conn.Close()
	secured, peer, err := f.letIn(ctx, conn, from)
	if err != nil {
		return // that is told
	}
	defer secured.Close()
	stream, err := f.open(ctx, peer, conn.RemoteAddr())
	switch {
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		f.log.Warn("client that logged in was sent away", "client", from, "module", peer.Module, "user", peer.User, "error", err)
		return
	}
	defer stream.Close()
	relay(secured, stream)
}

// letIn waits as long as failures from there demand, and has the client log in.
func (f *frontProcess) letIn(ctx context.Context, conn net.Conn, from netip.Addr) (net.Conn, Peer, error) {
	defer f.gate.loggedIn(from)
	ctx, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	if err := f.gate.wait(ctx, from); err != nil {
		return nil, Peer{}, err
	}
	address := conn.RemoteAddr().String()
	secured, peer, err := f.login(ctx, conn)
	f.mu.Lock()
	refusal := f.refused[address]
	delete(f.refused, address)
	f.mu.Unlock()
	switch {
	case err == nil:
		f.gate.succeeded(from)
	case refusal != nil:
		f.gate.refused(from, peer, refusal)
	case errors.Is(err, context.Canceled):
	case errors.Is(err, ErrCut):
		f.gate.cut(from, peer, err)
	default:
		f.gate.failed(from, peer, err)
	}
	return secured, peer, err
}

// auth says what a client has to prove.
func (f *frontProcess) auth(ctx context.Context, module, user string, from net.Addr) (Grant, error) {
	grant, err := f.grant(ctx, module, user, from)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		f.mu.Lock()
		f.refused[from.String()] = refusal
		f.mu.Unlock()
	}
	return grant, err
}

func (f *frontProcess) grant(ctx context.Context, module, user string, from net.Addr) (Grant, error) {
	m := f.modules[module]
	if m == nil {
		return Grant{}, unknownModule(module)
	}
	if addr := addressOf(from); m.Hosts.byAddress(addr) == no {
		return Grant{}, notAllowed(m, addr)
	}
	if _, err := f.broker.call(ctx, message{Kind: kindAsk, Module: module, Address: from.String()}); err != nil {
		return Grant{}, err
	}
	if m.Certified {
		if allowed, _ := m.rights(user); !allowed {
			return Grant{}, refuse(NotAllowed, "user %q may not log in to module %q", user, module)
		}
	}
	return Grant{Open: m.Anonymous, Certified: m.Certified, Secret: []byte(m.secret(user))}, nil
}

// open has the broker connect us with the process of the module.
func (f *frontProcess) open(ctx context.Context, peer Peer, from net.Addr) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	file, err := f.broker.call(ctx, message{Kind: kindOpen, Module: peer.Module, User: peer.User, Address: from.String()})
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, errors.New("open module: the answer has no stream")
	}
	return streamOf(file)
}
