package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/transport"
)

// SSH says how to reach a directory over ssh, where "sersync receive --stdio" serves it.
type SSH struct {
	// Host and Dir are where; User and Port may be empty, for what ssh says itself.
	Host, User, Dir string
	Port            int
	// Identity is the file of the private key; empty leaves the choice to ssh.
	Identity string
	// Args are further arguments for ssh.
	Args []string
	// ConnectTimeout bounds the connecting.
	ConnectTimeout time.Duration
	// Program is the ssh here and There the sersync over there. Defaults "ssh" and "sersync".
	Program, There string
}

// Dial starts an ssh and is connected with the sersync that it starts over there. It is the Dial of Options.
func (s SSH) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	here, there, err := socketPair()
	if err != nil {
		return nil, err
	}
	c := &sshConn{Conn: here}
	// It lives longer than the context, which is that of the dialing.
	c.cmd = exec.Command(orElse(s.Program, "ssh"), s.args()...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = there, there, &c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = c.cmd.Start()
	there.Close()
	if err != nil {
		here.Close()
		return nil, &transport.Error{
			Kind: transport.Misconfigured, Err: fmt.Errorf("start ssh: %w", err), Hint: "install the ssh client",
		}
	}
	return c, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// args are the arguments of ssh. The shell over there gets the directory as one word.
func (s SSH) args() []string {
	args := []string{
		"-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"-o", "ConnectTimeout=" + strconv.Itoa(max(1, int(s.ConnectTimeout/time.Second))),
		"-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
	}
	if s.Port != 0 {
		args = append(args, "-p", strconv.Itoa(s.Port))
	}
	if s.Identity != "" {
		args = append(args, "-i", s.Identity)
	}
	args = append(args, s.Args...)
	host := s.Host
	if s.User != "" {
		host = s.User + "@" + host
	}
	return append(args, "--", host, orElse(s.There, "sersync")+" receive --stdio --root '"+strings.ReplaceAll(s.Dir, "'", `'\''`)+"'")
}

// sshConn is the connection to an ssh. Its end ends the ssh.
type sshConn struct {
	net.Conn
	cmd  *exec.Cmd
	said lastWords
	once sync.Once
}

// sshEnd is how long an ssh may take to end when its input has ended.
const sshEnd = time.Second

func (c *sshConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		timer := time.AfterFunc(sshEnd, func() { _ = c.cmd.Process.Kill() })
		defer timer.Stop()
		_ = c.cmd.Wait() // what it has to say was said on standard error
	})
	return err
}

// Read tells why ssh ended where that is all that comes.
func (c *sshConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.Close()
		if state := sshError(c.cmd.ProcessState.ExitCode(), c.said.String()); state != nil {
			return n, state
		}
	}
	return n, err
}

// sshError is what the end of an ssh says of the target; nil when it says nothing.
func sshError(code int, said string) error {
	e := &transport.Error{Kind: transport.Away, Err: fmt.Errorf("ssh ended with %d: %s", code, printable(said))}
	switch {
	case code == 127:
		e.Kind = transport.Misconfigured
		e.Hint = "there is no sersync over there: copy the binary to /usr/local/bin/sersync of that machine, as with: scp \"$(command -v sersync)\" HOST:/usr/local/bin/"
	case code == 2 && strings.Contains(said, "sersync"):
		e.Kind = transport.Misconfigured
		e.Hint = "the sersync over there is too old: install the version of this machine there"
	case strings.Contains(said, "Permission denied"), strings.Contains(said, "Host key verification failed"):
		e.Kind = transport.Refused
		e.Hint = "try it by hand: ssh -o BatchMode=yes HOST true; the key of this user must be known there, and the host here"
	case strings.Contains(said, "no such file or directory"), strings.Contains(said, "not a directory"):
		e.Lost = true
		e.Hint = "make the directory there, or mount what belongs there"
	case said == "":
		return nil
	}
	return e
}

// lastWords keeps the beginning of what is written.
type lastWords struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const lastWordsMax = 4 << 10

func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p[:min(len(p), lastWordsMax-l.buf.Len())])
	return len(p), nil
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.buf.String())
}

// socketPair are a connection here and the file that is its other end, for a child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a connection: %w", err)
	}
	mine, other := os.NewFile(uintptr(fds[0]), "ssh"), os.NewFile(uintptr(fds[1]), "ssh")
	defer mine.Close()
	conn, err := net.FileConn(mine)
	if err != nil {
		other.Close()
		return nil, nil, fmt.Errorf("make a connection: %w", err)
	}
	return conn, other, nil
}
