package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sersync/internal/hook"
)

// pluginXML is a confxml.xml with two sources below a directory and all plugins, of which one is started.
func pluginXML(dir, start string) string {
	return fmt.Sprintf(`<head><inotify strict="true"><createFile start="true"/><attrib start="true"/></inotify>
<sersync><localpath watch="%[1]s/data"><remote ip="h" name="m"/></localpath><localpath watch="%[1]s/other"><remote ip="h" name="o"/></localpath>
<rsync><commonParams params="-a"/></rsync><failLog path=""/><plugin %[2]s/></sersync>
<plugin name="command"><param prefix="/bin/echo -n" suffix="x" ignoreError="true"/><filter start="true"><include expression="(.*)\.php"/></filter></plugin>
<plugin name="socket"><localpath watch="%[1]s/data/site/"><deshost ip="192.0.2.1" port="8009"/></localpath></plugin>
<plugin name="refreshCDN"><localpath watch="%[1]s"><cdninfo domainname="cdn" port="80" username="me" passwd="hunter2"/>
<sendurl base="http://h/x"/><regexurl regex="true" match="a(b)"/></localpath></plugin>
<plugin name="http"><localpath watch="%[1]s/data"><deshost url="http://h/x" port="81"/></localpath></plugin></head>`, dir, start)
}

// parsePlugins parses what has no error, and returns what is told of plugins.
func parsePlugins(t *testing.T, text string) (*Config, []string) {
	t.Helper()
	c, told := parseGood(t, "conf", text)
	return c, slices.DeleteFunc(told, func(line string) bool { return strings.Contains(line, "every <localpath> is replicated") })
}

func TestStartedPluginIsAHookOfEachSource(t *testing.T) {
	want := map[string]Plugin{
		"command":    {Place: Place{"conf", 4}, Prefix: "/bin/echo -n", Suffix: "x", IgnoreError: true, Include: []string{`(.*)\.php`}},
		"socket":     {Place: Place{"conf", 5}, Path: "/d/data/site", Host: "192.0.2.1", Port: 8009},
		"refreshCDN": {Place: Place{"conf", 6}, Path: "/d", Host: "cdn", Port: 80, User: "me", URL: "http://h/x", Match: "a(b)"},
		"http":       {Place: Place{"conf", 8}, Path: "/d/data", URL: "http://h/x", Port: 81},
	}
	for name, p := range want {
		c, told := parsePlugins(t, pluginXML("/d", `start="true" name="`+name+`"`))
		p.Name, p.Start = name, true
		for _, s := range c.Sources {
			equal(t, []Hook{{
				Place: p.Place, Name: name, On: hook.AllTargetsAcked, Plugin: &p, Batch: HookBatch{Paths: 1},
				Timeout: 30 * time.Second, DeadAfter: 12, Concurrency: 1, MaxWait: 10 * time.Minute,
			}}, s.Hooks)
		}
		equal(t, 2, len(c.Sources[0].Targets)+len(c.Sources[1].Targets))
		if len(told) > 0 {
			t.Errorf("%s: told %q", name, told)
		}
		if strings.Contains(fmt.Sprintf("%#v", *c), "hunter2") {
			t.Error("the configuration holds a password")
		}
	}
	c, _ := parsePlugins(t, pluginXML("/d", `start="false" name="command"`))
	if len(c.Plugins) != 4 || len(c.Sources[0].Hooks) > 0 {
		t.Errorf("plugins %v, hooks %v", c.Plugins, c.Sources[0].Hooks)
	}
}

// 2.5.4 started the prefix with the path of each file behind it, so that a bare shell executed what was uploaded.
func TestCommandThatExecutesWhatArrivesIsWarnedOf(t *testing.T) {
	const file, name = "execute each file that arrives", "execute the name of each file that arrives"
	for prefix, want := range map[string]string{
		"/bin/sh": file, "bash": file, "/usr/bin/python3.11": file, "perl": file, " php8 ": file, "/usr/bin/env": file, "": file,
		"sh -c": name, "/usr/bin/ssh host ls": name, "eval": name,
		"/bin/sh /opt/x.sh": "", "/opt/x.sh": "", "/opt/shove": "", "php -l": "", "cd /opt &amp;&amp; ./x.sh": "",
	} {
		_, told := parsePlugins(t, strings.ReplaceAll(pluginXML("/d", `start="true" name="command"`), "/bin/echo -n", prefix))
		if want == "" && len(told) > 0 || want != "" && (len(told) != 1 || !strings.HasPrefix(told[0], "conf:4: warning: the plugin command would "+want+": ")) {
			t.Errorf("prefix %q: told %q", prefix, told)
		}
	}
}

