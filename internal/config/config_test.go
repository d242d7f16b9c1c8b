package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/filter"
)

// parseGood parses what has no error, and returns warnings and notices.
func parseGood(t *testing.T, file, text string) (*Config, []string) {
	t.Helper()
	c, problems, err := Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, p := range problems {
		told = append(told, p.String())
	}
	return c, told
}

func rule(place string) filter.Rule { return filter.Hidden(place) }

// source and target are the defaults, as the documentation gives them.
func source(line int, path string, rules []filter.Rule, targets ...Target) Source {
	return Source{
		Place: Place{"conf", line}, Name: path, Path: path, Delete: true, Rules: rules,
		RemovalBudget: RemovalBudget{Paths: 1000, Percent: 20, Most: 50},
		CloseWait:     time.Second, QuietWait: 5 * time.Second, OpenMax: time.Minute, Watch: "auto", GapEvery: 30 * time.Second,
		Verify:  Verify{Content: true},
		Targets: targets,
	}
}

func target(line int, kind Kind, host, path string, change func(*Target)) Target {
	t := Target{
		Place: Place{"conf", line}, Kind: kind, Host: host, Path: path, Params: []string{"-a"},
		Timeout: 100 * time.Second, ConnectTimeout: 10 * time.Second, Warm: true,
		Pace: 40 * time.Millisecond, Large: 64 << 20, DeadAfter: 12,
	}
	if change != nil {
		change(&t)
	}
	return t
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSampleOfYAML(t *testing.T) {
	c, told := parseGood(t, "conf", `sources:
  - path: /data/www
    initial: true
    exclude: ["*.swp", "/cache/"]
    targets:
      - url: rsync://rsync_backup@172.16.1.41/backup
        password_file: /etc/rsync.password
`)
	equal(t, []string(nil), told)
	want := source(2, "/data/www", []filter.Rule{filter.Glob("conf:4", "*.swp"), filter.Glob("conf:4", "/cache/")},
		target(6, Daemon, "172.16.1.41", "backup", func(t *Target) {
			t.User, t.PasswordFile = "rsync_backup", "/etc/rsync.password"
		}))
	want.Initial = true
	equal(t, []Source{want}, c.Sources)
	equal(t, 0, c.Runs)
	equal(t, Log{Format: "text", Level: "info"}, c.Log)
}

// The smallest file that 2.5.4 would not even have started with: all that is missing has the shipped value.
func TestMissingElementsOfXMLHaveTheShippedValues(t *testing.T) {
	c, told := parseGood(t, "conf", `<HEAD><SerSync><LocalPath WATCH="/data//"><REMOTE Ip="h" NAME="m"/></LocalPath></SerSync></HEAD>`)
	equal(t, []Source{source(1, "/data", []filter.Rule{rule("conf")}, target(1, Daemon, "h", "m", func(t *Target) {
		t.Params = []string{"-a", "-r", "-t", "-u", "-z"}
	}))}, c.Sources)
	equal(t, FailLog{Path: "/tmp/rsync_fail_log.sh", RetryEvery: time.Hour}, c.FailLog)
	equal(t, []string{
		`conf: notice: createFile is off, and symlinks, hard links and pipes are replicated all the same: <inotify strict="true"> brings the old behaviour back`,
		`conf: notice: attrib is off, and changes of mode, owner and time are replicated all the same: <inotify strict="true"> brings the old behaviour back`,
		`conf: notice: -u binds sweeps only: a live change is sent whatever the time of the file on the target`,
		`conf: warning: this option of rsync weakens a promise: "-z": on a LAN it only costs time; use it on slow lines`,
	}, told)
}

func TestSwitchesOfXML(t *testing.T) {
	c, _ := parseGood(t, "conf", `<head>
<debug start="true"/>
<filter start="true" hidden="true"><exclude expression="(.*)\.svn"/></filter>
<inotify strict="true"><delete start="false"/><createFolder start="false"/><createFile start="false"/>
<closeWrite start="false"/><moveFrom start="false"/><moveTo start="false"/><attrib start="false"/><modify start="true"/></inotify>
<sersync><localpath watch="/d"><remote ip="h" name="m"/></localpath>
<rsync><commonParams params="-az '--exclude=*.log' --exclude=/cache/ --exclude a/b"/></rsync>
<crontab start="true" schedule="5"><crontabfilter start="true"><exclude expression="*.php"/></crontabfilter></crontab>
<failLog path="/x" timeToExecute=""/></sersync></head>`)
	s := c.Sources[0]
	equal(t, Events{true, true, true, true, true, true, true}, s.Events)
	equal(t, false, s.Delete)
	equal(t, Sweep{Every: 5 * time.Minute, Exclude: []string{"*.php"}}, s.Sweep)
	equal(t, []filter.Rule{
		filter.Regex("conf:3", `(.*)\.svn`), filter.Glob("conf:7", "*.log"), filter.Glob("conf:7", "/cache/"), filter.Glob("conf:7", "**/a/b"),
	}, s.Rules)
	equal(t, "debug", c.Log.Level)
	equal(t, FailLog{"/x", 2 * time.Hour}, c.FailLog)
}

func TestRemoteOverridesWhatIsCommon(t *testing.T) {
	c, _ := parseGood(t, "conf", `<head><sersync><localpath watch="/d">
<remote ip="h" name="m"/>
<remote ip="h2" name="m" port="874" users="u2" passwordfile="/p2" params="-rt" timeout="7" connecttimeout="3" bwlimit="100"/>
<remote ip="h3" name="/dir" ssh="true" sshport="2222" sshkey="/k" passwordfile=""/>
<remote ip="u4@[2001:db8::1]" name="m/sub/"/>
</localpath><rsync><commonParams params="-a"/><auth start="true" users="u" passwordfile="/p"/>
<userDefinedPort start="true" port="875"/><timeout start="true" time="50"/></rsync></sersync></head>`)
	equal(t, []Target{
		target(2, Daemon, "h", "m", func(t *Target) {
			t.User, t.PasswordFile, t.Port, t.Timeout = "u", "/p", 875, 50*time.Second
		}),
		target(3, Daemon, "h2", "m", func(t *Target) {
			t.User, t.PasswordFile, t.Port, t.Timeout = "u2", "/p2", 874, 7*time.Second
			t.ConnectTimeout, t.Bandwidth, t.Params = 3*time.Second, 102400, []string{"-r", "-t"}
		}),
		target(4, SSH, "h3", "/dir", func(t *Target) { t.User, t.Port, t.Timeout, t.SSHKey = "u", 2222, 50*time.Second, "/k" }),
		target(5, Daemon, "2001:db8::1", "m/sub", func(t *Target) {
			t.User, t.PasswordFile, t.Port, t.Timeout = "u4", "/p", 875, 50*time.Second
		}),
	}, c.Sources[0].Targets)
}

func TestBytesOfXMLPassThrough(t *testing.T) {
	for _, encoding := range []string{"", `<?xml version="1.0" encoding="ISO-8859-1"?>`, `<?xml version="1.0" encoding="GB2312"?>`} {
		c, _ := parseGood(t, "conf", encoding+"<head><sersync><localpath watch=\"/\xd6\xd0/é &amp; &#65;\"><remote ip='h' name='m'/></localpath></sersync></head>")
		equal(t, "/\xd6\xd0/é & A", c.Sources[0].Path)
	}
}

func TestMissingFileIsASyntaxError(t *testing.T) {
	var syntax *SyntaxError
	if _, _, err := Load(filepath.Join(t.TempDir(), "confxml.xml")); !errors.As(err, &syntax) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestFromArgs(t *testing.T) {
	dir := t.TempDir()
	c, told, err := FromArgs(dir, []string{"rsync://u@h:874/m/p", "u@h2:/x", dir + "-copy"})
	if err != nil || len(told) > 0 {
		t.Fatal(err, told)
	}
	if !c.Sources[0].Initial || !strings.HasPrefix(c.Name, "sync-") {
		t.Errorf("config %+v", c)
	}
	var urls []string
	for _, t := range c.Sources[0].Targets {
		urls = append(urls, t.URL())
	}
	equal(t, []string{"rsync://u@h:874/m/p", "u@h2:/x", dir + "-copy"}, urls)
	other, _, err := FromArgs(dir, []string{"rsync://u@h:874/m"})
	if err != nil || other.Name == c.Name {
		t.Errorf("two runs share the name %s (%v)", c.Name, err)
	}
	if _, _, err := FromArgs(dir, nil); err == nil {
		t.Error("no target was taken")
	}
}

func TestIdentityIgnoresLinesAndNothingElse(t *testing.T) {
	text := "sources:\n- path: /d\n  exclude: [a]\n  targets:\n  - url: h:/x\n"
	first, _ := parseGood(t, "conf", text)
	moved, _ := parseGood(t, "conf", "# moved\n\n"+text)
	changed, _ := parseGood(t, "conf", strings.ReplaceAll(text, "[a]", "[b]")+"    timeout: 5s\n")
	a, b, c := first.Sources[0], moved.Sources[0], changed.Sources[0]
	if a.Identity() != b.Identity() || a.Targets[0].Identity() != b.Targets[0].Identity() {
		t.Error("the line makes a difference")
	}
	if a.Identity() == c.Identity() || a.Targets[0].Identity() == c.Targets[0].Identity() {
		t.Error("a change makes no difference")
	}
	if c.Targets[0].Timeout = a.Targets[0].Timeout; a.Targets[0].Identity() != c.Targets[0].Identity() {
		t.Error("the source is part of the identity of a target")
	}
}

func TestOwnFilesInsideTheSourceAreRules(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	c := &Config{StateDir: dir + "/var/state", Log: Log{File: dir + "-link/x.log"}, Socket: "/run/x", PidFile: "/run/y"}
	rules := c.RulesFor(Source{Path: dir, Rules: []filter.Rule{filter.Glob("c:1", "a")}})
	equal(t, []filter.Rule{filter.Glob("c:1", "a"), filter.Own("var/state"), filter.Own("x.log")}, rules)
}
