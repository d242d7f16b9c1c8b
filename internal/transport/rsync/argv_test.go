package rsync

import (
	"slices"
	"strings"
	"testing"

	"sersync/internal/change"
)

func TestParamsOfLiveRunsAndSweeps(t *testing.T) {
	for _, test := range []struct{ params, live, sweep []string }{
		{[]string{"-artuz"}, []string{"-atz"}, []string{"-artuz"}},
		{[]string{"-r"}, nil, []string{"-r"}},
		{[]string{"-rvu", "--progress", "-z"}, []string{"-z"}, []string{"-ru", "-z"}},
		{[]string{"-az", "--recursive", "--update", "--bwlimit=5"}, []string{"-az", "--bwlimit=5"}, []string{"-az", "--recursive", "--update", "--bwlimit=5"}},
		// What follows a letter with a value is that value.
		{[]string{"-aeruu"}, []string{"-aeruu"}, []string{"-aeruu"}},
		{[]string{"-aT", "-ru", "-r"}, []string{"-aT", "-ru"}, []string{"-aT", "-ru", "-r"}},
		{[]string{"-aP"}, []string{"-a"}, []string{"-a"}},
	} {
		o := Options{Params: test.params}
		own := ownParams.without(o.Params)
		if got := liveParams.without(own); !slices.Equal(got, test.live) {
			t.Errorf("%q live: %q, want %q", test.params, got, test.live)
		}
		if !slices.Equal(own, test.sweep) {
			t.Errorf("%q in sweeps: %q, want %q", test.params, own, test.sweep)
		}
	}
}

func TestNoSecretIsInArgumentsOrEnvironment(t *testing.T) {
	t.Setenv("RSYNC_PASSWORD", "secret")
	o := Options{Host: "h", User: "u", Module: "m", PasswordFile: "/etc/pw"}
	o.defaults()
	for _, s := range append(o.args(update, false), o.env()...) {
		if strings.Contains(s, "secret") {
			t.Errorf("%q", s)
		}
	}
}

// A child that inherits them could tell systemd that sersync is well, or that it ends.
func TestNothingOfTheServiceManagerIsInTheEnvironment(t *testing.T) {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "INVOCATION_ID"} {
		t.Setenv(name, "of-the-manager")
	}
	for _, o := range []Options{{Host: "h", Module: "m"}, {Host: "h", Dir: "/a"}, {Dir: "/a"}} {
		o.defaults()
		for _, s := range o.env() {
			if strings.Contains(s, "of-the-manager") {
				t.Errorf("%q", s)
			}
		}
	}
}

func TestTargetsAreAddresses(t *testing.T) {
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Host: "h", Module: "m"}, "rsync://h/m/"},
		{Options{Host: "h", Module: "m", Dir: "/a/b/", User: "u", Port: 8730}, "rsync://u@h:8730/m/a/b/"},
		{Options{Host: "::1", Module: "m", Port: 8730}, "rsync://[::1]:8730/m/"},
		{Options{Host: "h", Dir: "/a b", User: "u", Port: 22}, "u@h:/a b/"},
		{Options{Host: "::1", Dir: "/a"}, "[::1]:/a/"},
		{Options{Dir: "/a"}, "/a/"},
		{Options{Dir: "/"}, "/"},
	} {
		test.o.defaults()
		if err := test.o.validate(); err != nil {
			t.Errorf("%s: %v", test.want, err)
		}
		args := test.o.args(update, false)
		if got := args[len(args)-1]; got != test.want || args[len(args)-2] != "./" {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestSSHCommandIsQuotedForRsyncAndNotForAShell(t *testing.T) {
	o := Options{Host: "h", Dir: "/a", Port: 2222, SSH: SSH{Identity: "/my keys/it's", Args: []string{"-o", "ProxyCommand=nc %h %p"}}}
	o.defaults()
	want := "ssh -o BatchMode=yes -o LogLevel=ERROR -o ConnectTimeout=10 -p 2222 -i '/my keys/it''s' -o 'ProxyCommand=nc %h %p'"
	if got := o.shellWords(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAddressesThatAreOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{
		{Host: "-oProxyCommand=x", Dir: "/a"},
		{Host: "h", Module: "--daemon"},
		{Host: "h", Module: "a/b"},
		{Host: "h", Module: "m", User: "a@b"},
		{Host: "h", Module: "m", Dir: "../other"},
		{Host: "h", Dir: "relative"},
		{Module: "m"},
		{Dir: "/a", PasswordFile: "/p"},
		{},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestLevelsPutChildrenBeforeParents(t *testing.T) {
	got := levels([]change.Path{"a", "a/b/c", "x/y", "z", "a/b", "a/d"})
	for _, level := range got {
		slices.Sort(level)
	}
	want := [][]change.Path{{"a/b/c", "a/d", "x/y", "z"}, {"a/b"}, {"a"}}
	if !slices.EqualFunc(got, want, slices.Equal[[]change.Path]) {
		t.Errorf("got %q, want %q", got, want)
	}
}
