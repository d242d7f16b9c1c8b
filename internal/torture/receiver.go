package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What is killed of a receiver, as the table names it.
const (
	frontKilled  = "front of a receiver killed"
	moduleKilled = "process of a module killed"
)

// receiver is a real receiver of sersync with one target.
type receiver struct {
	program string
	dir     string // of its own files
	port    int
	// booted is when its machine was started; zero for that of this one.
	booted time.Time

	mu   sync.Mutex
	proc *process // the broker; nil while it is stopped
}

func newReceiver(program, dir, tree string) (*receiver, error) {
	r := &receiver{program: program, dir: dir}
	if err := makeDirs(dir, tree); err != nil {
		return nil, err
	}
	var err error
	if r.port, err = freePort(); err != nil {
		return nil, err
	}
	lines := []string{
		"address = 127.0.0.1", "port = " + strconv.Itoa(r.port), "log file = " + r.path("log"), "uid = 0", "gid = 0",
		"[" + module + "]", "path = " + tree, "read only = no", "auth users = " + user, "secrets file = " + r.path("secrets"),
	}
	return r, errors.Join(
		writeFile(r.path("secrets"), user+":"+secret+"\n"),
		writeFile(r.path("rsyncd.conf"), strings.Join(lines, "\n")+"\n"),
	)
}

func (r *receiver) path(name string) string { return filepath.Join(r.dir, name) }

func (r *receiver) address() string { return loopback(r.port) }

// listens is what a receiver says once it can be connected to.
const listens = "receiving on "

func (r *receiver) start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc != nil {
		return nil
	}
	output := r.path("output")
	if err := os.Remove(output); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start a receiver: %w", err)
	}
	cmd := exec.Command(r.program, "receive", "--config", r.path("rsyncd.conf"))
	// A test binary does what its name says.
	cmd.Args[0] = "sersync"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
	var before func() error
	if !r.booted.IsZero() {
		before = func() error { return bootAt(r.booted) }
	}
	p, err := start(cmd, output, before)
	if err != nil {
		return err
	}
	r.proc = p
	// Nobody connects for that: who does not log in then is slowed down.
	return poll(ctx, patience, fmt.Sprintf("the receiver on port %d", r.port), func() (bool, error) {
		if err := r.elsewhen(p.pid); err != nil {
			return false, err
		}
		said, err := os.ReadFile(output)
		if err == nil && p.ended() {
			err = fmt.Errorf("the receiver ended: %s", said)
		}
		return bytes.Contains(said, []byte(listens)), err
	})
}

// elsewhen is an error when a receiver that is to live on a machine that was started later does not.
func (r *receiver) elsewhen(pid int) error {
	if r.booted.IsZero() {
		return nil
	}
	here, err := os.Readlink("/proc/self/ns/time")
	if err != nil {
		return fmt.Errorf("find out when a machine was started: %w", err)
	}
	there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", pid))
	if err == nil && here == there {
		return &UsageError{"this kernel cannot give a process another time of its start", "run it without --power, or with --target rsync"}
	}
	return nil // one that has ended is told of by its output
}

// stop kills the broker. What it started must go with it.
func (r *receiver) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return nil
	}
	// Frozen, it starts nothing between the look and the kill.
	err := r.proc.signal(sigFreeze)
	started := childrenOf(r.proc.pid)
	if err := errors.Join(err, r.proc.signal(unix.SIGKILL), r.proc.wait(patience)); err != nil {
		return err
	}
	r.proc = nil
	return awaitGone(started)
}

// crashed is what a process of it said last that ended for a fault of its own; empty when none did.
func (r *receiver) crashed() (string, error) {
	text, err := os.ReadFile(r.path("log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read log of a receiver: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "panic: ") || strings.Contains(line, "fatal error: ") {
			return strings.TrimSpace(line), nil
		}
	}
	return "", nil
}

// end stops it as a service manager does.
func (r *receiver) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return nil
	}
	started := childrenOf(r.proc.pid)
	if err := errors.Join(r.proc.signal(unix.SIGTERM), r.proc.wait(stopTime)); err != nil {
		return fmt.Errorf("stop a receiver: %w", err)
	}
	p := r.proc
	r.proc = nil
	if p.err != nil {
		return fmt.Errorf("the receiver was stopped and ended with: %w: %s", p.err, tail(r.path("output")))
	}
	return awaitGone(started)
}

// killSome kills the front or the process of the module; the broker is for stop.
func (r *receiver) killSome(rnd *rand.Rand) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what, word := frontKilled, "front"
	if rnd.IntN(2) == 0 {
		what, word = moduleKilled, "module"
	}
	return what, r.signal(unix.SIGKILL, func(c child) bool { return c.is(word) })
}

// freezeSome freezes one of the processes, or all.
func (r *receiver) freezeSome(rnd *rand.Rand) error {
	which := rnd.IntN(4)
	if which == 0 {
		return r.signalAll(sigFreeze)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.proc == nil:
		return nil
	case which == 1:
		return r.proc.signal(sigFreeze)
	}
	word := []string{"front", "module"}[which-2]
	return r.signal(sigFreeze, func(c child) bool { return c.is(word) })
}

func (r *receiver) signalAll(sig unix.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return nil
	}
	// The broker first: what is frozen starts nothing.
	return errors.Join(r.proc.signal(sig), r.signal(sig, func(child) bool { return true }))
}

// signal sends a signal to those that the broker started. r.mu is held.
func (r *receiver) signal(sig unix.Signal, to func(child) bool) error {
	if r.proc == nil {
		return nil
	}
	var err error
	for _, c := range childrenOf(r.proc.pid) {
		if to(c) {
			err = errors.Join(err, gone(unix.Kill(c.pid, sig)))
		}
	}
	return err
}

// bootAt has what this thread starts live on a machine that was started then: what a receiver does after a loss of power depends on that.
func bootAt(at time.Time) error {
	err := unix.Unshare(unix.CLONE_NEWTIME)
	if err == nil {
		var up unix.Timespec
		if err = unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err == nil {
			back := (time.Since(at) - time.Duration(up.Nano())).Nanoseconds()
			// Nanoseconds count up from a second that may be negative.
			sec := back / 1e9
			if back%1e9 < 0 {
				sec--
			}
			offset := fmt.Sprintf("boottime %d %d\n", sec, back-sec*1e9)
			err = os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), []byte(offset), 0)
		}
	}
	if err != nil {
		return fmt.Errorf("set when a machine was started: %w", err)
	}
	return nil
}
