// Package local is the transport to a directory of this machine: the native one, whose other side is in this process.
package local

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/receive/session"
	"sersync/internal/transport"
	"sersync/internal/transport/native"
)

// Options are what a directory needs.
type Options struct {
	// Dir is the directory, which must exist.
	Dir string
	// Durable, Xattrs and Trash are those of native.Options.
	Durable, Xattrs, Trash bool
	// Program is the version of this program.
	Program string
	Log     *slog.Logger
}

// Transport is a directory of this machine.
type Transport struct {
	*native.Transport
	o Options

	mu      sync.Mutex
	served  *served // guarded by mu: nil while nothing is open
	closing context.CancelFunc
	ctx     context.Context
}

// served is the directory as it was opened. Another one in its place is opened anew.
type served struct {
	directory *session.Directory
	id        fileID
	ctx       context.Context
	stop      context.CancelFunc
	wg        sync.WaitGroup
}

type fileID struct{ dev, ino uint64 }

// New makes a transport. It starts nothing.
func New(o Options) *Transport {
	t := &Transport{o: o}
	t.ctx, t.closing = context.WithCancel(context.Background())
	t.Transport = native.New(native.Options{Dial: t.dial, Target: o.Dir, Durable: o.Durable, Xattrs: o.Xattrs, Trash: o.Trash, Program: o.Program, Log: o.Log})
	return t
}

// dial makes a connection to this process.
func (t *Transport) dial(context.Context) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.open()
	if err != nil {
		return nil, &transport.Error{
			Kind: transport.Away, Err: err, Lost: true, Hint: "make the directory, or mount what belongs there",
		}
	}
	here, there, err := pair()
	if err != nil {
		return nil, err
	}
	s.wg.Go(func() {
		if err := s.directory.Serve(s.ctx, there, session.Sender{}); err != nil && t.o.Log != nil {
			t.o.Log.Warn("the connection to a directory ended", "target", t.o.Dir, "error", err)
		}
	})
	return here, nil
}

// open opens the directory, unless it is open. The caller holds mu.
func (t *Transport) open() (*served, error) {
	var st unix.Stat_t
	if err := unix.Stat(t.o.Dir, &st); err != nil {
		return nil, fmt.Errorf("look at target directory %q: %w", t.o.Dir, err)
	}
	id := fileID{st.Dev, st.Ino}
	if t.served != nil && t.served.id == id {
		return t.served, nil
	}
	t.end()
	tree, err := apply.Open(t.o.Dir, apply.Options{Owners: os.Geteuid() == 0, Devices: true, SetID: true, Log: t.o.Log})
	if err != nil {
		return nil, err
	}
	s := &served{directory: session.Open(tree, session.Options{Program: t.o.Program, Log: t.o.Log}), id: id}
	s.ctx, s.stop = context.WithCancel(t.ctx)
	t.served = s
	return s, nil
}

// end closes what is open. The caller holds mu.
func (t *Transport) end() {
	if t.served == nil {
		return
	}
	t.served.stop()
	t.served.wg.Wait()
	if err := t.served.directory.Close(); err != nil && t.o.Log != nil {
		t.o.Log.Warn("what was written to a directory may not be on its disk", "target", t.o.Dir, "error", err)
	}
	t.served = nil
}

// Close implements transport.Transport.
func (t *Transport) Close() error {
	err := t.Transport.Close()
	t.closing()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
	return err
}

// pair are two ends of a connection.
func pair() (here, there net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a connection: %w", err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "session")
		ends[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("make a connection: %w", err)
		}
	}
	return ends[0], ends[1], nil
}
