package receive

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Child is what a process does that Run started, by the words behind Options.Child. It returns when its clients are gone.
//
// It must be called before anything is read from the disk, where there is nothing, and before signals are waited for: those that reach a
// whole group of processes are for the parent to act on.
func Child(args []string, plugs Plugs) error {
	if len(args) == 0 || !inherited() {
		return errors.New("only sersync receive starts this")
	}
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	if err := hide(); err != nil {
		return err
	}
	parent, err := controlOf(os.NewFile(controlFD, "control"))
	if err != nil {
		return err
	}
	root := os.NewFile(rootFD, "root")
	if err := moveInto(root); err != nil {
		return err
	}
	if err := parent.send(message{Kind: kindReady}, nil); err != nil {
		return fmt.Errorf("tell that it is ready: %w", err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config := gob.NewDecoder(os.NewFile(configFD, "config"))
	if args[0] == "front" {
		root.Close()
		return front(parent, config, plugs.Login, log)
	}
	return inModule(parent, config, plugs.Open, Place{Root: root, Log: log})
}

// inherited reports whether we were given what a process of a receiver is given.
func inherited() bool {
	kind, err := unix.GetsockoptInt(controlFD, unix.SOL_SOCKET, unix.SO_TYPE)
	var st unix.Stat_t
	return err == nil && kind == unix.SOCK_SEQPACKET &&
		unix.Fstat(configFD, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO &&
		unix.Fstat(rootFD, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// inModule is the process of a module.
func inModule(parent *control, from *gob.Decoder, open func(Place) (Serve, func() error, error), at Place) (err error) {
	var config moduleConfig
	if err := from.Decode(&config); err != nil {
		return fmt.Errorf("read configuration of module: %w", err)
	}
	at.Module, at.Jailed, at.Owns = config.Module, config.Jailed, config.Owns
	next := uintptr(firstFD)
	if config.Proc {
		at.Proc = os.NewFile(next, "proc")
		next++
	}
	w := &way{tell: func() { _ = parent.send(message{Kind: kindMoved}, nil) }}
	if config.Watched {
		w.watch = os.NewFile(next, "way")
	}
	at.Moved = w.moved
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	serve, end, err := open(at)
	if err != nil {
		return fmt.Errorf("open module %q: %w", at.Module.Name, err)
	}
	defer func() { err = errors.Join(err, end()) }()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer cancel() // before the wait
	for {
		m, stream, err := parent.receive()
		if err != nil {
			return nil // the parent wants us to end
		}
		if stream == nil {
			continue
		}
		conn, err := streamOf(stream)
		if err != nil {
			return err
		}
		sessions.Go(func() {
			session(ctx, serve, conn, m, at.Log)
			_ = parent.send(message{Kind: kindEnded, ID: m.ID}, nil) // a parent that is gone counts nothing
		})
	}
}

// session serves one client.
func session(ctx context.Context, serve Serve, conn net.Conn, m message, log *slog.Logger) {
	defer conn.Close()
	log = log.With("client", m.Address, "user", m.User)
	log.Info("client connected", "read_only", m.ReadOnly != "")
	err := serve(ctx, conn, Session{User: m.User, Address: m.Address, ReadOnly: m.ReadOnly})
	switch {
	case err == nil || ctx.Err() != nil:
		log.Info("client gone")
	default:
		log.Warn("session failed", "error", err)
	}
}
