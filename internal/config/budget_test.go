package config

import (
	"strings"
	"testing"
)

func TestRemovalBudget(t *testing.T) {
	const rest = "sources:\n- path: /a\n  targets: [{url: h:/x}]\n"
	for text, want := range map[string]RemovalBudget{
		"":                                {Paths: 1000, Percent: 20, Most: 50},
		"  removal_budget: off\n":         {Off: true, Paths: 1000, Percent: 20, Most: 50},
		"  removal_budget: {most: 100}\n": {Paths: 1000, Percent: 20, Most: 100},
		"  removal_budget: {paths: 10, percent: 1, most: 5}\n": {Paths: 10, Percent: 1, Most: 5},
		"  removal_budget: \"off\"\n":                          {Off: true, Paths: 1000, Percent: 20, Most: 50},
	} {
		c, told := parseGood(t, "conf.yaml", rest+text)
		equal(t, []string(nil), told)
		equal(t, want, c.Sources[0].RemovalBudget)
	}
	for text, want := range map[string]string{
		"  removal_budget: none\n":        `conf.yaml:4: removal_budget cannot be used: "none": write "off", or below it paths, percent and most`,
		"  removal_budget: {most: 101}\n": `conf.yaml:4: most cannot be used: "101": write a whole number from 1 to 100`,
	} {
		_, problems, err := Parse("conf.yaml", []byte(rest+text))
		if err == nil || len(problems) != 1 || problems[0].String() != want {
			t.Errorf("%s: %v, want %s", text, problems, want)
		}
	}
}

func TestRemovalBudgetOfXML(t *testing.T) {
	const text = `<head><inotify><delete start="true" budget="VALUE"/></inotify><sersync><localpath watch="/a"><remote ip="h" name="m"/></localpath></sersync></head>`
	for value, off := range map[string]bool{"on": false, "off": true} {
		c, _ := parseGood(t, "c.xml", replaced(text, value))
		equal(t, off, c.Sources[0].RemovalBudget.Off)
	}
	if _, problems, err := Parse("c.xml", []byte(replaced(text, "10"))); err == nil {
		t.Errorf("taken: %v", problems)
	}
}

func replaced(text, value string) string { return strings.ReplaceAll(text, "VALUE", value) }
