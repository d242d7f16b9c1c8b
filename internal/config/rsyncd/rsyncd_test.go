package rsyncd

import (
	"errors"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/receive"
)

// files are the directory and the secrets that most tests need.
func files(t *testing.T) (dir, secrets string) {
	t.Helper()
	dir = t.TempDir()
	secrets = filepath.Join(dir, "secrets")
	write(t, secrets, "# who\nbackup:correct: horse\r\n\nwww1:one\nbackup:second\n@group:x\n")
	return dir, secrets
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// texts are the problems as a person sees them, without the directory of the test.
func texts(problems []config.Problem, dir string) []string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, strings.ReplaceAll(p.String(), dir, "DIR"))
	}
	return lines
}

func load(t *testing.T, dir, content string) (*receive.Config, []string, error) {
	t.Helper()
	file := filepath.Join(dir, "rsyncd.conf")
	write(t, file, strings.ReplaceAll(content, "DIR", dir))
	c, problems, err := Load(file, Certificates{})
	return c, texts(problems, dir), err
}

// What the people of the first tutorial have, but for users that are not on every machine.
func TestTutorialOfOneBackupServer(t *testing.T) {
	dir, _ := files(t)
	c, problems, err := load(t, dir, `#rsync_config
uid = 65534
gid = 65534
use chroot = no
max connections = 200
fake super = yes
timeout = 600
pid file = /var/run/rsyncd.pid
log file = /var/log/rsyncd.log
ignore errors
read only = false
hosts allow = 172.16.1.0/24
hosts deny = 0.0.0.0/32
auth users = backup
secrets file = DIR/secrets
[backup]
path = DIR
[nfsbackup]
uid = 0
gid = 0, 12
path = DIR
`)
	if err != nil {
		t.Fatal(err)
	}
	place := func(line int) string { return filepath.Join(dir, "rsyncd.conf") + ":" + strconv.Itoa(line) }
	backup := receive.Module{
		Name: "backup", Path: dir, Place: place(16), User: &receive.User{UID: 65534, GID: 65534, Groups: []uint32{}},
		ReadOnlyPlace: place(11), List: true,
		Rules:   []receive.UserRule{{Pattern: "backup", Place: place(14)}},
		Secrets: map[string]receive.Secret{"backup": "correct: horse", "www1": "one"}, GroupSecrets: map[string]receive.Secret{"group": "x"},
		Hosts: receive.HostRules{
			Allow:   receive.Hosts{{Prefix: netip.MustParsePrefix("172.16.1.0/24")}},
			Deny:    receive.Hosts{{Prefix: netip.MustParsePrefix("0.0.0.0/32")}},
			Reverse: true, Forward: true,
		},
		MaxConnections: 200, Timeout: 600 * time.Second, FakeSuper: true,
	}
	second := backup
	second.Name, second.Place = "nfsbackup", place(18)
	second.User = &receive.User{UID: 0, GID: 0, Groups: []uint32{12}}
	if os.Geteuid() != 0 {
		backup.User, second.User = nil, nil
	}
	want := &receive.Config{
		Listen: ":8730", PIDFile: "/var/run/rsyncd.pid", LogFile: "/var/log/rsyncd.log",
		Modules: []receive.Module{backup, second},
	}
	if diff := cmp.Diff(want, c, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		`DIR/rsyncd.conf:10: warning: an option without a value, which counts for nothing: "ignore errors": write ignore errors = VALUE, or remove it`,
		`DIR/rsyncd.conf:13: warning: hosts deny names the address 0.0.0.0 alone, so whoever is not in hosts allow is let in: "0.0.0.0/32": remove the line: with hosts allow alone all others are denied; or write 0.0.0.0/0`,
	}, problems); diff != "" {
		t.Error(diff)
	}
}

