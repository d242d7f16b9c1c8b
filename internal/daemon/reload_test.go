package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/config"
)

const before = `
sources:
  - path: /a
    exclude: ["*.swp"]
    targets: [{url: "rsync://h/a"}]
  - path: /b
    targets: [{url: "rsync://h/b"}]
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, _, err := config.Parse("c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// runs is a daemon that runs the configuration, as far as a plan can see.
func runs(t *testing.T, text string) *Daemon {
	d := New(Options{})
	d.config = parse(t, text)
	for _, s := range d.config.Sources {
		d.sources = append(d.sources, &running{config: s})
	}
	return d
}

func TestPlanFindsWhatAReloadChanges(t *testing.T) {
	for name, test := range map[string]struct {
		now string
		// "=" is the same, "~" changed, "+" added, "-" gone.
		want []string
	}{
		"nothing":                  {before, []string{"=/a", "=/b"}},
		"lines that move":          {"# a comment\n\n" + before, []string{"=/a", "=/b"}},
		"a rule":                   {strings.Replace(before, "*.swp", "*.tmp", 1), []string{"=/b", "~/a"}},
		"an option of a target":    {strings.Replace(before, `"rsync://h/b"`, `"rsync://h/b", timeout: 7s`, 1), []string{"=/a", "~/b"}},
		"another target":           {strings.Replace(before, "rsync://h/b", "rsync://h/c", 1), []string{"=/a", "~/b"}},
		"one more and one less":    {strings.Replace(before, "/b\n", "/c\n", 1), []string{"=/a", "+/c", "-/b"}},
		"the name of a source":     {strings.Replace(before, "path: /b", "path: /b\n    name: bee", 1), []string{"=/a", "+/b", "-/b"}},
		"our own file in a source": {before + "fail_log: {path: /a/fail.log}\n", []string{"=/b", "~/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := runs(t, before).plan(parse(t, test.now))
			var got []string
			for _, r := range p.same {
				got = append(got, "="+r.config.Path)
			}
			for _, s := range p.changed {
				got = append(got, "~"+s.Path)
			}
			for _, s := range p.added {
				got = append(got, "+"+s.Path)
			}
			for _, r := range p.gone {
				got = append(got, "-"+r.config.Path)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReloadKeepsWhatOnlyARestartChanges(t *testing.T) {
	d := runs(t, before)
	var log bytes.Buffer
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	now := parse(t, before+"runs: 3\nsocket: /run/other.sock\n")
	d.keepFixed(now)
	if now.Runs != d.config.Runs || now.Socket != d.config.Socket {
		t.Errorf("runs %d, socket %q", now.Runs, now.Socket)
	}
	if !strings.Contains(log.String(), `changed="[runs socket]"`) {
		t.Errorf("log %q", log.String())
	}
	log.Reset()
	d.keepFixed(parse(t, before))
	if log.Len() > 0 {
		t.Errorf("log %q", log.String())
	}
}

func TestReloadThatNeedsAnotherWatcherIsRefused(t *testing.T) {
	for _, change := range []string{"path: /a\n    watch: inotify", "path: /a\n    one_file_system: true"} {
		err := runs(t, before).sameWatching(parse(t, strings.Replace(before, "path: /a", change, 1)))
		if err == nil || !strings.Contains(err.Error(), `"/a": watch or one_file_system changed: restart`) {
			t.Errorf("%s: %v", change, err)
		}
	}
	if err := runs(t, before).sameWatching(parse(t, before+"  - {path: /c, watch: poll, targets: [{url: \"h:/c\"}]}\n")); err != nil {
		t.Error(err)
	}
}
