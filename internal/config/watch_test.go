package config

import (
	"testing"
)

func TestWaysToWatch(t *testing.T) {
	const rest = "sources:\n- path: /a\n  targets: [{url: \"h:/x\"}, {url: \"h:/y\", rsync_options: \"-x\"}]\n"
	for text, want := range map[string]string{"": "auto", "  watch: auto\n": "auto", "  watch: fanotify\n": "fanotify", "  watch: inotify\n": "inotify", "  watch: poll\n": "poll"} {
		c, _ := parseGood(t, "conf.yaml", rest+text)
		equal(t, want, c.Sources[0].Watch)
		equal(t, false, c.Sources[0].OneFileSystem)
		equal(t, []string{"-a"}, c.Sources[0].Targets[0].Params)
	}
	// Comparisons stay on the file system as well.
	c, _ := parseGood(t, "conf.yaml", rest+"  one_file_system: true\n")
	for _, target := range c.Sources[0].Targets {
		equal(t, []string{"-a", "-x"}, target.Params)
	}
	rules := c.RulesFor(c.Sources[0])
	equal(t, "one_file_system: nothing below a mount point", rules[0].String())

	c, _ = parseGood(t, "c.xml", `<head><sersync><localpath watch="/a"><remote ip="h" name="m"/></localpath></sersync></head>`)
	equal(t, "auto", c.Sources[0].Watch)
	for text, want := range map[string]string{
		"  watch: fanotfy\n":         `conf.yaml:4: unknown value of watch "fanotfy": write auto, fanotify, inotify, poll`,
		"  one_file_system: maybe\n": `conf.yaml:4: one_file_system is neither true nor false: "maybe": write true or false`,
	} {
		_, problems, err := Parse("conf.yaml", []byte(rest+text))
		var told string
		for _, p := range problems {
			if p.Severity == Error {
				told = p.String()
			}
		}
		if err == nil || told != want {
			t.Errorf("%s: %v, want %s", text, problems, want)
		}
	}
}
