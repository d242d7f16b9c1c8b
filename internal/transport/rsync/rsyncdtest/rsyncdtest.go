// Package rsyncdtest starts a real rsync daemon for a test, on a free port of the loopback
// interface, with a login and modules of its own. It is the target at the end of the path of a change.
package rsyncdtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The login that every module asks for unless its lines say otherwise.
const (
	User     = "backup"
	Password = "correct horse"
)

// Module is one module of the daemon. Its directory is made when it is empty.
type Module struct {
	Name string
	Dir  string
	// Lines are added to the module's section and win over the fixture's own.
	Lines []string
}

// Options say what differs from a daemon with one writable module named "data".
type Options struct {
	Modules []Module
	// Global are added to the global section and win over the fixture's own.
	Global []string
	// Address is where the daemon listens, 127.0.0.1 when empty; Port a port to take, any free one when 0. Two
	// daemons that differ in the address alone are two machines to their client.
	Address string
	Port    int
}

// Daemon is a running `rsync --daemon`. Its methods fail the test on an error, and are
// called from the test's goroutine.
type Daemon struct {
	t       testing.TB
	dir     string
	port    int
	modules map[string]string
	// ready names a module that no other daemon has, so that a stranger on our port is recognised.
	ready string
	o     Options
	proc  *process
}

// Start starts a daemon, which ends with the test. The daemon's log is the test's when it failed.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	if len(o.Modules) == 0 {
		o.Modules = []Module{{Name: "data"}}
	}
	dir := t.TempDir()
	// The parents of TempDir may be closed to the users that modules run as.
	for d := dir; filepath.Dir(d) != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			break
		}
	}
	if o.Address == "" {
		o.Address = "127.0.0.1"
	}
	d := &Daemon{t: t, dir: dir, modules: map[string]string{}, o: o, ready: "ready-" + strconv.Itoa(os.Getpid()) + "-" + filepath.Base(filepath.Dir(dir))}
	for _, m := range o.Modules {
		if m.Dir == "" {
			m.Dir = filepath.Join(dir, "module", m.Name)
		}
		if err := os.MkdirAll(m.Dir, 0o755); err != nil {
			t.Fatalf("make module directory: %v", err)
		}
		d.modules[m.Name] = m.Dir
	}
	d.write("secrets", User+":"+Password+"\n")
	d.write("password", Password+"\n")
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			t.Logf("rsync daemon log:\n%s", d.Log())
		}
	})
	// Between our look for a free port and the daemon's bind another may take the port.
	var err error
	for range 10 {
		if d.port = o.Port; d.port == 0 {
			d.port = freePort(t, o.Address)
		}
		d.write("rsyncd.conf", d.config())
		if err = d.start(); err == nil {
			return d
		}
	}
	t.Fatalf("start rsync daemon: %v\n%s", err, d.Log())
	return nil
}

func (d *Daemon) config() string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put("address = %s", d.o.Address)
	put("port = %d", d.port)
	put("log file = %s", d.path("log"))
	put("lock file = %s", d.path("lock"))
	put("use chroot = no")
	put("munge symlinks = no")
	put("reverse lookup = no")
	put("socket options = TCP_NODELAY")
	if os.Getuid() == 0 {
		put("uid = 0")
		put("gid = 0")
	}
	for _, line := range d.o.Global {
		put("%s", line)
	}
	put("[%s]\npath = /\nread only = yes\nlist = yes", d.ready)
	put("auth users = nobody-at-all\nsecrets file = %s", d.path("secrets"))
	for _, m := range d.o.Modules {
		put("[%s]", m.Name)
		put("path = %s", d.modules[m.Name])
		put("read only = no")
		put("auth users = %s", User)
		put("secrets file = %s", d.path("secrets"))
		for _, line := range m.Lines {
			put("%s", line)
		}
	}
	return b.String()
}

func (d *Daemon) path(name string) string { return filepath.Join(d.dir, name) }

func (d *Daemon) write(name, content string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(content), 0o600); err != nil {
		d.t.Fatalf("write %s of the rsync daemon: %v", name, err)
	}
}

// Configure changes the modules; those that stay keep their directories. The daemon reads it with the next connection.
func (d *Daemon) Configure(modules ...Module) {
	d.t.Helper()
	d.o.Modules = modules
	for _, m := range modules {
		if m.Dir == "" {
			m.Dir = d.modules[m.Name]
		}
		d.modules[m.Name] = m.Dir
	}
	d.write("rsyncd.conf.new", d.config())
	if err := os.Rename(d.path("rsyncd.conf.new"), d.path("rsyncd.conf")); err != nil {
		d.t.Fatalf("replace the configuration of the rsync daemon: %v", err)
	}
}

// SetPassword changes the password that the daemon wants, not that of its client.
func (d *Daemon) SetPassword(password string) {
	d.t.Helper()
	d.write("secrets", User+":"+password+"\n")
}

func freePort(t testing.TB, address string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Host is the address that the daemon listens on.
func (d *Daemon) Host() string { return d.o.Address }

// Port is the port that the daemon listens on; it stays the same from Stop to Restart.
func (d *Daemon) Port() int { return d.port }

// URL is the rsync URL of a module, with the user.
func (d *Daemon) URL(module string) string {
	return fmt.Sprintf("rsync://%s@%s:%d/%s", User, d.Host(), d.port, module)
}

// Dir is the directory of a module.
func (d *Daemon) Dir(module string) string {
	d.t.Helper()
	dir, ok := d.modules[module]
	if !ok {
		d.t.Fatalf("the rsync daemon has no module %q", module)
	}
	return dir
}

// PasswordFile is the client's password file.
func (d *Daemon) PasswordFile() string { return d.path("password") }

// Log is what the daemon has logged so far.
func (d *Daemon) Log() string {
	b, err := os.ReadFile(d.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(bytes.ToValidUTF8(b, []byte("?")))
}
