package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"sersync/internal/filter"
	"sersync/internal/hook"
)

// hookOf is a hook with the defaults, as the documentation gives them.
func hookOf(line int, on hook.Kind, name string, change func(*Hook)) Hook {
	h := Hook{
		Place: Place{"conf", line}, Name: name, On: on, Batch: HookBatch{1000, time.Second},
		Timeout: 30 * time.Second, DeadAfter: 12, Concurrency: 1,
	}
	if on == hook.AllTargetsAcked {
		h.MaxWait = 10 * time.Minute
	}
	change(&h)
	return h
}

func TestHooksOfYAML(t *testing.T) {
	c, told := parseGood(t, "conf", `sources:
  - path: /data/www
    hooks:
      - {on: all-targets-acked, run: [/usr/local/bin/purge, --fast]}
      - name: cdn
        on: acked
        purge: {}
        include: ["*.html", "!/tmp/"]
        exclude: [/cache/]
        urls:
          - {match: '^(.*)/index\.html$', url: 'https://www.example.com/$1/'}
          - {url: 'https://www.example.com/$path'}
        batch: {paths: 10, wait: 0s}
        timeout: 5s
        dead_after: 3
        concurrency: 4
      - {on: all-targets-acked, max_wait: 1h, purge: {via: "http://127.0.0.1:6081", method: BAN}, urls: [{url: "https://h/$path"}]}
    targets:
      - url: /copy
        hooks:
          - {on: behind, after: 10m, post: "https://hooks.example.com/x"}
          - on: target-down
            post:
              url_file: /etc/sersync/url
              headers_file: /etc/sersync/headers
              hmac_file: /etc/sersync/hmac
              body: '{"text": {{json .Text}}}'
              content_type: text/plain
              expect: '"ok": *true'
`)
	equal(t, []string(nil), told)
	equal(t, []Hook{
		hookOf(4, hook.AllTargetsAcked, "all-targets-acked-1", func(h *Hook) {
			h.Run = &HookRun{[]string{"/usr/local/bin/purge", "--fast"}}
		}),
		hookOf(5, hook.Acked, "cdn", func(h *Hook) {
			h.Purge = &HookPurge{Method: "PURGE"}
			h.Include = []filter.Rule{filter.Glob("conf:8", "*.html"), filter.Glob("conf:8", "!/tmp/")}
			h.Exclude = []filter.Rule{filter.Glob("conf:9", "/cache/")}
			h.URLs = []HookURL{{`^(.*)/index\.html$`, "https://www.example.com/$1/"}, {"", "https://www.example.com/$path"}}
			h.Batch, h.Timeout, h.DeadAfter, h.Concurrency = HookBatch{10, 0}, 5*time.Second, 3, 4
		}),
		hookOf(17, hook.AllTargetsAcked, "all-targets-acked-2", func(h *Hook) {
			h.MaxWait = time.Hour
			h.Purge, h.URLs = &HookPurge{"http://127.0.0.1:6081", "BAN"}, []HookURL{{"", "https://h/$path"}}
		}),
	}, c.Sources[0].Hooks)
	equal(t, []Hook{
		hookOf(21, hook.Behind, "behind-1", func(h *Hook) {
			h.After, h.Post = 10*time.Minute, &HookPost{URL: "https://hooks.example.com/x", ContentType: "application/json"}
		}),
		hookOf(22, hook.TargetDown, "target-down-1", func(h *Hook) {
			h.Post = &HookPost{
				URLFile: "/etc/sersync/url", HeadersFile: "/etc/sersync/headers", HMACFile: "/etc/sersync/hmac",
				Body: `{"text": {{json .Text}}}`, ContentType: "text/plain", Expect: `"ok": *true`,
			}
		}),
	}, c.Sources[0].Targets[0].Hooks)
}

func TestPluginsOfYAML(t *testing.T) {
	c, told := parseGood(t, "conf", `sources:
  - path: /data/www
    hooks:
      - {on: acked, plugin: {name: command, prefix: /bin/x, suffix: --y, ignore_error: true, include: ['(.*)\.php'], path: /data/www/site/}}
      - {on: all-targets-acked, plugin: {name: socket, host: 192.0.2.1, port: 8009}}
      - {on: all-targets-acked, plugin: {name: refreshCDN, host: cdn, port: 80, user: me, password_file: /etc/cdn, base: 'http://h/x', match: 'a(b)'}}
      - {on: failed, plugin: {name: http, url: 'http://h/x', port: 81}}
    targets: [{url: /copy}]
`)
	equal(t, []string(nil), told)
	var got []Plugin
	for _, h := range c.Sources[0].Hooks {
		got = append(got, *h.Plugin)
	}
	at := func(line int) Place { return Place{"conf", line} }
	equal(t, []Plugin{
		{Place: at(4), Name: "command", Prefix: "/bin/x", Suffix: "--y", IgnoreError: true, Include: []string{`(.*)\.php`}, Path: "/data/www/site"},
		{Place: at(5), Name: "socket", Host: "192.0.2.1", Port: 8009},
		{Place: at(6), Name: "refreshCDN", Host: "cdn", Port: 80, User: "me", PasswordFile: "/etc/cdn", URL: "http://h/x", Match: "a(b)"},
		{Place: at(7), Name: "http", URL: "http://h/x", Port: 81},
	}, got)
}

