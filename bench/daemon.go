package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// user and secret log in at every rsync daemon of the benchmark.
const (
	user   = "bench"
	secret = "only for loopback"
)

// freePort finds a TCP port of the loopback interface that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// daemonCommand returns the command that runs an rsync daemon in the foreground.
func daemonCommand(dir string, port int, modules []string, options string) (*exec.Cmd, error) {
	config, err := daemonConfig(dir, modules, options)
	if err != nil {
		return nil, err
	}
	return exec.Command("rsync", "--daemon", "--no-detach", "--config="+config, "--address=127.0.0.1",
		"--port="+strconv.Itoa(port)), nil
}

// daemonConfig writes the configuration of an rsync daemon with a module for each directory, t0, t1 and so on. The
// options are lines for all modules.
func daemonConfig(dir string, modules []string, options string) (string, error) {
	secrets := filepath.Join(dir, "rsyncd.secrets")
	if err := os.WriteFile(secrets, []byte(user+":"+secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write secrets of the rsync daemon: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "uid = root\ngid = root\nuse chroot = no\nmunge symlinks = no\nlog file = %s\n%s",
		filepath.Join(dir, "rsyncd.log"), options)
	for i, path := range modules {
		fmt.Fprintf(&text, "[t%d]\npath = %s\nread only = no\nauth users = %s\nsecrets file = %s\n", i, path, user, secrets)
	}
	config := filepath.Join(dir, "rsyncd.conf")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		return "", fmt.Errorf("write configuration of the rsync daemon: %w", err)
	}
	return config, nil
}

// waitForPort waits until somebody listens.
func waitForPort(ctx context.Context, port int, alive func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err == nil {
			return conn.Close()
		}
		if err := alive(); err != nil {
			return err
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			return fmt.Errorf("wait for port %d: %w", port, err)
		}
	}
}

// hangingPort listens on a port, accepts, and never answers, as a remote does whose disk hangs.
func hangingPort(s *stage) (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("listen without ever answering: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			conn.Close()
		}
	}()
	s.onClose(func() error {
		err := l.Close()
		<-done
		return err
	})
	return l.Addr().(*net.TCPAddr).Port, nil
}
