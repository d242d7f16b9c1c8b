package cli

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
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
