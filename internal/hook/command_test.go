package hook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandIgnoresAnExitStatusWhenTold(t *testing.T) {
	for _, c := range []struct {
		prefix string
		ignore bool
		want   string
	}{
		{"echo no >&2; exit 7; :", false, `run command for /r/a: exit status 7: no`},
		{"echo no >&2; exit 7; :", true, ""},
		{"kill -9 $$; :", true, ""},
		{"(exit 6) && echo", false, "run command for /r/a: exit status 6"},
	} {
		err := mustHook(t)(NewCommand(CommandOptions{Prefix: c.prefix, IgnoreError: c.ignore})).Tell(bounded(t), eventOf("a"))
		if err == nil && c.want != "" || err != nil && err.Error() != c.want {
			t.Errorf("%q: got %v, want %q", c.prefix, err, c.want)
		}
	}
}

func TestCommandWaitsForWhatIsInTheBackground(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told")
	h := mustHook(t)(NewCommand(CommandOptions{
		Prefix: `sleep 0.2; f() { printf '%s\n' "$1" >>` + file + `; }; f`, Suffix: "&", IgnoreError: true,
	}))
	if err := h.Tell(bounded(t), eventOf("a", "b")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("/r/a\n/r/b\n", read(t, file)); diff != "" {
		t.Error(diff)
	}
}

// People write the names of their scripts as they are seen from where they start sersync.
func TestCommandRunsWhereSersyncWasStarted(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	h := mustHook(t)(NewCommand(CommandOptions{Prefix: "echo", Suffix: ">> told"}))
	if err := h.Tell(bounded(t), eventOf("a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("/r/a\n", read(t, filepath.Join(dir, "told"))); diff != "" {
		t.Error(diff)
	}
}

func TestCommandTellsWhatIsIncludedOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told")
	h := mustHook(t)(NewCommand(CommandOptions{
		Prefix: `printf '%s\n'`, Suffix: ">>" + file + " # told", Include: []string{`.*\.php`, `/r/(?!x)[a-c]\xff`},
	}))
	if err := h.Tell(bounded(t), eventOf("a.php", "a.php5", "d/b.php", "b\xff", "d\xff", "a.html")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("/r/a.php\n/r/d/b.php\n/r/b\xff\n", read(t, file)); diff != "" {
		t.Error(diff)
	}
}

func TestCommandStopsAtAPathThatIsNotTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told")
	h := mustHook(t)(NewCommand(CommandOptions{Prefix: "f() { echo $1 >>" + file + "; [ $1 != /r/b ]; }; f"}))
	if err := h.Tell(bounded(t), eventOf("a", "b", "c")); err == nil || !strings.Contains(err.Error(), "/r/b: exit status 1") {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff("/r/a\n/r/b\n", read(t, file)); diff != "" {
		t.Error(diff)
	}
}

// The path may be nowhere but in a word of its own, whatever the text around it is.
func TestCommandRefused(t *testing.T) {
	for _, o := range []CommandOptions{
		{},
		{Suffix: " "},
		{Prefix: "echo \x00"},
		{Prefix: `echo \`},
		{Prefix: "echo", Suffix: `\`},
		{Prefix: `echo "`},
		{Prefix: `echo '`},
		{Prefix: "#"},
		{Prefix: "echo #"},
		{Prefix: `sh -c "touch`, Suffix: `"`},
		{Prefix: `ssh host 'touch`, Suffix: `'`},
		{Prefix: "cat <<E\n", Suffix: "\nE"},
		{Prefix: "echo $((", Suffix: "))"},
		{Prefix: "echo ${x:-", Suffix: "}"},
		{Prefix: "if"},
		{Prefix: "echo (", Suffix: ""},
		{Prefix: "echo", Include: []string{"("}},
	} {
		if _, err := NewCommand(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	ran := filepath.Join(t.TempDir(), "ran")
	for _, o := range []CommandOptions{
		{Prefix: "touch " + ran + ";"},
		{Prefix: "`touch " + ran + "`;"},
		{Prefix: "echo", Suffix: "; touch " + ran},
	} {
		if _, err := NewCommand(o); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command ran when it was only looked at")
	}
}

func TestCommandTakesWhatPeopleWrite(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []CommandOptions{
		{Prefix: "/bin/echo", Suffix: ">>" + dir + "/1"},
		{Prefix: "if true; then echo", Suffix: ">>" + dir + "/2; fi"},
		{Prefix: `x="$(echo`, Suffix: `)"; echo "$x" >>` + dir + "/3"},
		{Prefix: "cd " + dir + "; echo", Suffix: "| cat >>4; true"},
		{Prefix: "{ echo", Suffix: "; } >>" + dir + "/5 &"},
		{Prefix: "for p in", Suffix: "; do echo \"$p\" >>" + dir + "/6; done # all"},
	} {
		if err := mustHook(t)(NewCommand(o)).Tell(bounded(t), eventOf("a b")); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, file := range []string{"1", "2", "3", "4", "5", "6"} {
		if got := read(t, filepath.Join(dir, file)); got != "/r/a b\n" {
			t.Errorf("%s was told %q", file, got)
		}
	}
}
