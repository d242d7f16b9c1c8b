package convert

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sersync/internal/config"
)

// testdata is where relative paths of the configurations start.
func testdata(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEveryKeyOfLsyncdIsCarriedOverOrSaid(t *testing.T) {
	file := "testdata/everything.lua"
	got, err := Convert(file, read(t, file), testdata(t))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(got.YAML), "\nruns: ")
	const want = `8
pid_file: /run/lsyncd.pid
log:
  file: /var/log/lsyncd.log
sources:
  - path: /data/www
    initial: true
    exclude:
      - "*.tmp"
      - /cache/
      - "**/a/b"
      - .git
      - x{y}
      - "*.bak"
      - /logs/
    events:
      modify: true
    targets:
      - url: rsync://web1/www
        password_file: /etc/lsyncd.pas
        rsync_options: --no-owner --numeric-ids -z
        timeout: 30s
        bandwidth: 2000KiB/s
      - url: rsync://web2/www
        password_file: /etc/lsyncd.pas
        rsync_options: --no-owner --numeric-ids -z
        timeout: 30s
        bandwidth: 2000KiB/s
  - path: /data/blog
    delete: false
    events:
      modify: true
    targets:
      - url: rsync+ssh://sync@web3:2222/srv/blog
        archive: false
        rsync_options: -r -l -t
        ssh_key: /etc/key
        ssh_options: -o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=/etc/known hosts'
  - path: /data/local
    initial: true
    delete: false
    events:
      modify: true
    targets:
      - url: /mnt/copy
        archive: false
        rsync_options: -r -l -t -p
`
	if body != want {
		t.Errorf("YAML is\n%s\nwant\n%s", body, want)
	}
	for _, note := range []string{
		`:4: warning: means something else now: pidfile`, `:5: notice: not needed: statusFile`, `:9: warning: means something else now: inotifyMode`,
		`:12: warning: not carried over: colour`, `:14: notice: not needed: logident`,
		`:22: warning: means something else now: delay = "5"`, `:23: notice: not needed: maxDelays`, `:25: warning: means something else now: excludeFrom`,
		`:33: notice: not needed: rsync.verbose`, `:35: warning: not carried over: rsync.binary`, `:36: warning: not carried over: rsync.copy_links`,
		`:37: warning: not carried over: rsync._extra = "--delete-excluded"`,
		`:47: warning: means something else now: delete = "running"`, `:48: warning: means something else now: init = "false"`,
		`:53: warning: not carried over: ssh.binary`, `:55: notice: not needed: xargs`, `:56: warning: not carried over: onCreate`, `:57: warning: not carried over: filter`,
		`:60: warning: means something else now: rsync = "archive = false"`, `:60: notice: not needed: maxProcesses`,
	} {
		if strings.Count(string(got.YAML), "\n#   "+file+note) != 1 {
			t.Errorf("it is not said once: %s\n%s", note, got.YAML)
		}
	}
}

// What the examples of lsyncd do, in our words; and the examples themselves, where lsyncd is installed. What cannot be
// carried over is said with a line.
func TestExamplesOfLsyncd(t *testing.T) {
	dir := testdata(t)
	type result struct {
		says string // of the error; empty for none
		url  string
		note string
	}
	none := "there is no sync that could be carried over"
	for file, want := range map[string]result{
		"alarm.lua":    {none, "", "alarm.lua:6: warning: not carried over: sync"},
		"shell.lua":    {none, "", "shell.lua:9: warning: not carried over: onCreate"},
		"postcmd.lua":  {"", "localhost:/path/to/trg", "postcmd.lua:13: warning: not carried over: postcmd"},
		"smallest.lua": {"", dir + "/trg", "smallest.lua:2: warning: means something else now: source"},
		"socket.lua":   {"socket.lua:2: require is not available", "", ""},
	} {
		got, err := Convert(file, read(t, filepath.Join("testdata", file)), dir)
		notes := ""
		for _, n := range got.Notes {
			notes += n.String() + "\n"
		}
		if want.says == "" && err != nil || want.says != "" && (err == nil || !strings.Contains(err.Error(), want.says)) {
			t.Errorf("%s: error %v, want %q", file, err, want.says)
		}
		if !strings.Contains(notes, want.note) || strings.Contains(notes, "s3cret") {
			t.Errorf("%s: notes are\n%swant %s", file, notes, want.note)
		}
		if want.url != "" && !strings.Contains(string(got.YAML), "url: "+want.url+"\n") {
			t.Errorf("%s: YAML is\n%s", file, got.YAML)
		}
	}
	shipped, err := filepath.Glob("/usr/share/doc/lsyncd/examples/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range shipped {
		got, err := Convert(file, unzipped(t, file), dir)
		var syntax *config.SyntaxError
		if err != nil && !errors.As(err, &syntax) && len(got.Notes) == 0 {
			t.Errorf("%s: nothing is said but %v", file, err)
		}
		if err == nil {
			if _, _, err := config.Parse("new.yaml", got.YAML); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func unzipped(t *testing.T, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A configuration reaches nothing but itself, and costs a bounded time and memory.
func TestScriptsAreConfined(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "file")
	for text, says := range map[string]string{
		`io.open("` + secret + `", "w"):write("x")`:                             "io.open is not available",
		`os.execute("touch ` + secret + `")`:                                    "os.execute is not available",
		`dofile("/etc/hostname")`:                                               "dofile is not available",
		`loadstring("return 1")()`:                                              "loadstring is not available",
		`local p = package.path`:                                                "package.path is not available",
		`while true do end`:                                                     "it takes",
		`local s = "x" while true do s = s .. s end`:                            "it takes",
		`local t = {} while true do t[#t+1] = {} end`:                           "it takes",
		`string.rep("x", 1e12)`:                                                 "string.rep makes more than",
		`local function f() return f() + 1 end f()`:                             "overflow",
		`local s = ("a"):rep(9000) .. "b" return s:find(("a*"):rep(30) .. "c")`: "",
		`sync{default.rsync, source=`:                                           "neither a confxml.xml nor Lua",
		`sources: [{path: /a}]`:                                                 "neither a confxml.xml nor Lua",
		`error({})`:                                                             "the Lua cannot be run",
		`sync("x")`:                                                             "bad argument",
		`sync{default.rsync, source="/", target="/x"}`:                          "no sync",
		`sync{default.rsync, source="/a", target="rsync://u:s3cret@h/m"}`:       "no sync",
		`sync{default.rsync, source="/a", target="h:rel"}`:                      "no sync",
		`sync{default.rsync, source="/a", target="/b", rsync={rsh="sshpass -p s3cret ssh"}} error()`: "the Lua cannot be run",
	} {
		began := time.Now()
		got, err := Convert("lsyncd.conf.lua", []byte(text), "/")
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q", text, err, says)
		}
		for _, n := range got.Notes {
			if strings.Contains(n.String(), "s3cret") {
				t.Errorf("a password is said: %s", n)
			}
		}
		if time.Since(began) > time.Minute {
			t.Errorf("%s: took %v", text, time.Since(began))
		}
	}
	if _, err := os.Stat(secret); err == nil {
		t.Error("a script wrote a file")
	}
}

func FuzzLsyncd(f *testing.F) {
	for _, file := range []string{"everything.lua", "shell.lua", "postcmd.lua", "smallest.lua"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Convert("lsyncd.conf.lua", data, "/")
		if err != nil {
			return
		}
		if _, _, err := config.Parse("new.yaml", got.YAML); err != nil {
			t.Errorf("%v\n%s", err, got.YAML)
		}
	})
}
