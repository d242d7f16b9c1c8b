// Package receive is the target of the path of one change: the server that a sender of sersync logs in to, in the place of `rsync --daemon`.
//
// It is several processes. The one that was started as root reads the configuration, and then only brokers: it starts the others and hands
// descriptors from one to the other. The front takes connections and lets clients log in; it may open no file, and knows
// the secrets. Each module that is in use has a process of its own, which can name nothing but the directory of
// the module, has the rights of the module's user, and parses what clients send that have proved who they are.
//
// The front copies what a client sends to the process of its module. So the keys of the connection and the files of the module are never in one process.
package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/confine"
)

const (
	// grace is how long sessions may take to come to their end.
	grace = 10 * time.Second
	// maxAnswers is how many questions of fronts are answered at the same time.
	maxAnswers = 1024
)

// Options are what a receiver is given.
type Options struct {
	Config *Config
	// Load reads the configuration again, for each word of Reload.
	Load   func() (*Config, error)
	Reload <-chan os.Signal
	// Child are the arguments by which this program calls Child, without the words that follow them.
	Child []string
	Log   *slog.Logger
	// Listening is told where clients can connect, once they can. It may be nil.
	Listening func(net.Addr)
}

// broker is the process that starts the others.
type broker struct {
	o       Options
	program *os.File // this program, whatever its name is by now
	null    *os.File
	nothing *os.File // an empty directory, the root of fronts
	proc    *os.File // for modules; nil when it cannot be had
	// processes is /proc.
	processes *os.File
	// landlock and jails say what processes are locked in by.
	landlock, jails bool
	listener        *os.File
	running         sync.WaitGroup
	answers         chan struct{}

	mu      sync.Mutex
	config  *Config             // guarded by mu
	modules map[string]*module  // guarded by mu; by name
	retired map[string]*process // guarded by mu; by name: those of modules as they were before
	alive   map[*process]bool   // guarded by mu: those that are to be waited for
	ending  bool                // guarded by mu: nothing new
	last    uint64              // guarded by mu: the last session
}

// Run serves until ctx ends, and returns when all processes are gone.
func Run(ctx context.Context, o Options) error {
	b := &broker{
		o: o, config: o.Config, modules: make(map[string]*module), retired: make(map[string]*process), alive: make(map[*process]bool),
		answers: make(chan struct{}, maxAnswers),
	}
	// The secrets are here too.
	if err := hide(); err != nil {
		return err
	}
	defer b.closeFiles()
	if err := b.openFiles(); err != nil {
		return err
	}
	pid, err := writePIDFile(o.Config.PIDFile)
	if err != nil {
		return err
	}
	defer pid.remove()
	address, err := b.listen(ctx)
	if err != nil {
		return err
	}
	err = b.keepFront(ctx, func() {
		o.Log.Info("listening", "address", address, "modules", len(o.Config.Modules))
		if o.Listening != nil {
			o.Listening(address)
		}
	})
	return errors.Join(err, b.end())
}

// openFiles opens what processes are given, while names still lead to it.
func (b *broker) openFiles() (err error) {
	if b.processes, err = os.OpenFile("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("find own processes: %w", err)
	}
	if b.program, err = os.OpenFile("/proc/"+ownProgram, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if b.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return err
	}
	if b.nothing, err = emptyDir(); err != nil {
		return err
	}
	if _, err := confine.ABI(); err != nil {
		b.o.Log.Warn("processes are not confined by landlock", "error", err)
	} else {
		b.landlock = true
	}
	switch {
	case !privileged():
		b.o.Log.Warn("not root: all modules have the rights of this user, and processes are locked in by landlock alone")
		return nil
	case len(have(unix.CAP_SYS_CHROOT)) == 0 || len(libraries) > 0:
		b.o.Log.Warn("processes are locked in by landlock alone, which leaves owners and modes of other files to them", "remedy", "give CAP_SYS_CHROOT, and a program that was built without cgo")
		return nil
	}
	b.jails = true
	if b.proc, err = detachedProc(); err != nil {
		b.o.Log.Info("modules have no /proc", "error", err)
	}
	return nil
}

func privileged() bool { return os.Geteuid() == 0 }

func (b *broker) closeFiles() {
	for _, f := range []*os.File{b.processes, b.program, b.null, b.nothing, b.proc, b.listener} {
		if f != nil {
			f.Close()
		}
	}
}

// listen opens the port. Every front listens on this socket, so that nobody is refused while there is none.
func (b *broker) listen(ctx context.Context) (net.Addr, error) {
	address := b.o.Config.Listen
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &ListenError{address, err}
	}
	defer l.Close()
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("listen on %q: it is no TCP address", address)
	}
	b.listener, err = tcp.File()
	return l.Addr(), err
}

// ListenError says that the port cannot be had.
type ListenError struct {
	Address string
	Err     error
}

func (e *ListenError) Error() string { return fmt.Sprintf("listen on %q: %v", e.Address, e.Err) }

func (e *ListenError) Unwrap() error { return e.Err }

// Hint is what a person can do about it.
func (e *ListenError) Hint() string {
	switch {
	case errors.Is(e.Err, unix.EADDRINUSE):
		return "another program listens there, perhaps rsync --daemon or another sersync receive; name another port with --listen"
	case errors.Is(e.Err, unix.EACCES):
		return "ports below 1024 are for root; name another one with --listen"
	}
	return ""
}

// end lets everything come to its end, but not for ever: where not even SIGKILL reaches a process, it is not waited for.
func (b *broker) end() error {
	b.mu.Lock()
	b.ending = true
	var all []*process
	for p := range b.alive {
		p.control.finish()
		all = append(all, p)
	}
	b.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		b.running.Wait()
	}()
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-gone:
		return nil
	case <-patience.C:
	}
	for _, p := range all {
		p.kill()
	}
	patience.Reset(grace)
	select {
	case <-gone:
		return nil
	case <-patience.C:
		return errors.New("end processes: one hangs in the kernel, where no signal reaches it")
	}
}

// errEnding says that nothing new is started.
var errEnding = errors.New("the receiver ends")

// adopt notes a process that is to be waited for; false when we are ending, and it is gone.
func (b *broker) adopt(p *process) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending {
		p.kill()
		return false
	}
	b.alive[p] = true
	return true
}

func (b *broker) buried(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.alive, p)
}