func TestTutorialOfTwoWebServers(t *testing.T) {
	dir, _ := files(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := load(t, dir, `
uid = nobody
use chroot = no
max connections = 100
hosts allow = 192.168.9.0/255.255.255.0
list = no
[web1]
path = DIR
write only = yes
auth users = www1
secrets file = DIR/secrets
`)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Modules[0]
	if want := netip.MustParsePrefix("192.168.9.0/24"); len(m.Hosts.Allow) != 1 || m.Hosts.Allow[0].Prefix != want {
		t.Errorf("hosts allow %v, want %v", m.Hosts.Allow, want)
	}
	if !m.WriteOnly {
		t.Error("write only is not honoured")
	}
	if !m.ReadOnly || m.List {
		t.Errorf("read only %v, list %v: a module is read only unless it says otherwise", m.ReadOnly, m.List)
	}
	if os.Geteuid() == 0 && strconv.Itoa(int(m.User.UID)) != nobody.Uid {
		t.Errorf("user %+v, want nobody", m.User)
	}
}

func TestAllProblemsAreToldWithTheirLine(t *testing.T) {
	dir, _ := files(t)
	if err := os.WriteFile(filepath.Join(dir, "open"), []byte("a:b\n"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "open"), 0o604); err != nil {
		t.Fatal(err)
	}
	_, problems, err := load(t, dir, `port = 70000
pth = /x
[a]
path = relative
read only = perhaps # not sure
hosts allow = 10.0.0.0/33 300.1.1.1/8 @netgroup
auth users = joe:deny @no-such-group:deny susan:write
secrets file = DIR/open
max connections = many
exclude = ok [[:alpha:]]
incoming chmod = D755,u=q
[b]
path = /home/%RSYNC_USER_NAME%
motd file = /etc/motd
port = 1
[]
no equals sign
&include relative
`)
	var invalid *config.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		`DIR/rsyncd.conf:1: port is no number of a port: "70000"`,
		`DIR/rsyncd.conf:2: there is no option "pth": did you mean path?`,
		`DIR/rsyncd.conf:4: path is not absolute: "relative": begin it with a slash`,
		`DIR/rsyncd.conf:5: read only is neither yes nor no: "perhaps # not sure": write yes or no; a # after a value begins no comment`,
		`DIR/rsyncd.conf:6: a host that is not understood: "10.0.0.0/33": a network of this kind has at most 32 bits`,
		`DIR/rsyncd.conf:6: a host that is not understood: "300.1.1.1/8"`,
		`DIR/rsyncd.conf:6: a host that is not understood: "@netgroup": netgroups are not honoured`,
		`DIR/rsyncd.conf:7: auth users denies a group that is not in /etc/group: "@no-such-group:deny"`,
		`DIR/rsyncd.conf:7: user with a right that is not known: "susan:write"`,
		`DIR/rsyncd.conf:8: secrets file can be read or written by everybody, so it is refused: "DIR/open": chmod 600 DIR/open`,
		`DIR/rsyncd.conf:9: max connections is no number: "many"`,
		`DIR/rsyncd.conf:10: exclude has a pattern that cannot be used: "[[:alpha:]]"`,
		`DIR/rsyncd.conf:11: incoming chmod cannot be used: "D755,u=q": "u=q": write it as D755, u=rw or go-w`,
		`DIR/rsyncd.conf:12: module without a path: "b"`,
		`DIR/rsyncd.conf:13: path has a variable: "/home/%RSYNC_USER_NAME%"`,
		`DIR/rsyncd.conf:14: notice: not honoured: "motd file = /etc/motd"`,
		`DIR/rsyncd.conf:15: warning: stands in a module and counts in the global part alone: "port"`,
		`DIR/rsyncd.conf:16: a module without a name: write [NAME]`,
		`DIR/rsyncd.conf:17: a line that is neither a module nor name = value: "no equals sign"`,
		`DIR/rsyncd.conf:18: a file to read that is not absolute: "relative"`,
	} {
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, want) }) {
			t.Errorf("not told: %s\n%s", want, strings.Join(problems, "\n"))
		}
	}
}

