package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sersync/internal/filter"
	"sersync/internal/hook"
)

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestExamplesParse(t *testing.T) {
	c, told := parseGood(t, "conf", read(t, "../../etc/confxml.xml"))
	want := source(27, "/opt/tongbu", []filter.Rule{filter.Hidden("conf:9")}, target(28, Daemon, "127.0.0.1", "tongbu1", func(t *Target) {
		t.Params = []string{"-a", "-r", "-t", "-u", "-z"}
	}))
	equal(t, []Source{want}, c.Sources)
	equal(t, 3, len(c.Plugins))
	for _, line := range told {
		if !strings.Contains(line, "notice: ") && !strings.Contains(line, `"-z"`) {
			t.Errorf("told %s", line)
		}
	}

	text := read(t, "../../etc/sersync.yaml")
	short, told := parseGood(t, "conf", text)
	equal(t, []string(nil), told)
	want = source(35, "/data/www", []filter.Rule{filter.Glob("", "*.swp"), filter.Glob("", "/cache/")},
		target(80, Daemon, "172.16.1.41", "backup", func(t *Target) { t.User, t.PasswordFile = "rsync_backup", "/etc/rsync.password" }))
	want.Fill = true
	equal(t, want.Identity(), short.Sources[0].Identity())
	equal(t, want.Targets[0].Identity(), short.Sources[0].Targets[0].Identity())

	// What is commented out are the defaults, but for what the text says.
	long, _ := parseGood(t, "conf", regexp.MustCompile(`(?m)^( *)# ((- )?[a-z_]+:( |$))`).ReplaceAllString(text, "$1$2"))
	got := long.Sources[0]
	got.Targets[0].Params = []string{"-a"}
	want.Name, want.Sweep = "www", Sweep{Every: 10 * time.Hour, Schedule: "0 3 * * *", Exclude: []string{"*.php"}}
	want.Verify = Verify{Every: 168 * time.Hour, Schedule: "0 2 * * 0", Content: true, Rate: 20_000_000}
	want.Rules = append(want.Rules, filter.Regex("", `(.*)\.svn`))
	equal(t, want.Identity(), got.Identity())
	equal(t, want.Targets[0].Identity(), got.Targets[0].Identity())
	equal(t, Log{"/var/log/sersync.log", "text", "info"}, long.Log)
	equal(t, Metrics{"127.0.0.1:9273"}, long.Metrics)
	equal(t, FailLog{"/var/log/rsync_fail_log.sh", time.Hour}, long.FailLog)
	equal(t, 0, long.Runs)
	for i, want := range []Hook{
		hookOf(0, hook.AllTargetsAcked, "cdn", func(h *Hook) {
			h.Run = &HookRun{[]string{"/usr/local/bin/purge", "--fast"}}
			h.Include, h.Exclude = []filter.Rule{filter.Glob("", "*.html"), filter.Glob("", "*.css")}, []filter.Rule{filter.Glob("", "/tmp/")}
			h.URLs = []HookURL{{`^(.*)/index\.html$`, "https://www.example.com/$1/"}}
		}),
		hookOf(0, hook.Acked, "acked-1", func(h *Hook) {
			h.Purge, h.URLs = &HookPurge{"http://127.0.0.1:6081", "PURGE"}, []HookURL{{"", "https://www.example.com/$path"}}
		}),
	} {
		equal(t, want.Identity(), got.Hooks[i].Identity())
	}
	equal(t, []string{"cdn", "acked-1", "command", "socket", "refreshCDN", "http", "behind-1", "target-down-1"}, namesOf(got.hooks()))
}

func namesOf(hooks []*Hook) []string {
	var names []string
	for _, h := range hooks {
		names = append(names, h.Name)
	}
	return names
}

// Scripts of users edit the file line by line.
func TestExampleOfXMLHasOneElementALine(t *testing.T) {
	for i, line := range strings.Split(read(t, "../../etc/confxml.xml"), "\n") {
		line = regexp.MustCompile(`<!--.*-->|</\w+>`).ReplaceAllString(line, "")
		if strings.Count(line, "<") > 1 {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
}

// keysOfYAML are all keys.
func keysOfYAML() []string {
	y := &yamlReader{report: new(report), config: new(Config)}
	var node *ynode
	var names []string
	for _, fields := range [][]field{
		y.topFields(&node), y.logFields(new(Log)), y.metricsFields(new(Metrics)), y.failLogFields(new(FailLog)), y.sourceFields(new(Source), new(string), &node),
		y.eventFields(new(Events)), y.budgetFields(new(RemovalBudget)), y.sweepFields(new(Sweep)), y.verifyFields(new(Verify)), y.targetFields(new(settings)),
		y.hookFields(new(Hook), new(string)), y.batchFields(new(HookBatch)), y.urlFields(new(HookURL)),
		y.postFields(new(HookPost)), y.purgeFields(new(HookPurge)),
		y.pluginFields(&Plugin{Name: "command"}), y.pluginFields(&Plugin{Name: "refreshCDN"}), y.pluginFields(&Plugin{Name: "http"}),
		{{name: "url"}},
	} {
		for _, f := range fields {
			names = append(names, f.name)
		}
	}
	return names
}

// namesOfXML are all elements, and their attributes as ELEMENT ATTRIBUTE.
func namesOfXML(s shape) []string {
	names := []string{"<" + s.name + ">"}
	names = append(names, s.attrs...)
	for _, c := range s.children {
		names = append(names, namesOfXML(c)...)
	}
	return names
}

func TestEveryKeyIsDocumented(t *testing.T) {
	example := read(t, "../../etc/sersync.yaml")
	for _, key := range keysOfYAML() {
		if !regexp.MustCompile(`(?m)^[ -]*(# )?(- )?` + key + ":").MatchString(example) {
			t.Errorf("%s is not in etc/sersync.yaml", key)
		}
	}
	for _, file := range []string{"../../docs/configuration.md", "../../docs/configuration.zh-CN.md"} {
		text := read(t, file)
		names := append(keysOfYAML(), namesOfXML(headShape())...)
		for _, o := range options {
			if o.long != "" {
				names = append(names, "--"+o.long)
			}
		}
		for _, name := range names {
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s says nothing of `%s`", file, name)
			}
		}
	}
}

// Every configuration in the documents is one.
func TestConfigurationsInTheDocumentsParse(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```(yaml|xml)\n(.*?)```")
	for _, file := range []string{"../../docs/configuration.md", "../../docs/configuration.zh-CN.md"} {
		found := blocks.FindAllStringSubmatch(read(t, file), -1)
		if len(found) < 3 {
			t.Errorf("%s has %d configurations", file, len(found))
		}
		for _, block := range found {
			if _, problems, err := Parse("block."+block[1], []byte(block[2])); err != nil {
				t.Errorf("%s: %v\n%s\n%v", file, err, block[2], problems)
			}
		}
	}
}
