package rsyncdtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// SSHD is a real ssh daemon on a free port of the loopback interface, with keys of its own.
type SSHD struct {
	t    testing.TB
	dir  string
	port int
	user string
	pid  int
	done chan struct{}
}

// StartSSHD starts an ssh daemon, which ends with the test. Its log is the test's when it failed.
func StartSSHD(t testing.TB) *SSHD {
	t.Helper()
	s := &SSHD{t: t, dir: t.TempDir(), port: freePort(t, "127.0.0.1")}
	for _, name := range []string{"host", "key"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path(name)).CombinedOutput(); err != nil {
			t.Fatalf("make key: %v\n%s", err, out)
		}
	}
	if os.Getuid() == 0 { // sshd wants it; a package's service would have made it
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s.user = me.Username
	config := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %d\nHostKey %s\nAuthorizedKeysFile %s.pub\nStrictModes no\nPidFile none\n"+
		"UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n", s.port, s.path("host"), s.path("key"))
	if err := os.WriteFile(s.path("config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if log, err := os.ReadFile(s.path("log")); err == nil && t.Failed() {
			t.Logf("sshd log:\n%s", log)
		}
	})
	s.Restart()
	return s
}

func (s *SSHD) path(name string) string { return filepath.Join(s.dir, name) }

// Port is the port that the daemon listens on, on 127.0.0.1; it stays the same from Stop to Restart.
func (s *SSHD) Port() int { return s.port }

// User is who can log in, with the key in the file Key.
func (s *SSHD) User() string { return s.user }

// Key is the file with the client's key.
func (s *SSHD) Key() string { return s.path("key") }

// Stop kills the daemon with all its connections, and what runs in them. It may be stopped already.
func (s *SSHD) Stop() {
	s.t.Helper()
	if s.pid == 0 {
		return
	}
	// What a connection started is in sessions of its own: children first, so that none is lost sight of.
	for _, pid := range append(descendants(s.t, s.pid), s.pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Errorf("sshd %d does not end", s.pid)
	}
	s.pid = 0
}

// Restart starts a stopped daemon again, and returns when it answers.
func (s *SSHD) Restart() {
	s.t.Helper()
	log, err := os.OpenFile(s.path("log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", s.path("config"))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // its death signal is tied to the thread
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is for the test to say
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("start sshd: %v", err)
	}
	s.pid, s.done = cmd.Process.Pid, done
	s.answers()
}

func (s *SSHD) answers() {
	s.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))); err == nil {
			c.Close()
			return
		}
		select {
		case <-deadline:
			s.t.Fatalf("sshd does not answer on port %d", s.port)
		case <-tick.C:
		}
	}
}
