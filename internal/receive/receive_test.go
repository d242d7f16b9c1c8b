package receive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/channel"
)

func TestClientReachesItsModuleAndNoOther(t *testing.T) {
	r := start(t, testModule(t, "a"), testModule(t, "b"))
	a, b := r.login("a"), r.login("b")
	for c, m := range map[*client]Module{a: r.config.Modules[0], b: r.config.Modules[1]} {
		if err := os.Chmod(m.Path, 0o777); err != nil {
			t.Fatal(err)
		}
		if got := c.say("write f-" + m.Name); got != "done" {
			t.Errorf("write to module %q: %s", m.Name, got)
		}
		if _, err := os.Stat(filepath.Join(m.Path, "f-"+m.Name)); err != nil {
			t.Error(err)
		}
	}
	if r.child("module a") == r.child("module b") {
		t.Error("two modules share a process")
	}
	if again := r.login("a"); process1(again) != process1(a) {
		t.Error("a module has two processes")
	}
}

// process1 is the pid of the process that serves a client.
func process1(c *client) string { return strings.Fields(c.say("who"))[0] }

func TestWrongLoginsAreRefused(t *testing.T) {
	open := testModule(t, "open")
	open.Anonymous, open.Rules, open.Secrets = true, nil, nil
	denied := testModule(t, "denied")
	denied.Rules = []UserRule{{Pattern: "u", Access: Denied}, {Pattern: "*"}}
	r := start(t, testModule(t, "a"), open, denied)
	for _, c := range []struct {
		module, user, secret string
		want                 channel.Kind
	}{
		{"a", "u", "wrong", channel.WrongLogin},
		{"a", "other", password, channel.WrongLogin},
		{"denied", "u", password, channel.WrongLogin},
		{"none", "u", password, channel.NoModule},
		{"a", "", "", channel.NeedsLogin},
	} {
		if got, text := r.refused(c.module, c.user, c.secret); got != c.want {
			t.Errorf("%+v: %d %s", c, got, text)
		}
	}
	if c, err := r.try("open", "", ""); err != nil || c.say("ping") != "pong" {
		t.Errorf("module without users: %v", err)
	}
	if !r.enters("a") {
		t.Error("the right secret is refused")
	}
}

func TestReadOnlyModuleSaysWhichLineToChange(t *testing.T) {
	m := testModule(t, "m")
	m.ReadOnly = true
	m.Rules = []UserRule{{Pattern: "u"}, {Pattern: "w", Access: ReadWrite}, {Pattern: "r", Access: ReadOnly, Place: "conf:7"}}
	m.Secrets["w"], m.Secrets["r"] = password, password
	r := start(t, m)
	for user, want := range map[string]string{
		"u": `read_only="module \"m\" is read only: set \"read only = no\" in conf:2"`,
		"w": `read_only=""`,
		"r": `read_only="module \"m\" is read only for user \"r\": conf:7 says so with :ro"`,
	} {
		c, err := r.try("m", user, password)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.say("who"); !strings.Contains(got, want) {
			t.Errorf("user %q: %s, want %s", user, got, want)
		}
	}
}

func TestMembersOfAGroupLogInByTheirOwnSecretOrThatOfTheGroup(t *testing.T) {
	m := testModule(t, "m")
	m.Rules = []UserRule{
		{Pattern: "out", Group: true, Access: Denied, Members: map[string]string{"v": "out"}},
		{Pattern: "in", Group: true, Access: ReadOnly, Place: "conf:7", Members: map[string]string{"u": "in", "v": "in", "w": "in"}},
		{Pattern: "x"},
	}
	m.Secrets["v"], m.GroupSecrets = password, map[string]Secret{"in": "shared", "out": "shared"}
	r := start(t, m)
	for _, login := range [][2]string{{"u", password}, {"w", "shared"}} {
		c, err := r.try("m", login[0], login[1])
		if err != nil {
			t.Fatalf("user %q: %v", login[0], err)
		}
		if got := c.say("who"); !strings.Contains(got, "conf:7 says so with :ro") {
			t.Errorf("user %q: %s", login[0], got)
		}
	}
	for _, login := range [][2]string{
		{"u", "shared"},      // who has a secret of his own
		{"v", password},      // a group that is denied comes first
		{"v", "shared"},      //
		{"x", "shared"},      // in no group
		{"in", "shared"},     // the group is no user
		{"@in", "shared"},    //
		{"nobody", "shared"}, //
	} {
		if got, text := r.refused("m", login[0], login[1]); got != channel.WrongLogin {
			t.Errorf("%v: %d %s", login, got, text)
		}
	}
}

