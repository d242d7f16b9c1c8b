package config

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// readParams reads options into a target and returns the problems as well.
func readParams(text string) (settings, []string) {
	r := &report{file: "f"}
	s := settings{Target: newTarget(Place{})}
	parseParams(r, 1, text, &s, func(string) {})
	var told []string
	for _, p := range r.problems {
		told = append(told, p.String())
	}
	return s, told
}

func TestOptionsOfRsyncArePassedOnWordByWord(t *testing.T) {
	cases := map[string]string{
		"-artuz":                          "-a -r -t -u -z",
		"-avzP --progress --stats -R":     "-a -z",
		"-vzrtopg":                        "-z -r -t -o -p -g",
		"-a --chmod D755":                 "-a --chmod=D755",
		"-a --chmod=D755,F644":            "-a --chmod=D755,F644",
		"-aB 1000":                        "-a --block-size=1000",
		"-aB1000":                         "-a --block-size=1000",
		"-a -B=1000":                      "-a --block-size=1000",
		"--archive --update":              "-a -u",
		"-a --rsync-path 'sudo rsync'":    "-a --rsync-path=sudo rsync",
		`-a --suffix=\ "x"'y'`:            "-a --suffix= xy",
		"-a --no-perms --no-o --no-motd":  "-a --no-perms --no-o",
		"-a -M--fake-super":               "-a --remote-option=--fake-super",
		"-a --timeout=5 --port 874":       "-a",
		"-a --exclude='*.log' -d --force": "-a",
		"":                                "",
	}
	for text, want := range cases {
		s, told := readParams(text)
		if got := strings.Join(s.Params, " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "refused") }) {
			t.Errorf("%s: %q", text, told)
		}
	}
}

func TestOptionsOfRsyncThatAreSettings(t *testing.T) {
	s, told := readParams("-a --timeout=5 --contimeout 6 --bwlimit=100 --port=874 -e 'ssh -p 2222 -i /k -C -o A=b'")
	if s.Timeout != 5*time.Second || s.ConnectTimeout != 6*time.Second || s.Bandwidth != 102400 || s.port != 874 {
		t.Errorf("settings %+v", s)
	}
	if s.sshPort != 2222 || s.SSHKey != "/k" || !slices.Equal(s.SSHOptions, []string{"-C", "-o", "A=b"}) {
		t.Errorf("ssh %+v", s)
	}
	if len(told) > 0 {
		t.Errorf("told %q", told)
	}
	for text, want := range map[string]int64{"1m": 1 << 20, "1.5": 1536, "2MB": 2e6, "0": 0} {
		if s, _ := readParams("-a --bwlimit=" + text); s.Bandwidth != want {
			t.Errorf("bwlimit %s is %d, want %d", text, s.Bandwidth, want)
		}
	}
}

func TestExcludesOfRsyncBecomeGlobsThatMeanTheSame(t *testing.T) {
	cases := map[string]string{
		"*.log": "*.log", "/cache/": "/cache/", "dir/": "dir/", "a/b": "**/a/b", "a/b/": "**/a/b/", "/a/b": "/a/b", "dir/***": "dir/", "!x": `\!x`,
		"**/x": "**/x", "/a/**": "/a/**",
	}
	for pattern, want := range cases {
		if got, err := GlobOfRsync(pattern); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"", "/", "- a", "+ a", "!", "a**b", "[[:alpha:]]", "***"} {
		if got, err := GlobOfRsync(pattern); err == nil {
			t.Errorf("%s: %q, want an error", pattern, got)
		}
	}
}

