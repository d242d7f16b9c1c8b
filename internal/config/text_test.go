package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSplitWordsAsAShellWithoutBeingOne(t *testing.T) {
	cases := map[string][]string{
		"a  b\tc\n": {"a", "b", "c"}, `'a b'"c d"`: {"a bc d"}, `a\ b`: {"a b"}, `""`: {""}, `"a\"b\\c\d"`: {`a"b\c\d`}, `'a\'`: {`a\`},
		`*.c ~/x {a,b} #c =`: {"*.c", "~/x", "{a,b}", "#c", "="}, `'$x;'`: {"$x;"}, "\xff": {"\xff"}, "": nil,
	}
	for line, want := range cases {
		if got, err := splitWords(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`a'`, `"a`, `a\`, "$x", "`id`", `"$(id)"`, "a;b", "a|b", "a&", "a>b", "(a)"} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("%s: %q, want an error", line, got)
		}
	}
}

func TestSizesAndRates(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "1KiB": 1024, "1k": 1024, "1KB": 1000, "1.5 MiB": 3 << 19, "10MB": 1e7, "2g": 2 << 30, "1TB": 1e12} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1e3", "1XB", "Inf", "NaN", "0x10", "1_0", "99999999TB", "1 2", "1..2"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%s: %d, want an error", text, got)
		}
	}
	for text, want := range map[string]int64{"none": 0, "0": 0, "10MB/s": 1e7, "500KiB/s": 512000, "2m": 2 << 20} {
		if got, err := parseBandwidth(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	if _, err := parseBandwidth("10"); err == nil {
		t.Error("10 bytes a second were taken, which rsync would take for no limit")
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "10s": 10 * time.Second, "1h30m": 90 * time.Minute, "500ms": time.Second / 2} {
		if got, err := parseDuration(text, 0, 2*time.Hour); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "3h", "-1s", "x"} {
		if got, err := parseDuration(text, 0, 2*time.Hour); err == nil {
			t.Errorf("%s: %s, want an error", text, got)
		}
	}
}

func TestURLs(t *testing.T) {
	cases := map[string]Target{
		"rsync://h/m":                    {Kind: Daemon, Host: "h", Path: "m"},
		"rsync://u@h:874/m/a b/":         {Kind: Daemon, User: "u", Host: "h", Port: 874, Path: "m/a b"},
		"rsync://[::1]:874/m":            {Kind: Daemon, Host: "::1", Port: 874, Path: "m"},
		"u@h::m/x":                       {Kind: Daemon, User: "u", Host: "h", Path: "m/x"},
		"h:/x":                           {Kind: SSH, Host: "h", Path: "/x"},
		"u@[fe80::1]:/x:y":               {Kind: SSH, User: "u", Host: "fe80::1", Path: "/x:y"},
		"rsync+ssh://u@h:22/x/":          {Kind: SSH, User: "u", Host: "h", Port: 22, Path: "/x"},
		"ssh://u@h:22/x/":                {Kind: NativeSSH, User: "u", Host: "h", Port: 22, Path: "/x"},
		"ssh://h/x":                      {Kind: NativeSSH, Host: "h", Path: "/x"},
		"/x//y/":                         {Kind: Local, Path: "/x/y"},
		"/x:y":                           {Kind: Local, Path: "/x:y"},
		"file:///x":                      {Kind: Local, Path: "/x"},
		"rsync://u@corp@h/m":             {}, // two @ in front of a host
		"rsync://u:p@h/m":                {},
		"sersync://u@h/m":                {Kind: Native, User: "u", Host: "h", Path: "m"},
		"sersync://h:9000/m":             {Kind: Native, Host: "h", Port: 9000, Path: "m"},
		"sersync://h/m/x":                {}, // a receiver has no paths in modules
		"sersync://h":                    {},
		"rsync://h":                      {},
		"-h:/x":                          {},
		"h:x":                            {},
		"h:/x/../y":                      {},
		"h\n:/x":                         {},
		"rsync://h:0/m":                  {},
		"rsync://h:65536/m":              {},
		"rsync://h/-m":                   {},
		"":                               {},
		"file://h/x":                     {},
		"rsync://" + "[::1/m":            {},
		"u:pass@h:/x":                    {},
		"rsync://user@host name/backups": {},
	}
	for url, want := range cases {
		var got Target
		err := parseURL(url, &got)
		if err == nil {
			err = checkTarget(&got)
		}
		switch {
		case want.Kind == 0 && err == nil:
			t.Errorf("%q: %+v, want an error", url, got)
		case want.Kind != 0 && (err != nil || got.Identity() != want.Identity()):
			t.Errorf("%q: %+v, %v", url, got, err)
		case err != nil && strings.Contains(err.Error(), "pass@"):
			t.Errorf("%q: the password is in %v", url, err)
		case err == nil:
			var again Target
			if err := parseURL(got.URL(), &again); err != nil || checkTarget(&again) != nil || again.Identity() != got.Identity() {
				t.Errorf("%q: URL %q means %+v, %v", url, got.URL(), again, err)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	for url, want := range map[string]string{
		"rsync://u:p@h/m": "rsync://u:***@h/m", "u:p@q@h:/x": "u:***@h:/x", "u@h:/x": "u@h:/x", "h:/a@b": "h:***@b", "/x": "/x",
	} {
		if got := redact(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func TestNearestName(t *testing.T) {
	names := []string{"password_file", "path", "timeout", "targets", "connect_timeout", "exclude"}
	for wrong, want := range map[string]string{
		"passwordfile": "password_file", "password-file": "password_file", "tiemout": "timeout", "target": "targets", "excludes": "exclude", "Path": "path", "zzzz": "",
	} {
		if got := nearest(wrong, names); got != want {
			t.Errorf("%s: %q, want %q", wrong, got, want)
		}
	}
}

func TestDays(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "0d": 0, "1d": 1, " 30d ": 30, "36500d": 36500} {
		if got, err := parseDays(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "30", "-1d", "+1d", "1.5d", "36h", "30 d", "36501d", "1w"} {
		if got, err := parseDays(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}
