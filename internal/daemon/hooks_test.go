package daemon

import (
	"log/slog"
	"testing"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
)

// What a hook is told of by include, exclude and the path of a plugin; a directory that went is told for what was in it.
func TestHookWantsWhatItsConfigurationSays(t *testing.T) {
	s := config.Source{Path: "/data"}
	globs := func(patterns ...string) (rules []filter.Rule) {
		for _, p := range patterns {
			rules = append(rules, filter.Glob("", p))
		}
		return rules
	}
	html := config.Hook{Include: globs("*.html"), Exclude: globs("/tmp/")}
	plugin := config.Hook{Plugin: &config.Plugin{Name: "socket", Path: "/data/site/a"}}
	for _, c := range []struct {
		hook config.Hook
		path change.Path
		what change.Bits
		want bool
	}{
		{html, "a/x.html", 0, true},
		{html, "a/x.html", change.Gone, true},
		{html, "a/x.css", 0, false},
		{html, "a/x.css", change.Gone, false},
		{html, "a", change.WasDir, false},
		{html, "a", change.WasDir | change.Gone, true},
		{html, "tmp", change.WasDir | change.Gone, false},
		{html, "tmp/x.html", 0, false},
		{plugin, "site/a/f", 0, true},
		{plugin, "site/a", change.WasDir, true},
		{plugin, "site/ab", 0, false},
		{plugin, "site", change.WasDir, false},
		{plugin, "site", change.WasDir | change.Gone, true},
		{plugin, "other", change.WasDir | change.Gone, false},
	} {
		wants, err := wants(s, c.hook, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got := wants(c.path, c.what); got != c.want {
			t.Errorf("%s, %b: %v, want %v", c.path, c.what, got, c.want)
		}
	}
	if wants, err := wants(s, config.Hook{}, slog.New(slog.DiscardHandler)); wants != nil || err != nil {
		t.Errorf("a hook without any of it: %v", err)
	}
}
