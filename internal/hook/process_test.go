package hook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// decode is the bytes of the paths of an event in JSON.
func decode(t *testing.T, text string) []string {
	t.Helper()
	var m message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var paths []string
	for _, p := range m.Paths {
		if p.PathBase64 != "" {
			b, err := base64.StdEncoding.DecodeString(p.PathBase64)
			if err != nil {
				t.Fatal(err)
			}
			p.Path = string(b)
		}
		paths = append(paths, p.Path)
	}
	return paths
}

func mustHook(t testing.TB) func(Hook, error) Hook {
	return func(h Hook, err error) Hook {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func runSubject() implementation {
	sh := func(t *testing.T, script string, args ...string) Hook {
		return mustHook(t)(NewRun(RunOptions{Argv: append([]string{"sh", "-c", script, "sh"}, args...)}))
	}
	return implementation{
		open: func(t *testing.T) (Hook, func() []string) {
			file := filepath.Join(t.TempDir(), "told")
			return sh(t, `cat >>"$1"`, file), func() (paths []string) {
				for text := range strings.Lines(read(t, file)) {
					paths = append(paths, decode(t, text)...)
				}
				return paths
			}
		},
		refused: func(t *testing.T) Hook { return sh(t, "exit 1") },
		hanging: func(t *testing.T) ([]Hook, func() bool) {
			file := filepath.Join(t.TempDir(), "pids")
			return []Hook{
				sh(t, `echo $$ >>"$1"; exec sleep 1000`, file),
				sh(t, `sleep 1000 & echo $$ $! >>"$1"; wait`, file),
				sh(t, `trap '' TERM; sh -c 'echo $$ >>"$1"; while :; do sleep 1000; done' sh "$1" & echo $$ >>"$1"; while :; do sleep 1000; done`, file),
			}, func() bool { return allGone(t, file) }
		},
	}
}

func commandSubject() implementation {
	return implementation{
		open: func(t *testing.T) (Hook, func() []string) {
			file := filepath.Join(t.TempDir(), "told")
			return mustHook(t)(NewCommand(CommandOptions{Prefix: `printf '%s\0'`, Suffix: ">>" + file})), func() []string {
				return belowRoot(t, strings.FieldsFunc(read(t, file), func(r rune) bool { return r == 0 }))
			}
		},
		refused: func(t *testing.T) Hook { return mustHook(t)(NewCommand(CommandOptions{Prefix: "false"})) },
		hanging: func(t *testing.T) ([]Hook, func() bool) {
			file := filepath.Join(t.TempDir(), "pids")
			return []Hook{
				mustHook(t)(NewCommand(CommandOptions{Prefix: "echo $$ >>" + file + "; sleep 1000; true"})),
				mustHook(t)(NewCommand(CommandOptions{Prefix: "sleep 1000 & echo $$ $! >>" + file + "; wait; true", IgnoreError: true})),
			}, func() bool { return allGone(t, file) }
		},
	}
}

// belowRoot are absolute paths without the /r that they begin with.
func belowRoot(t *testing.T, paths []string) (below []string) {
	t.Helper()
	for _, p := range paths {
		rest, ok := strings.CutPrefix(p, "/r/")
		if !ok {
			t.Fatalf("%q is no absolute path below /r", p)
		}
		below = append(below, rest)
	}
	return below
}

// allGone reports whether the processes whose numbers are in a file have ended. There is at least one.
func allGone(t *testing.T, file string) bool {
	pids := strings.Fields(read(t, file))
	for _, pid := range pids {
		stat := read(t, "/proc/"+pid+"/stat")
		if _, state, _ := strings.Cut(stat, ") "); state != "" && state[0] != 'Z' {
			return false
		}
	}
	if len(pids) == 0 {
		t.Fatal("no process was started")
	}
	return true
}

func TestRunSaysHowTheProgramEnded(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"echo first >&2; echo last >&2; echo; exit 3", `run "sh": exit status 3: last`},
		{"printf 'a\\nb\\033[31m\\n\\n' >&2; exit 1", `run "sh": exit status 1: "b\x1b[31m"`},
		{"head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", `run "sh": exit status 1: ` + strings.Repeat("x", 200)},
		{"exit 4", `run "sh": exit status 4`},
		{"kill -9 $$", `run "sh": signal: killed`},
	} {
		err := mustHook(t)(NewRun(RunOptions{Argv: []string{"sh", "-c", c.script}})).Tell(bounded(t), eventOf("a"))
		if fmt.Sprint(err) != c.want {
			t.Errorf("%s: got %v, want %s", c.script, err, c.want)
		}
	}
	if err := mustHook(t)(NewRun(RunOptions{Argv: []string{"/no/such/program"}})).Tell(bounded(t), eventOf("a")); err == nil {
		t.Error("a program that is missing is no error")
	}
}

