package cli

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/httpd"
	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// hostile is a name that would clear the screen and add a line of its own.
const hostile = "\x1b[2Jx\nsource ok"

// trouble is a status with everything in it that can go wrong.
func trouble(now time.Time) httpd.Status {
	next := now.Add(3 * time.Second)
	oldest := now.Add(-90 * time.Second)
	return httpd.Status{
		Version: "3", PID: 7, Config: "/etc/" + hostile, Started: now.Add(-3 * time.Hour), ReloadError: "no such thing",
		Sources: []replicate.Status{{
			Name: hostile, Path: "/" + hostile, State: "watching", Watcher: "fanotify", Watches: 2, Overflows: 1, Open: 1,
			Parts: []replicate.Part{{Path: change.Path(hostile).String(), Method: "inotify", Reason: "no handles"}},
			Gaps:  []replicate.Gap{{Path: change.Path(hostile).String(), Since: now, Reason: "no space"}},
			Brake: &replicate.Brake{Kind: "root-empty", Reason: "found empty", Since: now, Held: 3},
			Targets: []replicate.TargetStatus{{
				Name: "rsync://h/" + hostile, State: "away", Since: now, Oldest: &oldest, Lag: 90, Waiting: 12, WaitingBytes: 2048,
				Retrying: 1, Held: 3, Dead: 120, NextTry: &next,
				LastError:   &replicate.LastError{Text: "refused", Hint: "start it", Since: now, Last: now, Count: 9},
				DeadLetters: []replicate.DeadLetter{{Path: change.Path(hostile).String(), Since: now, Tries: 12, Error: "denied"}},
				Limits:      []string{"owners"},
				Verifying:   &replicate.SweepStatus{Since: now, Found: 1},
				Verified:    &replicate.VerifiedStatus{AsOf: now, Content: true, Differences: 4},
			}},
			Hooks: []replicate.HookStatus{
				{Name: "well", On: "acked", Told: 5, Failures: 1, ToldAt: &now, LastError: &replicate.LastError{Text: "over by now", Last: oldest}},
				{
					Name: "dead", On: "acked", Target: "rsync://h/" + hostile, Dead: 3, Retrying: 1, ToldAt: &oldest,
					LastError: &replicate.LastError{Text: "no such zone", Since: now, Last: now, Count: 4},
				},
				{Name: "new", On: "behind", LastError: &replicate.LastError{Text: "no route", Since: now, Last: now, Count: 1}},
				{Name: "hangs", On: "acked", Calling: &oldest, Timeout: 30},
				{Name: "busy", On: "acked", Calling: &oldest, Timeout: 100},
				{Name: "full", On: "acked", Folded: 2},
			},
		}},
	}
}

func TestStatusForAPersonHasEverythingAndNoTricks(t *testing.T) {
	now := time.Now()
	var out bytes.Buffer
	p := newPrinter(&out)
	p.now = now
	p.instance(instance{status: trouble(now)})
	text := out.String()
	for _, want := range []string{
		"process 7", "up for 3h", "not reloaded: no such thing", "1m30s", "12 (2 KiB)", "3 removals held", "found empty",
		"sersync deletes approve", "not watched", "no space", "by fanotify: 2 watched", "not in the best way: ", "by inotify (no handles)", "since", "refused", "hint: start it", "tried 9 times, again in 3s",
		"dead letters, tried every hour: 120", "denied", "… and 119 more", "cannot store: owners", "is verified since ", ", 1 difference so far", " by content: 4 differences, not all of them repaired yet", "1 file written and not closed",
		"hook dead of \"rsync://h/", ": 3 dead letters; 1 path told in vain so far; failed 4 times since ", ": no such zone\n", "sersync hooks retry dead",
		"hook new: failed once since ", "hook hangs: a call takes 1m30s, and may take 30s",
		"hook full: the queue was full 2 times: directories stand for what is below them", "2 hooks well, told 5 times",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "over by now") {
		t.Errorf("an error that is over is shown in\n%s", text)
	}
	if strings.Contains(text, "\x1b") || strings.Contains(text, "\nsource ok") {
		t.Errorf("a name plays tricks in %q", text)
	}
}

