package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// user, secret and module are how the daemon under test logs in.
const (
	user   = "torture"
	secret = "only for loopback"
	module = "tree"
)

// logMark begins what an rsync daemon logs of one path that it changed: `%o|%i|%n`, where %n may hold anything but a newline.
const logMark = "] CHANGED|"

// rsyncd is a real rsync daemon with one target. Its log is the witness of what was sent.
type rsyncd struct {
	dir  string // of its own files
	tree string // the target
	port int

	mu   sync.Mutex
	proc *process // nil while it is stopped
}

func newRsyncd(dir, tree string) (*rsyncd, error) {
	d := &rsyncd{dir: dir, tree: tree}
	if err := makeDirs(dir, tree); err != nil {
		return nil, err
	}
	var err error
	if d.port, err = freePort(); err != nil {
		return nil, err
	}
	lines := []string{
		"address = 127.0.0.1", "port = " + strconv.Itoa(d.port), "log file = " + d.log(), "lock file = " + d.path("lock"),
		"reverse lookup = no", "socket options = TCP_NODELAY", "munge symlinks = no",
		"transfer logging = yes", "log format = CHANGED|%o|%i|%n",
	}
	if os.Geteuid() == 0 {
		// Without chroot a daemon changes symlinks.
		lines = append(lines, "uid = 0", "gid = 0", "use chroot = yes")
	} else {
		lines = append(lines, "use chroot = no")
	}
	lines = append(lines, "["+module+"]", "path = "+tree, "read only = no", "auth users = "+user, "secrets file = "+d.path("secrets"))
	return d, errors.Join(
		writeFile(d.path("secrets"), user+":"+secret+"\n"),
		writeFile(d.path("rsyncd.conf"), strings.Join(lines, "\n")+"\n"),
	)
}

func (d *rsyncd) path(name string) string { return filepath.Join(d.dir, name) }

func (d *rsyncd) log() string { return d.path("log") }

func makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make directories of a target: %w", err)
		}
	}
	return nil
}

func writeFile(name, text string) error {
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write file of a target: %w", err)
	}
	return nil
}

// Ports of daemons are below those that the kernel gives to who asks for any (ip_local_port_range): a daemon that is down for a
// while must find its port free.
const firstPort, lastPort = 20000, 32000

func freePort() (int, error) {
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp4", loopback(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("find a free port between %d and %d: all that were tried are in use", firstPort, lastPort)
}

// start starts the daemon and returns when it listens.
func (d *rsyncd) start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		return nil
	}
	p, err := start(exec.Command("rsync", "--daemon", "--no-detach", "--config="+d.path("rsyncd.conf")), d.path("output"), nil)
	if err != nil {
		return err
	}
	d.proc = p
	err = poll(ctx, patience, fmt.Sprintf("the rsync daemon on port %d", d.port), func() (bool, error) {
		if p.ended() {
			return false, fmt.Errorf("the rsync daemon ended: %s", tail(d.path("output")))
		}
		c, err := net.DialTimeout("tcp4", d.address(), time.Second)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
	return err
}

func (d *rsyncd) address() string { return loopback(d.port) }

// stop kills the daemon and all its receivers, as a crash would. It may be stopped already.
func (d *rsyncd) stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return nil
	}
	err := d.proc.kill()
	for _, pid := range d.receivers() {
		err = errors.Join(err, gone(unix.Kill(pid, unix.SIGKILL)))
	}
	d.proc = nil
	return err
}

func (d *rsyncd) killSome(*rand.Rand) (string, error) {
	return receiversKilled, d.signalReceivers(unix.SIGKILL)
}

// freezeSome freezes the receivers, or all.
func (d *rsyncd) freezeSome(rnd *rand.Rand) error {
	if rnd.IntN(2) == 0 {
		return d.signalAll(sigFreeze)
	}
	return d.signalReceivers(sigFreeze)
}

func (d *rsyncd) signalAll(sig unix.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return nil
	}
	return d.proc.signalAll(sig)
}

func (d *rsyncd) signalReceivers(sig unix.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return nil
	}
	var err error
	for _, pid := range d.receivers() {
		err = errors.Join(err, gone(unix.Kill(pid, sig)))
	}
	return err
}

// receivers are the processes of the daemon beside the one that listens. d.mu is held.
func (d *rsyncd) receivers() (pids []int) {
	for _, c := range living(statGroup, d.proc.pid) {
		if c.pid != d.proc.pid {
			pids = append(pids, c.pid)
		}
	}
	return pids
}

// poll asks until ok is true, for at the most limit.
func poll(ctx context.Context, limit time.Duration, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("wait for %s: not within %v", what, limit))
	defer cancel()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// pause waits for so long, or until ctx ends; it reports whether time is left to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