// jails reports whether processes have a root of their own here.
func jails() bool { return privileged() && len(libraries) == 0 }

// outside is a file that no process may touch.
func outside(t *testing.T) string {
	t.Helper()
	name := filepath.Join(testModule(t, "x").Path, "outside")
	if err := os.WriteFile(name, []byte("theirs"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// untouched fails when the file is not as outside made it.
func untouched(t *testing.T, name string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); string(content) != "theirs" || info.Mode() != 0o666 || int(st.Uid) != os.Getuid() {
		t.Errorf("the file is %q, %v of %d", content, info.Mode(), st.Uid)
	}
}

func TestFrontCanTouchNothing(t *testing.T) {
	r := start(t, testModule(t, "m"))
	file := outside(t)
	for _, try := range []string{
		"open " + file, "write " + file, "open /etc/passwd", "open /", "write /tmp/sersync-front", "run /bin/true",
		"connect " + r.address,
	} {
		if got := r.attack(try); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: %s", try, got)
		}
	}
	untouched(t, file)
	if jails() {
		for _, try := range []string{"stat " + file, "chmod " + file, "chown " + file, "chroot /", "stat /etc"} {
			if got := r.attack(try); !strings.HasPrefix(got, "error: ") {
				t.Errorf("%s: %s", try, got)
			}
		}
	}
	if privileged() {
		if status := statusOf(t, r.child("front")); status["CapPrm"] != strings.Repeat("0", 16) || !strings.HasPrefix(status["Uid"], "65534\t65534") || status["NoNewPrivs"] != "1" || status["Groups"] != "" {
			t.Errorf("front runs with %v", status)
		}
	}
}

// The module of root is the one that could do most: it may give files to anybody.
func TestModuleProcessCanTouchNothingOutside(t *testing.T) {
	m := testModule(t, "m")
	m.User = &User{UID: 0, GID: 0}
	r := start(t, m)
	file := outside(t)
	// A way out for who follows links: the module's users can make one.
	if err := os.Symlink(file, filepath.Join(m.Path, "link")); err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(m.Path, file)
	if err != nil {
		t.Fatal(err)
	}
	c := r.login("m")
	for _, name := range []string{file, "link", up, "../" + filepath.Base(m.Path) + "/../x", "/etc/passwd"} {
		for _, what := range []string{"open", "write", "chmod", "chown"} {
			if !jails() && (what == "chmod" || what == "chown") {
				continue // landlock keeps no attributes
			}
			// Below a root of its own a name leads to the module, where it is not.
			if got := c.say(what + " " + name); !strings.HasPrefix(got, "error: ") {
				t.Errorf("%s %s: %s", what, name, got)
			}
		}
	}
	for _, try := range []string{"chroot /", "connect " + r.address, "run /bin/true"} {
		if got := c.say(try); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: %s", try, got)
		}
	}
	untouched(t, file)
}