func TestRunNeedNotReadItsInput(t *testing.T) {
	e := eventOf(strings.Repeat("x", 255))
	for len(e.Paths) < 2000 { // more than a pipe holds
		e.Paths = append(e.Paths, e.Paths[0])
	}
	for _, script := range []string{"exit 0", "exec <&-; exit 0", "head -c 1 >/dev/null"} {
		if err := mustHook(t)(NewRun(RunOptions{Argv: []string{"sh", "-c", script}})).Tell(bounded(t), e); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestRunIsNotHeldUpByWhatItLeavesBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	for _, script := range []string{
		`sleep 1000 & echo $! >>"$1"`,
		`sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >>"$1"`,
	} {
		if err := mustHook(t)(NewRun(RunOptions{Argv: []string{"sh", "-c", script, "sh", file}})).Tell(bounded(t), eventOf("a")); err != nil {
			t.Error(err)
		}
	}
	until(t, "nothing is left", func() bool { return allGone(t, file) })

	// What left the group holds input and messages, and is nobody's to end.
	e := eventOf(strings.Repeat("x", 255))
	for len(e.Paths) < 2000 {
		e.Paths = append(e.Paths, e.Paths[0])
	}
	script := `exec 3<&0; setsid sh -c 'echo $$ >"$1"; exec sleep 1000' sh "$1" <&3 & while ! [ -s "$1" ]; do sleep 0.01; done`
	left := filepath.Join(t.TempDir(), "left")
	if err := mustHook(t)(NewRun(RunOptions{Argv: []string{"sh", "-c", script, "sh", left}})).Tell(bounded(t), e); err != nil {
		t.Error(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, left)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("what left the group was ended: %v", err)
	}
}

func TestRunHasASmallEnvironment(t *testing.T) {
	t.Setenv("SERSYNC_TEST_SECRET", "hunter2")
	t.Setenv("HOME", "/home/x")
	t.Setenv("LANG", "C.UTF-8")
	file := filepath.Join(t.TempDir(), "env")
	h := mustHook(t)(NewRun(RunOptions{Argv: []string{"sh", "-c", `tr '\0' '\n' </proc/$$/environ | sort >"$0"; pwd >>"$0"`, file}}))
	if err := h.Tell(bounded(t), eventOf("a")); err != nil {
		t.Fatal(err)
	}
	want := "HOME=/home/x\nLANG=C.UTF-8\nPATH=" + os.Getenv("PATH") + "\nSERSYNC_ON=all-targets-acked\nSERSYNC_SOURCE=www\n/\n"
	if diff := cmp.Diff(want, read(t, file)); diff != "" {
		t.Error(diff)
	}
}

func TestRunHasTimeToEndWell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ended")
	h := mustHook(t)(NewRun(RunOptions{Argv: []string{"sh", "-c", `trap 'echo well >"$0"; exit 0' TERM; : >"$0"; while :; do sleep 0.01; done`, file}}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan error)
	go func() { told <- h.Tell(ctx, eventOf("a")) }()
	until(t, "started", func() bool { _, err := os.Stat(file); return err == nil })
	cancel()
	select {
	case err := <-told:
		if err == nil {
			t.Error("what was ended is no error")
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	if got := read(t, file); got != "well\n" {
		t.Errorf("it had no time to end: %q", got)
	}
}

func TestRunRefused(t *testing.T) {
	for _, argv := range [][]string{nil, {""}, {"./x"}, {"a/b"}, {"/x", "a\x00b"}} {
		if _, err := NewRun(RunOptions{Argv: argv}); err == nil {
			t.Errorf("%q was taken", argv)
		}
	}
}
