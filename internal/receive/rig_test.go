package receive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/channel"
)

// patience bounds every wait of a test, so that a failure ends.
const patience = 60 * time.Second

// The words by which the test binary is started as a receiver, and as one of its processes.
const brokerWord, childWord = "test-broker", "test-child"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 2 && os.Args[1] == brokerWord:
		ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		exit(runBroker(ctx, os.Args[2]))
	case len(os.Args) > 2 && os.Args[1] == childWord:
		exit(Child(os.Args[2:], Plugs{Login: loginOrAttack, Open: openCommands}))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runBroker is a receiver with the configuration in a file, which it reads again at SIGHUP.
func runBroker(ctx context.Context, file string) error {
	load := func() (*Config, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		c := new(Config)
		return c, gob.NewDecoder(f).Decode(c)
	}
	config, err := load()
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	return Run(ctx, Options{
		Config: config, Load: load, Reload: reload, Child: []string{childWord},
		Log:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Listening: func(a net.Addr) { fmt.Println(a) },
	})
}

// attackWord begins a line, in the place of a login, for what somebody would do who has taken over the front.
const attackWord = "attack "

// loginOrAttack is the real login, for who does not begin with attackWord.
func loginOrAttack(auth Auth, c Certificates) (Login, error) {
	login, err := ChannelLogin(auth, c)
	return func(ctx context.Context, conn net.Conn) (net.Conn, Peer, error) {
		in := bufio.NewReader(conn)
		if begin, _ := in.Peek(1); string(begin) != attackWord[:1] {
			return login(ctx, peeked{conn, in})
		}
		line, _ := in.ReadString('\n')
		words := strings.Fields(line)
		fmt.Fprintln(conn, attack(words[1], words[2]))
		conn.Close()
		return nil, Peer{}, context.Canceled
	}, err
}

// peeked is a connection of which something was read before.
type peeked struct {
	net.Conn
	in io.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.in.Read(b) }

// attack does what a process should not be able to do, and says how it went.
func attack(what, path string) string {
	var err error
	switch what {
	case "open":
		_, err = os.Open(path)
	case "write":
		err = os.WriteFile(path, []byte("x"), 0o644)
	case "chmod":
		err = unix.Chmod(path, 0o4777)
	case "chown":
		err = os.Chown(path, 1234, 1234)
	case "stat":
		_, err = os.Lstat(path)
	case "chroot":
		err = unix.Chroot(path)
	case "connect":
		var c net.Conn
		if c, err = net.Dial("tcp", path); err == nil {
			c.Close()
		}
	case "run":
		err = exec.Command(path).Run()
	case "proc":
		err = os.Chmod("/proc/"+path, 0o777)
	default:
		return "what?"
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return "done"
}

// openCommands serves clients that send commands, a line each.
func openCommands(at Place) (Serve, func() error, error) {
	return func(ctx context.Context, conn net.Conn, s Session) error {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return nil
			}
			words := strings.Fields(line)
			switch words[0] {
			case "who":
				var caps uint64
				for which := range uintptr(41) {
					caps |= uint64(len(have(which))) << which
				}
				fmt.Fprintf(conn, "pid=%d uid=%d gid=%d caps=%x jailed=%v owns=%v proc=%v read_only=%q secrets=%d timeout=%v env=%q\n", os.Getpid(), os.Getuid(), os.Getgid(),
					caps, at.Jailed, at.Owns, at.Proc != nil, s.ReadOnly, len(at.Module.Secrets), at.Module.Timeout, os.Environ())
			case "viaproc":
				fmt.Fprintln(conn, viaProc(at, words[1]))
			case "die":
				os.Exit(3)
			case "sink":
				n, _ := strconv.ParseInt(words[1], 10, 64)
				_, err := io.CopyN(io.Discard, in, n)
				fmt.Fprintln(conn, "got", err)
			case "ping":
				fmt.Fprintln(conn, "pong")
			default:
				fmt.Fprintln(conn, attack(words[0], words[1]))
			}
		}
	}, func() error { return nil }, nil
}