func TestModuleRunsAsItsUser(t *testing.T) {
	if !privileged() {
		t.Skip("needs root")
	}
	root, web := testModule(t, "root"), testModule(t, "web")
	root.User = &User{UID: 0, GID: 0}
	web.User = &User{UID: 4321, GID: 4322, Groups: []uint32{4323}}
	r := start(t, root, web)
	const owning = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
	for name, want := range map[string]string{
		"root": fmt.Sprintf("uid=65534 gid=65534 caps=%x jailed=%v owns=true", owning, jails()),
		"web":  fmt.Sprintf("uid=4321 gid=4322 caps=0 jailed=%v owns=false", jails()),
	} {
		if got := r.login(name).say("who"); !strings.Contains(got, want) {
			t.Errorf("module %q: %s, want %s", name, got, want)
		}
		status := statusOf(t, r.child("module "+name))
		if status["CapPrm"] != status["CapEff"] || status["NoNewPrivs"] != "1" {
			t.Errorf("module %q: %v", name, status)
		}
	}
	if got := statusOf(t, r.child("module web"))["Groups"]; got != "4323" {
		t.Errorf("groups %q", got)
	}
	// No thread has more.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", r.child("module root")))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%v %v", tasks, err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && !bytes.Contains(status, fmt.Appendf(nil, "CapPrm:\t%016x", owning)) {
			t.Errorf("thread %s: %s", task, status)
		}
	}
	// And it can do what it is for.
	file := filepath.Join(root.Path, "f")
	c := r.login("root")
	for _, command := range []string{"write f", "chown f", "chmod f"} {
		if got := c.say(command); got != "done" {
			t.Errorf("%s: %s", command, got)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Sys().(*syscall.Stat_t).Uid != 1234 || info.Mode()&os.ModeSetuid == 0 {
		t.Errorf("file %v %v", info, err)
	}
}

func TestProcOfAModuleLeadsNowhere(t *testing.T) {
	if !jails() {
		t.Skip("only a jail needs it, and there is none for a test with cgo or without root")
	}
	for _, uid := range []uint32{0, 4321} {
		m := testModule(t, "m")
		m.User = &User{UID: uid, GID: uid}
		file := filepath.Join(m.Path, "f")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
		r := start(t, m)
		if got := r.login("m").say("viaproc f"); got != "done" {
			t.Errorf("as %d: %s", uid, got)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("as %d: %v %v", uid, info, err)
		}
	}
}

// statusOf are the lines of /proc/PID/status.
func statusOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		all[key] = strings.TrimSpace(value)
	}
	return all
}

func TestNoSecretIsSeenFromOutside(t *testing.T) {
	if !privileged() {
		t.Skip("needs root, to look into processes that hide")
	}
	r := start(t, testModule(t, "m"))
	c := r.login("m")
	if got := c.say("who"); !strings.Contains(got, "secrets=0") {
		t.Errorf("the module's process knows secrets: %s", got)
	}
	r.refused("m", "u", "wrong")
	pids := map[string]int{"broker": r.cmd.Process.Pid, "front": r.child("front"), "module": r.child("module m")}
	for name, pid := range pids {
		for _, file := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte(password)) {
				t.Errorf("%s of the %s has the secret", file, name)
			}
		}
		if name == "broker" {
			continue // its environment is ours
		}
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); bytes.Count(b, []byte{0}) > 1 {
			t.Errorf("environment of the %s: %q", name, b)
		}
		// Who is not dumpable belongs to root: others of its user can neither trace it nor read its memory.
		if info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", pid)); err == nil && info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("memory of the %s belongs to %d", name, info.Sys().(*syscall.Stat_t).Uid)
		}
	}
	if strings.Contains(r.logged(), password) {
		t.Error("the log has the secret")
	}
}

func TestProcessesInheritNothingElse(t *testing.T) {
	if !privileged() {
		t.Skip("needs root, to look into processes that hide")
	}
	m := testModule(t, "m")
	r := start(t, m)
	process1(r.login("m"))
	for words, allowed := range map[string][]string{"front": {"/dev/null"}, "module m": {"/dev/null", m.Path, "/"}} {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.child(words)))
		if err != nil || len(links) < 4 {
			t.Fatalf("%v %v", links, err)
		}
		for _, link := range links {
			// Sockets, pipes and the like have no name that begins with a slash.
			if name, err := os.Readlink(link); err == nil && strings.HasPrefix(name, "/") && !slices.Contains(allowed, name) {
				t.Errorf("%s has %s open", words, name)
			}
		}
	}
}