// The table is closed: it knows what the rsync of this machine knows.
func TestTableKnowsEveryOptionOfRsync(t *testing.T) {
	help, err := exec.Command("rsync", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\s*(?:(--[A-Za-z0-9-]+)(=\S+)?(?:, )?)?(-[A-Za-z0-9@])?\s`).FindAllStringSubmatch(string(help), -1)
	known := 0
	for _, line := range lines {
		long, value, short := strings.TrimPrefix(line[1], "--"), line[2], strings.TrimPrefix(line[3], "-")
		if long == "" && short == "" || strings.HasPrefix(long, "no-") {
			continue
		}
		known++
		o := find(options, func(o *option) bool {
			return long != "" && o.long == long || long == "" && o.short == short[0]
		})
		switch {
		case long == "old-d":
		case o == nil:
			t.Errorf("%q is not in the table", line[0])
		case long != "" && o.value != (value != ""):
			t.Errorf("--%s takes a value: %t", long, value != "")
		case long != "" && short != "" && long != "help" && o.short != short[0]:
			t.Errorf("--%s is not -%s", long, short)
		}
	}
	if known < 140 {
		t.Errorf("%d options were found in the help of rsync", known)
	}
}

func TestTableSaysWhy(t *testing.T) {
	for _, o := range append(slices.Clone(options), negations...) {
		if (o.verdict == weaken || o.verdict == refuse || o.verdict == drop) != (o.why != "") {
			t.Errorf("--%s -%c: reason %q", o.long, o.short, o.why)
		}
	}
}

// What our own code replicates anyway needs no rsync in a directory of this machine.
func TestDirectoryOfThisMachineHasRsyncOnlyForWhatRsyncAloneCan(t *testing.T) {
	for options, want := range map[string]string{
		"": "-a", "-a": "-a", "-aH": "-a -H", "-aHAX": "-a -H -A -X, xattrs", "-x": "-a -x", "-aHO": "-a -H -O, rsync", "--chmod=D755": "-a --chmod=D755, rsync",
	} {
		c, _ := parseGood(t, "conf", "sources:\n  - path: /src\n    targets:\n      - url: /dst\n        rsync_options: '"+options+"'\n")
		target := c.Sources[0].Targets[0]
		got := strings.Join(target.Params, " ")
		if target.Xattrs {
			got += ", xattrs"
		}
		if target.Rsync() {
			got += ", rsync"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", options, got, want)
		}
	}
}

// What an option means to rsync is said for targets of rsync alone; for others only what is lost by it.
func TestOptionsOfRsyncAreToldOfAsTheTargetHasThem(t *testing.T) {
	const (
		binds   = `: notice: -u binds sweeps only: a live change is sent whatever the time of the file on the target`
		slow    = `: warning: this option of rsync weakens a promise: "-z": on a LAN it only costs time; use it on slow lines`
		newer   = `: warning: this option of rsync does not hold for a target without rsync: "-u": a file that is newer there is replaced by that of the source; keep an rsync:// target where that must not be`
		mounted = `: warning: this option of rsync does not hold for a target without rsync: "-x": what is mounted below the source is replicated; write one_file_system: true for the source (YAML) where that must not be`
	)
	xml := func(common string, remotes ...string) string {
		text := "<head><sersync><localpath watch=\"/a\">\n"
		for _, r := range remotes {
			text += `<remote ip="h" ` + r + "/>\n"
		}
		return text + "</localpath><rsync>" + common + "</rsync></sersync></head>"
	}
	yaml := func(source string, targets ...string) string {
		text := "sources:\n- path: /a\n"
		for n, target := range targets {
			if n == 0 {
				text += "  targets:\n"
			}
			text += "  - {" + target + "}\n"
		}
		return text + source
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"own stream":      {xml(`<commonParams params="-artuz"/>`, `name="m" transport="native"`), []string{"3" + newer}},
		"nobody wrote -u": {xml("", `name="m" transport="native"`), []string{"2" + newer}},
		"both":            {xml(`<commonParams params="-artuz"/>`, `name="m" transport="native"`, `name="n"`, `name="o"`, `name="p" transport="native"`), []string{"6" + newer, "6" + binds, "6" + slow}},
		"its own params":  {xml(`<commonParams params="-artuz"/>`, `name="m" transport="native" params="-az"`), nil},
		"over ssh":        {xml(`<commonParams params="-aux"/><ssh start="true"/>`, `name="/m" transport="native"`), []string{"3" + newer, "3" + mounted}},
		"without -a":      {xml(`<commonParams params="-rtH"/>`, `name="m" transport="native"`), nil},
		"YAML":            {yaml("", "url: 'sersync://h/m', rsync_options: -uzx", "url: 'ssh://h/m', rsync_options: -u"), []string{"4" + newer, "4" + mounted, "5" + newer}},
		"on one system":   {yaml("  one_file_system: true\n", "url: 'sersync://h/m', rsync_options: -x", "url: /b, rsync_options: -x"), nil},
		"here":            {yaml("", "url: /b, rsync_options: -xH"), []string{"4" + mounted}},
		"here by rsync":   {yaml("", "url: /b, rsync_options: -u"), []string{"4" + binds}},
	} {
		file := "f.yaml"
		if strings.HasPrefix(c.text, "<") {
			file = "f.xml"
		}
		_, problems, err := Parse(file, []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var told []string
		for _, p := range problems {
			if text := p.String(); strings.Contains(text, "option") || strings.Contains(text, "-u") {
				told = append(told, strings.TrimPrefix(text, file+":"))
			}
		}
		if !slices.Equal(told, c.want) {
			t.Errorf("%s: %s\nwant %s", name, strings.Join(told, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