// A source that replicates nothing tells its hooks of what is marked.
func TestSourceWithHooksNeedsNoTarget(t *testing.T) {
	c, told := parseGood(t, "conf", "sources:\n- path: /data\n  hooks: [{on: all-targets-acked, run: [/bin/true]}]\n")
	if len(told) > 0 || len(c.Sources[0].Targets) > 0 || len(c.Sources[0].Hooks) != 1 {
		t.Errorf("told %q, source %+v", told, c.Sources[0])
	}
}

func TestNameThatIsGivenIsNotTakenByDefault(t *testing.T) {
	c, _ := parseGood(t, "conf", `sources:
- path: /data
  hooks: [{on: acked, run: [/a]}, {on: acked, run: [/b]}, {on: acked, run: [/c], name: acked-1}]
  targets: [{url: /copy, hooks: [{on: acked, run: [/d]}]}]
`)
	equal(t, []string{"acked-2", "acked-3", "acked-1", "acked-4"}, namesOf(c.Sources[0].hooks()))
}

// A reload must see a change of a hook, and must not take it for one of the source or target.
func TestIdentityOfAHookIsItsOwn(t *testing.T) {
	text := `sources:
- path: /d
  hooks:
  - {on: acked, name: a, include: [x], run: [/bin/a]}
  - {on: acked, name: b, plugin: {name: http, url: "http://h/x"}}
  targets: [{url: "h:/x", hooks: [{on: acked, name: c, post: "http://h/x"}]}]
`
	first, _ := parseGood(t, "conf", text)
	moved, _ := parseGood(t, "conf", "# moved\n\n"+text)
	changed, _ := parseGood(t, "conf", strings.NewReplacer("/bin/a", "/bin/b", "//h/x", "//h/y").Replace(text))
	a, b, c := first.Sources[0], moved.Sources[0], changed.Sources[0]
	if a.Identity() != c.Identity() || a.Targets[0].Identity() != c.Targets[0].Identity() {
		t.Error("a hook is part of the identity of its source or target")
	}
	for i, h := range a.hooks() {
		if h.Identity() != b.hooks()[i].Identity() {
			t.Errorf("hook %s: the line makes a difference:\n%s\n%s", h.Name, h.Identity(), b.hooks()[i].Identity())
		}
		if h.Identity() == c.hooks()[i].Identity() {
			t.Errorf("hook %s: a change makes no difference: %s", h.Name, h.Identity())
		}
	}
}

func withHook(hook string) string {
	return "sources:\n- path: DIR/data\n  targets: [{url: /copy}]\n  hooks:\n  - " + hook + "\n"
}

func TestFilesOfHooksAreChecked(t *testing.T) {
	m := newMachine(t)
	m.file("good", "hunter2\n", 0o600)
	m.file("group", "hunter2\n", 0o640)
	m.file("data/inside", "hunter2\n", 0o600)
	m.file("program", "", 0o755)
	m.file("text", "", 0o644)
	m.file("open", "", 0o775)
	post := func(key, file string) string {
		return "{on: acked, post: {url: 'https://h/', " + key + ": DIR/" + file + "}}"
	}
	cases := map[string][]string{
		post("headers_file", "good"): nil,
		"{on: acked, post: {url_file: DIR/none}}": {
			`DIR/conf.yaml:5: url_file of the hook does not exist: "DIR/none": write the URL alone into it, then chmod 600`,
		},
		post("headers_file", "group"): {
			`DIR/conf.yaml:5: headers_file of the hook can be read or written by others, so sersync refuses it: "DIR/group": chmod 600 DIR/group`,
		},
		post("hmac_file", "data/inside"): {
			`DIR/conf.yaml:5: warning: hmac_file of the hook lies in the source, so it is sent to every target: "DIR/data/inside": move it out, or exclude it`,
		},
		"{on: acked, plugin: {name: refreshCDN, host: h, user: u, base: 'http://h', password_file: DIR/data}}": {
			`DIR/conf.yaml:5: password_file of the plugin is no regular file: "DIR/data": write the password alone into a file`,
		},
		"{on: acked, run: [DIR/program]}": nil,
		"{on: acked, run: [DIR/none]}":    {`DIR/conf.yaml:5: program of the hook does not exist: "DIR/none": install it, or correct the path`},
		"{on: acked, run: [DIR/text]}":    {`DIR/conf.yaml:5: program of the hook cannot be executed: "DIR/text": chmod +x DIR/text`},
		"{on: acked, run: [DIR/data]}":    {`DIR/conf.yaml:5: program of the hook is no file: "DIR/data": name the program itself`},
		"{on: acked, plugin: {name: command, prefix: DIR/text}}": {
			`DIR/conf.yaml:5: warning: program of the plugin command cannot be executed: "DIR/text": install it, or correct prefix`,
		},
	}
	if os.Geteuid() == 0 {
		cases["{on: acked, run: [DIR/open]}"] = []string{
			`DIR/conf.yaml:5: others than its owner can write the program of the hook, and we are root: "DIR/open": chmod go-w DIR/open`,
		}
	}
	for hook, want := range cases {
		got := m.load(withHook(hook))
		equal(t, want, got)
		if strings.Contains(strings.Join(got, ""), "hunter2") {
			t.Error("a message holds the secret")
		}
	}
}

// A machine that only tells others needs no rsync.
func TestSourceWithoutTargetsNeedsNoRsync(t *testing.T) {
	m := newMachine(t)
	m.file("program", "", 0o755)
	t.Setenv("PATH", m.dir)
	equal(t, []string(nil), m.load("sources:\n- path: DIR/data\n  hooks: [{on: all-targets-acked, run: [DIR/program]}]\n"))
}