func TestPluginOfADirectoryElsewhereIsWarnedOf(t *testing.T) {
	text := strings.ReplaceAll(pluginXML("/d", `start="true" name="socket"`), "/d/data/site/", "/d/database")
	_, told := parsePlugins(t, text)
	equal(t, []string{
		`conf:5: warning: the plugin socket is told of nothing, as its directory is in no source: "/d/database": name the directory of a source, or one in it`,
	}, told)
}

// -m: the plugin is all there is, started in the file or not, and nothing that only replication needs is asked for.
func TestPluginByItselfHasNoTargets(t *testing.T) {
	m := newMachine(t)
	m.file("other", "", 0o600)
	m.file("confxml.xml", strings.ReplaceAll(pluginXML(m.dir, `start="true" name="http"`), m.dir+"/other", m.dir+"/data/sub"), 0o600)
	t.Setenv("PATH", "/nowhere")
	file := filepath.Join(m.dir, "confxml.xml")
	for _, test := range []struct {
		names []string
		want  string
	}{
		{[]string{"socket"}, "socket"},
		{[]string{"http"}, "http"},
		{[]string{"command", "socket", "refreshCDN"}, "refreshCDN"},
		{[]string{"http", "command", "socket"}, "socket"},
		{[]string{"http", "command"}, "command"},
	} {
		c, problems, err := LoadPlugin(file, test.names...)
		if err != nil || failed(problems) {
			t.Fatalf("%q: %v", test.names, problems)
		}
		for _, s := range c.Sources {
			if len(s.Targets) > 0 || len(s.Hooks) != 1 || s.Hooks[0].Name != test.want {
				t.Errorf("%q: %d targets, hooks %+v", test.names, len(s.Targets), s.Hooks)
			}
		}
		// What the journal of the replication knows of its targets must outlive this.
		all, _, err := Parse(file, []byte(read(t, file)))
		if err != nil || c.StateDir == all.StateDir || c.Socket == all.Socket {
			t.Errorf("%q: the instance shares %s: %v", test.names, c.StateDir, err)
		}
	}
}

func TestPluginThatIsNotDefinedCannotRunByItself(t *testing.T) {
	m := newMachine(t)
	xml := pluginXML(m.dir, `start="false"`)
	at := strings.Index(xml, `<plugin name="http">`)
	m.file("confxml.xml", xml[:at]+"</head>", 0o600)
	m.file("conf.yaml", "sources: [{path: /data, targets: [{url: /copy}]}]", 0o600)
	for file, want := range map[string]string{
		"confxml.xml": `write <plugin name="http"> in <head>`, "conf.yaml": "-m is for a confxml.xml",
	} {
		_, _, err := LoadPlugin(filepath.Join(m.dir, file), "http")
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), `there is no definition of the plugin "http": `+want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestPasswordOfAPluginStaysInItsFile(t *testing.T) {
	m := newMachine(t)
	xml := strings.ReplaceAll(pluginXML(m.dir, `start="true" name="refreshCDN"`), m.dir+"/other", m.dir+"/data/sub")
	m.file("good", xml, 0o600)
	m.file("open", xml, 0o644)
	m.file("entity", strings.ReplaceAll(xml, "hunter2", "&hunter2;"), 0o600)
	m.file("none", strings.ReplaceAll(xml, "hunter2", ""), 0o600)
	if got, err := PluginPassword(m.dir+"/good", "refreshCDN"); got != "hunter2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, file := range []string{"entity", "none", "missing"} {
		if got, err := PluginPassword(m.dir+"/"+file, "refreshCDN"); got != "" || err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	if _, err := PluginPassword(m.dir+"/good", "socket"); err == nil {
		t.Error("socket has a password")
	}
	for file, want := range map[string]bool{"good": false, "open": true} {
		_, problems, _ := Load(m.dir + "/" + file)
		warned := false
		for _, p := range problems {
			warned = warned || p.Severity == Warning && p.Remedy == "chmod 600 "+m.dir+"/"+file
		}
		if warned != want {
			t.Errorf("%s: %v", file, problems)
		}
	}
}
