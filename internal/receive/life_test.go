package receive

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/channel"
)

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	until(t, "the end of a process", func() bool { return unix.Kill(pid, 0) != nil })
}

func TestAllProcessesDieWithTheReceiver(t *testing.T) {
	r := start(t, testModule(t, "m"))
	r.login("m")
	front, module := r.child("front"), r.child("module m")
	r.stop(syscall.SIGKILL)
	gone(t, front)
	gone(t, module)
}

func TestReceiverEndsInOrder(t *testing.T) {
	m := testModule(t, "m")
	r := start(t, m)
	c := r.login("m")
	process1(c)
	front, module := r.child("front"), r.child("module m")
	r.stop(syscall.SIGTERM)
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	gone(t, front)
	gone(t, module)
	if got := c.say("who"); got != "" {
		t.Errorf("the session goes on: %s", got)
	}
	if log := r.logged(); strings.Contains(log, "failed") {
		t.Errorf("an end in order is no failure:\n%s", log)
	}
}

// A service manager signals all processes of a service, and a terminal those in front of it.
func TestSignalsAreForTheReceiverAlone(t *testing.T) {
	r := start(t, testModule(t, "m"))
	c := r.login("m")
	process := process1(c)
	for _, words := range []string{"front", "module m"} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			if err := unix.Kill(r.child(words), sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := process1(c); got != process {
		t.Errorf("process %s, want %s", got, process)
	}
	r.login("m")
}

func TestFrontThatDiesIsReplaced(t *testing.T) {
	r := start(t, testModule(t, "m"))
	c := r.login("m")
	module := process1(c)
	for range 3 {
		front := r.child("front")
		if err := unix.Kill(front, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		gone(t, front)
		if got := c.say("who"); got != "" {
			t.Errorf("the session outlived its front: %s", got)
		}
		// Nobody is refused meanwhile: the socket stays open.
		c = r.login("m")
		if process1(c) != module {
			t.Error("the module went with the front")
		}
	}
	until(t, "the log", func() bool { return strings.Contains(r.logged(), "front failed") })
	if n := strings.Count(r.logged(), "front failed"); n != 1 {
		t.Errorf("told %d times:\n%s", n, r.logged())
	}
}

func TestModuleProcessThatDiesIsReplaced(t *testing.T) {
	m := testModule(t, "m")
	m.MaxConnections = 1
	r := start(t, m)
	for range 3 {
		var c *client
		until(t, "a process of the module", func() bool {
			var err error
			c, err = r.try("m", "u", password)
			return err == nil && c.say("ping") != ""
		})
		if got := c.say("die"); got != "" {
			t.Errorf("still there: %s", got)
		}
	}
	if n := strings.Count(r.logged(), "process of a module failed"); n != 1 {
		t.Errorf("told %d times:\n%s", n, r.logged())
	}
}

func TestMaxConnectionsOfAModule(t *testing.T) {
	m, off := testModule(t, "m"), testModule(t, "off")
	m.MaxConnections, off.MaxConnections = 2, -1
	r := start(t, m, off)
	first, second := r.login("m"), r.login("m")
	first.say("who")
	second.say("who")
	if kind, text := r.refused("m", "u", password); kind != channel.Busy || !strings.Contains(text, `max connections (2) of module "m" reached`) {
		t.Errorf("third client: %d %s", kind, text)
	}
	if kind, text := r.refused("off", "u", password); kind != channel.Denied || !strings.Contains(text, `module "off" is switched off`) {
		t.Errorf("module that is off: %d %s", kind, text)
	}
	first.conn.Close()
	until(t, "room", func() bool { return r.enters("m") })
}

func TestHostsAllowAndDeny(t *testing.T) {
	here, elsewhere, hidden, named := testModule(t, "here"), testModule(t, "elsewhere"), testModule(t, "hidden"), testModule(t, "named")
	here.Hosts.Allow = hostsOf("127.0.0.0/8")
	elsewhere.Hosts.Deny = hostsOf("127.0.0.1/32")
	hidden.Hosts.Allow, hidden.List = hostsOf("192.0.2.0/24"), false
	named.Hosts = HostRules{Allow: Hosts{{Name: "localhost"}}, Forward: true}
	r := start(t, here, elsewhere, hidden, named)
	for module, want := range map[string]string{
		"elsewhere": `access to module "elsewhere" is denied to 127.0.0.1 by hosts allow and hosts deny`,
		"hidden":    `unknown module "hidden"`,
	} {
		if kind, text := r.refused(module, "u", password); !strings.HasSuffix(text, want) || (kind == channel.NoModule) != (module == "hidden") {
			t.Errorf("module %q: %d %q, want %q", module, kind, text, want)
		}
	}
	r.login("here")
	r.login("named")
}

func TestWhoIsWelcomeNowhereIsNotTalkedTo(t *testing.T) {
	m := testModule(t, "m")
	m.Hosts.Allow = hostsOf("192.0.2.0/24")
	r := start(t, m)
	if got, err := io.ReadAll(r.dial()); len(got) > 0 {
		t.Errorf("answer %q, %v", got, err)
	}
	until(t, "the log", func() bool { return strings.Contains(r.logged(), "no module is for clients from there") })
}

func TestModuleWithoutItsDirectoryIsBusy(t *testing.T) {
	m := testModule(t, "m")
	dir := m.Path
	m.Path = dir + "/later"
	r := start(t, m)
	if kind, text := r.refused("m", "u", password); kind != channel.Busy || !strings.Contains(text, `module "m" cannot be used, its directory is missing`) {
		t.Errorf("login: %d %s", kind, text)
	}
	if err := os.Mkdir(m.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	r.login("m")
}

func TestReloadEndsOnlyWhatChanged(t *testing.T) {
	r := start(t, testModule(t, "stays"), testModule(t, "changes"))
	stays, changes := r.login("stays"), r.login("changes")
	process := process1(stays)
	process1(changes)
	old := r.child("module changes")
	r.config.Modules[1].Secrets = map[string]Secret{"u": "another"}
	r.config.Modules = append(r.config.Modules, testModule(t, "new"))
	r.write()
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the new module", func() bool { return r.enters("new") })
	if got := changes.say("who"); got != "" {
		t.Errorf("the session with the old secret goes on: %s", got)
	}
	if got := process1(stays); got != process {
		t.Errorf("the module that stays: %s, want %s", got, process)
	}
	if kind, text := r.refused("changes", "u", password); kind != channel.WrongLogin {
		t.Errorf("old secret: %d %s", kind, text)
	}
	// What an old session still does must not come after what a new one did.
	if c, err := r.try("changes", "u", "another"); err != nil || c.say("ping") != "pong" {
		t.Errorf("new secret: %v", err)
	}
	if now := r.child("module changes"); now == old {
		t.Error("the process with the old configuration serves")
	}
	if unix.Kill(old, 0) == nil {
		t.Error("the old process has not ended before the new one began")
	}
	if err := os.WriteFile(r.file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the log", func() bool { return strings.Contains(r.logged(), "the old one stays") })
	if got := process1(stays); got != process {
		t.Errorf("after a broken configuration: %s, want %s", got, process)
	}
}

func TestPIDFileIsOfOneReceiver(t *testing.T) {
	name := t.TempDir() + "/pid"
	first, err := writePIDFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); err != nil || len(b) < 2 {
		t.Errorf("pid file %q %v", b, err)
	}
	first.remove()
	if _, err := os.Stat(name); err == nil {
		t.Error("the file is still there")
	}
	if err := os.Symlink("/etc/passwd", name); err != nil {
		t.Fatal(err)
	}
	if _, err := writePIDFile(name); err == nil {
		t.Error("a link was followed")
	}
}

func TestFailingProcessesAreStartedEverMoreSlowly(t *testing.T) {
	last := time.Duration(-1)
	for failures := range 40 {
		p := pause(failures)
		if p < last || p > longestPause {
			t.Errorf("after %d failures: %v", failures, p)
		}
		last = p
	}
}
