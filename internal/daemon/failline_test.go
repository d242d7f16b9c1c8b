package daemon

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// hostile are names that try to be more than a name, wherever they stand in a line of sh.
var hostile = []change.Path{
	"plain", "a b", "a/b c/d", "-rf", "--delete", "#x", ";y", "*", "?[x]", "~", "$HOME", "!x", "a=b", "\\", "\\n", "%s%n%%", "100%",
	"'", "''", "'; touch canary; '", `"; touch canary; "`, "$(touch canary)", "`touch canary`", "a&touch canary&", "a|touch canary", "a>canary",
	"a\ntouch canary\n", "\ntouch canary\n#", "'\ntouch canary\n'", "'\n'touch canary", "a\n$(touch canary)", "a\n`touch canary`",
	"\\'\ntouch canary\n", "a\n\"; touch canary; \"", "a\n'; touch canary; '%s", "end\n", "end\n\n", "a\rtouch canary\r", "\x1b[2Jx", "\x07", "\x7f", "tab\tx",
	"\xff\xfe", "ü", "\u202eexe.txt", "\u2028touch canary", "\u0085touch canary", "a\n%d\\141\\0", "\x01234", change.Path(strings.Repeat("n\n", 127)),
}

// stub is an rsync that does nothing but write down the directory, the name that it was given, and its arguments.
const stub = `#!/bin/sh
{
	printf '%s\0' "$PWD"
	list=
	for word; do case $word in --files-from=-) list=1 ;; esac; done
	if [ "$list" ]; then cat; else
		name= ; for word; do case $word in ./*) name=$word ;; esac; done
		printf '%s\0' "$name"
	fi
	for word; do last=$word; done
	printf '%s\0' "$last"
} >> "$RECORD"
`

// shell runs a text with sh in an empty directory and with the stub as its rsync, and returns what the stub wrote down. It
// fails the test when anything else was run.
func shell(t *testing.T, text string, options ...string) string {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "rsync"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(bin, "record")
	script := filepath.Join(bin, "script")
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", append(options, script)...)
	c.Dir = dir
	c.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "RECORD=" + record, "HOME=" + dir}
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("sh: %v: %q\n%s", err, out, text)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("something else was run:\n%s", text)
	}
	got, _ := os.ReadFile(record)
	return string(got)
}

// scenes are sources with names that are hostile themselves.
func scenes(t *testing.T) map[string]config.Source {
	t.Helper()
	all := map[string]config.Source{}
	for name, dir := range map[string]string{
		"plain": "src", "blanks and quotes": `it's "my" $HOME`, "newlines": "a\ntouch canary\n",
	} {
		path := filepath.Join(t.TempDir(), dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		all[name] = config.Source{Path: path}
	}
	return all
}

func targets() []config.Target {
	return []config.Target{
		{Kind: config.Daemon, User: "u", Host: "h", Port: 874, Path: "m/it's $(touch canary)", PasswordFile: "/etc/p w", Params: []string{"-a", "-r", "-t", "-u", "-z"}},
		{Kind: config.SSH, User: "u", Host: "h", Path: "/back up", Params: []string{"-a"}, SSHOptions: []string{"-o", "ProxyCommand=touch 'canary'"}},
		{Kind: config.Local, Path: "/`touch canary`", Params: []string{"-a", "--chmod=D755,F644"}},
	}
}

func TestFailLogRunsOneRsyncAPathAndNothingElseWhateverTheNames(t *testing.T) {
	for name, source := range scenes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, target := range targets() {
				var out bytes.Buffer
				var want strings.Builder
				f := replicate.Failing{Target: target.URL(), More: 3}
				for n, p := range hostile {
					f.Paths = append(f.Paths, replicate.FailingPath{Path: p, Err: "failed: " + string(p), Gone: n%2 == 0})
					there := rsyncOptions(target, discard).ByHand(transport.Update, p, false)
					want.WriteString(source.Path + "\x00./" + string(p) + "\x00" + there[len(there)-1] + "\x00")
				}
				failLines(&out, source, target, f, transport.Remove)
				if got := shell(t, out.String(), "-n"); got != "" {
					t.Errorf("sh -n ran %q", got)
				}
				if diff := cmp.Diff(want.String(), shell(t, out.String())); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// A person may copy a single line, or grep may choose it.
func TestEachLineOfAFailLogIsSafeAlone(t *testing.T) {
	source, target := scenes(t)["newlines"], targets()[0]
	var out bytes.Buffer
	f := replicate.Failing{}
	for _, p := range hostile {
		f.Paths = append(f.Paths, replicate.FailingPath{Path: p, Err: "\n" + string(p)})
	}
	failLines(&out, source, target, f, transport.Remove)
	runs := 0
	var lines []string
	for line := range strings.Lines(out.String()) {
		for _, c := range []byte(strings.TrimSuffix(line, "\n")) {
			if c < ' ' || c == 0x7f {
				t.Errorf("a control character in %q", line)
			}
		}
		if strings.HasPrefix(line, "cd ") {
			runs++
		}
		lines = append(lines, line)
	}
	if runs != len(hostile) || len(lines) != 3*len(hostile) {
		t.Errorf("%d commands in %d lines for %d names", runs, len(lines), len(hostile))
	}
	for _, line := range lines {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			shell(t, line)
		}
	}
}

func TestCommandOfAFailLogSendsOnePathAndRemovesOnlyWhatIsGone(t *testing.T) {
	source, target := config.Source{Path: "/data"}, targets()[0]
	target.Path = "m"
	has := func(line string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(line+" ", " "+w+" ") {
				t.Errorf("no %s in %s", w, line)
			}
		}
	}
	update := failCommand(source, target, transport.Update, "a/b")
	has(update, "--no-recursive", "--relative", "--ignore-missing-args", "-z", "'--password-file=/etc/p w'", "./a/b", "rsync://u@h:874/m/")
	for _, w := range []string{"--delete", "--force", " -r ", " -u ", "\n"} {
		if strings.Contains(update, w) {
			t.Errorf("%s in %s", w, update)
		}
	}
	if !strings.HasPrefix(update, "cd /data && rsync ") {
		t.Error(update)
	}
	has(failCommand(source, target, transport.Remove, "a/b"), "--delete-missing-args", "--force")
	exact := failCommand(source, target, transport.RemoveExact, "a\nb")
	has(exact, "--delete-missing-args", "--from0", "--files-from=-", `'./a\012b\000'`)
	if strings.Contains(exact, "--force") {
		t.Error(exact)
	}
}