// viaProc changes the mode of a file by its descriptor's name in /proc, and tries to get out by it.
func viaProc(at Place, name string) string {
	if at.Proc == nil {
		return "no proc"
	}
	fd, err := unix.Openat(int(at.Root.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	proc := int(at.Proc.Fd())
	if err := unix.Fchmodat(proc, "self/fd/"+strconv.Itoa(fd), 0o640, 0); err != nil {
		return "chmod: " + err.Error()
	}
	var st unix.Stat_t
	for _, out := range []string{"../etc/passwd", "self/root/etc/passwd", "1/root/etc/passwd", "self/fd/" + strconv.Itoa(proc) + "/../etc/passwd"} {
		if unix.Fstatat(proc, out, &st, 0) == nil {
			return "out by " + out
		}
	}
	return "done"
}

// receiver is a running one.
type receiver struct {
	t       *testing.T
	cmd     *exec.Cmd
	config  *Config
	file    string
	address string
	logFile string
	ended   chan struct{}
}

const password = "correct-horse"

// module is one that the user "u" can write to.
func testModule(t *testing.T, name string) Module {
	t.Helper()
	dir := t.TempDir()
	// The parents of TempDir may be closed to the users that modules run as.
	for d := dir; filepath.Dir(d) != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Module{
		Name: name, Path: dir, Place: "conf:1", ReadOnlyPlace: "conf:2", List: true, User: &User{UID: Nobody, GID: Nobody},
		Rules: []UserRule{{Pattern: "u"}}, Secrets: map[string]Secret{"u": password},
	}
}

// start runs a receiver on a free port. It ends with the test.
func start(t *testing.T, modules ...Module) *receiver {
	t.Helper()
	dir := t.TempDir()
	r := &receiver{t: t, config: &Config{Listen: "127.0.0.1:0", Modules: modules}, file: filepath.Join(dir, "config"), logFile: filepath.Join(dir, "log"), ended: make(chan struct{})}
	r.write()
	log, err := os.Create(r.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(program, brokerWord, r.file)
	r.cmd.Stderr = log
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal is tied to the thread
		defer close(r.ended)
		r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := r.cmd.Start()
		started <- err
		if err == nil {
			_ = r.cmd.Wait() // how it ended is for the test to say
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("log of the receiver:\n%s", r.logged())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("receiver does not listen: %v\n%s", err, r.logged())
	}
	r.address = strings.TrimSpace(line)
	return r
}

func (r *receiver) write() {
	r.t.Helper()
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(r.config)
	if err == nil {
		err = os.WriteFile(r.file, b.Bytes(), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// stop ends it and waits for that.
func (r *receiver) stop(sig syscall.Signal) {
	r.t.Helper()
	_ = r.cmd.Process.Signal(sig) // it may have ended
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Errorf("receiver does not end")
		_ = r.cmd.Process.Kill()
	}
}

func (r *receiver) logged() string {
	b, err := os.ReadFile(r.logFile)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// client is a connection to the receiver.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (r *receiver) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// attack has the front do something, and says how it went.
func (r *receiver) attack(what string) string {
	r.t.Helper()
	conn := r.dial()
	return (&client{r.t, conn, bufio.NewReader(conn)}).say(attackWord + what)
}

// try logs in, or says why it cannot.
func (r *receiver) try(module, user, secret string) (*client, error) {
	r.t.Helper()
	conn, err := channel.Client(r.t.Context(), r.dial(), channel.Login{Module: module, User: user, Secret: []byte(secret)})
	if err != nil {
		return nil, err
	}
	return &client{r.t, conn, bufio.NewReader(conn)}, nil
}

// login logs in and fails the test when it cannot.
func (r *receiver) login(module string) *client {
	r.t.Helper()
	c, err := r.try(module, "u", password)
	if err != nil {
		r.t.Fatalf("login: %v", err)
	}
	return c
}

// refused is the kind and the text of the error by which a login fails.
func (r *receiver) refused(module, user, secret string) (channel.Kind, string) {
	r.t.Helper()
	_, err := r.try(module, user, secret)
	var known *channel.Error
	if !errors.As(err, &known) {
		r.t.Fatalf("login of %q to module %q: %v", user, module, err)
	}
	return known.Kind, known.Text
}

// enters reports whether a login works now.
func (r *receiver) enters(module string) bool {
	r.t.Helper()
	c, err := r.try(module, "u", password)
	return err == nil && c.say("ping") == "pong"
}

// say sends a line and returns the answer; "" when the connection is cut.
func (c *client) say(line string) string {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		return ""
	}
	answer, err := c.in.ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("no answer to %q", line)
	}
	return strings.TrimSpace(answer)
}

// until polls for a state.
func until(t *testing.T, what string, state func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !state() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// children are the processes that the receiver started, by the words of their command line.
func (r *receiver) children() map[string]int {
	r.t.Helper()
	all := make(map[string]int)
	list, err := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/task/" + strconv.Itoa(r.cmd.Process.Pid) + "/children")
	if err != nil {
		return all
	}
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/task/*/children")
	for _, task := range tasks {
		if more, err := os.ReadFile(task); err == nil {
			list = append(append(list, ' '), more...)
		}
	}
	for word := range strings.FieldsSeq(string(list)) {
		line, err := os.ReadFile("/proc/" + word + "/cmdline")
		words := strings.Split(strings.Trim(string(line), "\x00"), "\x00")
		if pid, convErr := strconv.Atoi(word); err == nil && convErr == nil && len(words) > 2 {
			all[strings.Join(words[2:], " ")] = pid
		}
	}
	return all
}

// child waits for a process and returns its pid.
func (r *receiver) child(words string) int {
	r.t.Helper()
	pid := 0
	until(r.t, "process "+words, func() bool {
		pid = r.children()[words]
		return pid != 0
	})
	return pid
}

func hostsOf(words ...string) Hosts {
	var hosts Hosts
	for _, w := range words {
		hosts = append(hosts, Host{Prefix: netip.MustParsePrefix(w)})
	}
	return hosts
}
