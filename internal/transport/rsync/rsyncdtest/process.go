package rsyncdtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for the daemon.
const patience = 10 * time.Second

// process is one run of the daemon: a process group with a child for each connection.
type process struct {
	pid  int
	out  bytes.Buffer // read after done only
	done chan struct{}
}

// launch starts the daemon from a thread that lives as long as it does, because the death
// signal is tied to the thread: the daemon must not outlive a test that was killed.
func launch(args ...string) (*process, error) {
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(p.done)
		cmd := exec.Command("rsync", args...)
		cmd.Stdout, cmd.Stderr = &p.out, &p.out
		// A connection's child may hold the output open for longer than the daemon lives.
		cmd.WaitDelay = time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is for the test to say
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// signal sends a signal to the daemon and all its children.
func (p *process) signal(sig syscall.Signal) error {
	err := syscall.Kill(-p.pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// start starts the daemon and returns when it answers.
func (d *Daemon) start() error {
	p, err := launch("--daemon", "--no-detach", "--config="+d.path("rsyncd.conf"))
	if err != nil {
		return err
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if d.answers() {
			d.proc = p
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("rsync daemon ended: %s", p.out.String())
		case <-deadline:
			_ = p.signal(syscall.SIGKILL)
			return fmt.Errorf("rsync daemon does not answer on port %d", d.port)
		case <-tick.C:
		}
	}
}

// answers asks the daemon on our port for its modules, and reports whether it is ours.
func (d *Daemon) answers() bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(d.Host(), strconv.Itoa(d.port)), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("@RSYNCD: 31.0\n#list\n")); err != nil {
		return false
	}
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if name, _, _ := strings.Cut(lines.Text(), "\t"); strings.TrimSpace(name) == d.ready {
			return true
		}
	}
	return false
}

// Stop kills the daemon and all its children, as a crash would. It may be stopped already.
func (d *Daemon) Stop() {
	d.t.Helper()
	if d.proc == nil {
		return
	}
	if err := d.proc.signal(syscall.SIGKILL); err != nil {
		d.t.Errorf("kill rsync daemon: %v", err)
	}
	select {
	case <-d.proc.done:
	case <-time.After(patience):
		d.t.Errorf("rsync daemon %d does not end", d.proc.pid)
	}
	d.proc = nil
}

// Restart starts a stopped daemon again, on the same port and modules.
func (d *Daemon) Restart() {
	d.t.Helper()
	if err := d.start(); err != nil {
		d.t.Fatalf("restart rsync daemon: %v\n%s", err, d.Log())
	}
}

// Pid is the process that listens.
func (d *Daemon) Pid() int { return d.proc.pid }

// Freeze stops the daemon and all its children with SIGSTOP: connections are accepted by the
// kernel, nobody answers.
func (d *Daemon) Freeze() {
	d.t.Helper()
	if err := d.proc.signal(syscall.SIGSTOP); err != nil {
		d.t.Fatalf("freeze rsync daemon: %v", err)
	}
}

// Thaw lets the daemon and its children go on.
func (d *Daemon) Thaw() {
	d.t.Helper()
	if err := d.proc.signal(syscall.SIGCONT); err != nil {
		d.t.Fatalf("thaw rsync daemon: %v", err)
	}
}

// Children are the processes of the daemon beside the one that listens: one or two for each connection.
func (d *Daemon) Children() []int {
	d.t.Helper()
	var pids []int
	for pid, fields := range processes(d.t) {
		if fields[2] == strconv.Itoa(d.proc.pid) && pid != d.proc.pid {
			pids = append(pids, pid)
		}
	}
	return pids
}

// descendants are the processes that a process started, and those that they started.
func descendants(t testing.TB, ancestor int) []int {
	t.Helper()
	all := processes(t)
	var found []int
	for parents := []int{ancestor}; len(parents) > 0; parents = parents[1:] {
		for pid, fields := range all {
			if fields[1] == strconv.Itoa(parents[0]) {
				found, parents = append(found, pid), append(parents, pid)
			}
		}
	}
	return found
}

// processes are state, parent and process group of all that have not ended.
func processes(t testing.TB) map[int][]string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatalf("list processes: %v", err)
	}
	all := map[int][]string{}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		// pid (name) state ppid pgrp: the name may hold anything, the last bracket ends it.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if len(fields) > 2 && fields[0] != "Z" {
			all[pid] = fields
		}
	}
	return all
}