func TestTableOfHooksHasOneLineForEach(t *testing.T) {
	var out bytes.Buffer
	var all []listedHook
	status := trouble(time.Now())
	for _, h := range status.Sources[0].Hooks {
		all = append(all, listedHook{hostile, h})
	}
	all[1].LastError.Text = strings.Repeat("very ", 100) + "long"
	newPrinter(&out).listHooks(all)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1+len(all) {
		t.Errorf("%d lines of %d hooks:\n%s", len(lines), len(all), out.String())
	}
	if text := out.String(); strings.Contains(text, "\x1b") || strings.Contains(text, "long") || !strings.Contains(text, "very…") && !strings.Contains(text, "very …") {
		t.Errorf("not cut, or a name plays tricks: %q", text)
	}
}

func TestColoursAreForATerminalOnly(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, &bytes.Buffer{}} {
		if terminal(w) {
			t.Errorf("%T is taken for a terminal", w)
		}
	}
	var out bytes.Buffer
	p := &printer{out: &out, colours: true, now: time.Now()}
	p.instance(instance{status: trouble(p.now)})
	if !strings.Contains(out.String(), red+"away") {
		t.Errorf("no colours in %q", out.String())
	}
}

func TestConsoleShowsOneLineABatch(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(&out)
	c.names["/abs/target"] = "./target"
	c.batch(replicate.BatchDone{
		Target: "/abs/target", Paths: []change.Path{"a.txt", hostile, "c", "d", "e", "f", "g"},
		Bytes: 12 << 10, Took: 4 * time.Millisecond,
	})
	c.batch(replicate.BatchDone{Op: transport.Remove, Target: "/abs/target", Paths: []change.Path{"a.txt"}, Took: time.Second})
	c.batch(replicate.BatchDone{Target: "/abs/target", Err: errors.New("away")})
	no := []transport.Failure{{Path: "a", Err: errors.New("put \"a\": permission denied")}}
	c.batch(replicate.BatchDone{Target: "/abs/target", Paths: []change.Path{"a", "b"}, Failed: no})
	c.batch(replicate.BatchDone{Target: "/abs/target", Paths: []change.Path{"a"}, Failed: no})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	want := []string{
		`  sent 7 paths (12 KiB) to ./target in 4ms: a.txt, "\x1b[2Jx\nsource ok", c, d, e, …`,
		`  removed 1 path from ./target in 1s: a.txt`,
		`  sent 1 of 2 paths to ./target in 0s: a, b; 1 failed: "put \"a\": permission denied"`,
		`  not sent 1 path to ./target in 0s: a; 1 failed: "put \"a\": permission denied"`,
	}
	if len(lines) != len(want) {
		t.Fatalf("lines %q", lines)
	}
	for n, line := range lines {
		if _, err := time.Parse(stamp, line[:len(stamp)]); err != nil || line[len(stamp):] != want[n] {
			t.Errorf("line %q, %v, want the time and %q", line, err, want[n])
		}
	}
}

func TestConsoleShowsTheLog(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(&out)
	c.names["/abs/target"] = "./target"
	log := c.log(nil, config.Log{}, slog.LevelInfo).With("source", "/s", "target", "/abs/target")
	log.Debug("too small")
	log.Log(t.Context(), slog.LevelWarn, "target does not take changes", "error", "no\nroute", "hint", "")
	if got, want := out.String()[len(stamp):], "  target does not take changes  target=./target  error=\"no\\nroute\"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSizesAndAges(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 5 << 20: "5 MiB", 3 << 40: "3.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("size %d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		4 * time.Millisecond: "4ms", 90 * time.Second: "1m30s", 3*time.Hour + 2*time.Minute: "3h2m", 50 * time.Hour: "2d2h",
	} {
		if got := age(d); got != want {
			t.Errorf("age %d: %q, want %q", d, got, want)
		}
	}
}