func TestFormOfTheFile(t *testing.T) {
	dir, _ := files(t)
	write(t, filepath.Join(dir, "x.inc"), "max connections = 3\n")
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "d", "y.conf"), "timeout = 7\n[included]\npath = "+dir+"\n")
	c, problems, err := load(t, dir, "\xef\xbb\xbf; a comment\r\n"+`ReadOnly = No
  TIME  OUT=5
auth users = backup,\
   www1:ro
secrets file = DIR/secrets
[  my   module ]
path = DIR/./.
&merge DIR/x.inc
exclude = *.tmp + keep.log *.log
&include DIR/d
[last]
path = DIR
exclude = 100%%=all
numeric ids = yes
transfer logging = no
refuse options = delete c
`)
	if err != nil {
		t.Fatalf("%v %v", err, problems)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "refuse options = c") {
		t.Errorf("problems %v", problems)
	}
	if len(c.Modules) != 3 {
		t.Fatalf("modules %+v", c.Modules)
	}
	mine, included, last := c.Modules[0], c.Modules[1], c.Modules[2]
	if mine.Name != "my module" || mine.Path != dir || mine.MaxConnections != 3 || mine.ReadOnly || mine.Timeout != 5*time.Second {
		t.Errorf("first module %+v", mine)
	}
	if len(mine.Rules) != 2 || mine.Rules[1].Pattern != "www1" || mine.Rules[1].Access != receive.ReadOnly {
		t.Errorf("a line that goes on: %+v", mine.Rules)
	}
	if included.Name != "included" || included.Timeout != 7*time.Second || included.ReadOnly {
		t.Errorf("included module %+v", included)
	}
	if last.Timeout != 5*time.Second || !strings.HasSuffix(last.Exclude[0].Pattern, "100%=all") || !last.RefuseRemovals {
		t.Errorf("last module %+v: an included file changes no defaults here", last)
	}
	f, err := filter.New(mine.Exclude...)
	if err != nil {
		t.Fatal(err)
	}
	for name, keep := range map[string]bool{"keep.log": true, "a.log": false, "d/a.tmp": false, "a.txt": true} {
		if got := f.Verdict(pathOf(name), filter.File).Keep; got != keep {
			t.Errorf("%s is kept: %v, want %v: the first pattern that matches decides", name, got, keep)
		}
	}
}

func TestModuleWithoutUsersIsOpenAndSaysSo(t *testing.T) {
	dir, _ := files(t)
	c, problems, err := load(t, dir, "[open]\npath = DIR\nread only = no\n")
	if err != nil || !c.Modules[0].Anonymous {
		t.Fatalf("%+v %v", c, err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "warning: module without auth users, so whoever reaches it can change it") {
		t.Errorf("problems %v", problems)
	}
}

// A rule that is for nobody must not open the module.
func TestModuleOfAGroupThatIsMissingLetsNobodyIn(t *testing.T) {
	dir, _ := files(t)
	c, problems, err := load(t, dir, "[m]\npath = DIR\nauth users = @no-such-group\nsecrets file = DIR/secrets\n")
	if err != nil || c.Modules[0].Anonymous || len(c.Modules[0].Rules[0].Members) != 0 {
		t.Fatalf("%+v %v", c, err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], `group is not in /etc/group, so nobody is let in for it: "@no-such-group"`) {
		t.Errorf("problems %v", problems)
	}
}

func TestUserWithoutAPasswordIsNamed(t *testing.T) {
	dir, _ := files(t)
	_, problems, err := load(t, dir, "[m]\npath = DIR\nauth users = backup nobody2\nsecrets file = DIR/secrets\n")
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], `"nobody2": add the line nobody2:PASSWORD`) {
		t.Fatalf("%v %v", problems, err)
	}
}

func TestSingleDirectory(t *testing.T) {
	dir, secrets := files(t)
	c, problems, err := Single(dir, secrets, Certificates{})
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v %v", problems, err)
	}
	m := c.Modules[0]
	if m.Name != SingleName || m.Path != dir || m.ReadOnly || m.Anonymous || m.Secrets["backup"] != "correct: horse" {
		t.Errorf("module %+v", m)
	}
}

func TestSingleDirectoryMustBeThere(t *testing.T) {
	dir, secrets := files(t)
	for root, want := range map[string]string{
		dir + "/none":    `--root does not exist: "` + dir + `/none": make it: mkdir ` + dir + `/none, or correct the name`,
		secrets:          `--root is no directory: "` + secrets + `": name a directory: make it by mkdir, or correct the name`,
		secrets + "/sub": `--root cannot be looked at: "` + secrets + `/sub": stat ` + secrets + `/sub: not a directory`,
	} {
		if c, _, err := Single(root, secrets, Certificates{}); err == nil || c != nil || err.Error() != want {
			t.Errorf("%s: %v, %v, want %s", root, c, err, want)
		}
	}
}

func TestNoSecretIsInAProblem(t *testing.T) {
	dir, secrets := files(t)
	write(t, secrets, "hunter2\n:hunter2\nbackup:hunter2\n")
	c, problems, err := load(t, dir, "[m]\npath = DIR\nauth users = backup\nsecrets file = DIR/secrets\n")
	if err != nil || len(problems) != 2 {
		t.Fatalf("%v %v", problems, err)
	}
	for _, p := range problems {
		if strings.Contains(p, "hunter2") {
			t.Errorf("told: %s", p)
		}
	}
	if got := c.Modules[0].Secrets["backup"].String(); strings.Contains(got, "hunter2") {
		t.Errorf("printed: %s", got)
	}
}
