package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/config"
)

func TestOldFlagsInEveryForm(t *testing.T) {
	all := oldFlags{detach: true, initial: true, config: "f.xml", runs: 4}
	for _, test := range []struct {
		args []string
		want oldFlags
	}{
		{nil, oldFlags{config: "confxml.xml"}},
		{[]string{"-r", "-d", "-o", "f.xml", "-n", "4"}, all},
		{[]string{"-n4", "-rdo", "f.xml"}, all},
		{[]string{"-dro", "f.xml", "-n", "4"}, all},
		{[]string{"-drn4", "-of.xml"}, all},
		{[]string{"-dn", "4", "word", "-o", "f.xml", "-r", "more"}, all},
		{[]string{"-o", "a.xml", "-n", "7", "-rd", "-of.xml", "-n", "4"}, all},
		{[]string{"-rdo", "f.xml", "-n4", "--", "-x"}, all},
		{[]string{"-rdo", "f.xml", "-n4", "-"}, all},
		{[]string{"-o", "-r"}, oldFlags{config: "-r"}},
		{[]string{"-m", "socket", "-m", "command"}, oldFlags{config: "confxml.xml", plugins: []string{"socket", "command"}}},
		{[]string{"-rh", "-x"}, oldFlags{config: "confxml.xml", initial: true, help: true}},
	} {
		got, err := parseOld(test.args)
		if err != nil {
			t.Errorf("%q: %v", test.args, err)
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(oldFlags{})); diff != "" {
			t.Errorf("%q: %s", test.args, diff)
		}
	}
}

func TestOldFlagsThatAreWrong(t *testing.T) {
	for _, args := range [][]string{
		{"-x"}, {"-rx", "-h"}, {"-o"}, {"-rdo"}, {"-n"}, {"-o", ""}, {"--help", "-r"}, {"-n", "-1"}, {"-n-1"}, {"-m", "telnet"}, {"-m"},
	} {
		_, err := parseOld(args)
		var e *exit
		if !errors.As(err, &e) || e.code != exitError || e.hint == "" {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// 2.5.4 compared all targets first. A plugin by itself has none.
func TestComparingBesideAPluginAloneIsSaidToDoNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "confxml.xml")
	text := `<head><sersync><localpath watch="` + dir + `"><remote ip="h" name="m"/></localpath></sersync>
<plugin name="command"><param prefix="/bin/echo" suffix="" ignoreError="true"/></plugin></head>`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, initial := range []bool{true, false} {
		cfg, problems, err := pluginsOf(file, initial, []string{"command"})()
		if err != nil {
			t.Fatal(err)
		}
		said := slices.ContainsFunc(problems, func(p config.Problem) bool {
			return p.Severity == config.Notice && strings.HasPrefix(p.String(), "notice: -r has nothing to compare")
		})
		if said != initial || cfg.Sources[0].Initial {
			t.Errorf("-r %v: said %v, initial %v", initial, said, cfg.Sources[0].Initial)
		}
	}
}

func TestOldNumberIsReadAsAtoiDid(t *testing.T) {
	for text, want := range map[string]int{
		"4": 4, "0": 10, "abc": 10, "": 10, "2x": 2, " 3": 3, "+5": 5, "-0": 10, "- 3": 10, "99999999999999999999": 1<<31 - 1,
	} {
		got, err := oldNumber(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestOperandsAreWhatIsNoFlag(t *testing.T) {
	for _, test := range []struct{ args, want []string }{
		{[]string{"status"}, []string{"status"}},
		{[]string{"-o", "status"}, nil},
		{[]string{"-rdo", "run", "sync"}, []string{"sync"}},
		{[]string{"--json", "status"}, []string{"status"}},
		{[]string{"-r", "--", "run"}, []string{"run"}},
	} {
		if diff := cmp.Diff(test.want, operands(test.args)); diff != "" {
			t.Errorf("%q: %s", test.args, diff)
		}
	}
}
