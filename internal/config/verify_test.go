package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestVerifyOfYAML(t *testing.T) {
	text := func(url, verify string) string {
		return "sources:\n  - path: /data\n    verify: {" + verify + "}\n    targets:\n      - url: " + url + "\n"
	}
	for verify, want := range map[string]Verify{
		"every: 168h":                                {Every: 168 * time.Hour, Content: true},
		`schedule: "0 2 * * 0", content: false`:      {Schedule: "0 2 * * 0"},
		"every: 24h, rate: 20MB/s":                   {Every: 24 * time.Hour, Content: true, Rate: 20_000_000},
		`every: 24h, schedule: "@daily", rate: none`: {Every: 24 * time.Hour, Schedule: "@daily", Content: true},
	} {
		c, told := parseGood(t, "conf", text("/copy", verify))
		equal(t, want, c.Sources[0].Verify)
		equal(t, []string(nil), told)
	}
	for _, verify := range []string{"every: 10s", "schedule: noon", "rate: 20", "rate: fast", "content: perhaps", "exclude: [x]"} {
		if _, problems, err := Parse("conf", []byte(text("/copy", verify))); err == nil && !slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Error }) {
			t.Errorf("verify: {%s} is taken", verify)
		}
	}
	// Nobody may think that rsync reads no faster.
	_, told := parseGood(t, "conf", text("rsync://h/m", "every: 24h, rate: 20MB/s"))
	if len(told) != 1 || !strings.Contains(told[0], "notice: verify: rate binds our own reading only") {
		t.Errorf("told %q", told)
	}
}
