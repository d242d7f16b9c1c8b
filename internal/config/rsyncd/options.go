package rsyncd

import (
	"regexp"
	"slices"
	"strings"
)

// option is one of rsyncd.conf(5).
type option struct {
	name string
	// global options count in front of the modules alone.
	global bool
	// ignored says why it is not honoured; empty when it is. warn says that this may surprise.
	ignored string
	warn    bool
	// quiet is the value of a switch of which nothing needs to be said; "no" when empty.
	quiet string
}

// options are all of rsyncd.conf(5) of rsync 3.5, and our own, by their plain names.
var options = byName(
	[]string{"port", "address", "log file", "pid file", certFile, keyFile, clientCAFile},
	[]string{
		"path", "comment", "uid", "gid", "read only", "write only", "list", "auth users", "secrets file", "strict modes",
		"hosts allow", "hosts deny", "reverse lookup", "forward lookup", "max connections", "timeout", "exclude",
		"exclude from", "munge symlinks", "use chroot", "refuse options", "fake super", "incoming chmod",
	},
	[]option{
		{name: "motd file", global: true, ignored: "clients show no message"},
		{name: "listen backlog", global: true, ignored: "the kernel's own limit holds"},
		{name: "socket options", ignored: "connections have TCP_NODELAY and keep-alive"},
		{name: "daemon uid", ignored: "what talks to clients runs as nobody"},
		{name: "daemon gid", ignored: "what talks to clients runs as nobody"},
		{name: "syslog facility", ignored: "the log goes to log file, or to standard error"},
		{name: "syslog tag", ignored: "the log goes to log file, or to standard error"},
		{name: "max verbosity", ignored: "the log has one line for each change of state"},
		{name: "lock file", ignored: "connections are counted without a file"},
		{name: "open noatime", ignored: "files are read for who brings something back from a trash alone"},
		{name: "charset", ignored: "names are bytes and arrive as they are"},
		{name: "insecure links", ignored: "no symlink is ever followed"},
		{name: "ignore errors", ignored: "what is removed here the source decides, and it removes nothing after an error"},
		{name: "ignore nonreadable", ignored: "files are read for who brings something back from a trash alone"},
		{name: "transfer logging", ignored: "the source tells of its changes: sersync events"},
		{name: "log format", ignored: "the source tells of its changes: sersync events"},
		{name: "dont compress", ignored: "little is sent from here"},
		{name: "temp dir", ignored: "files are made where they belong, and appear there whole"},
		{name: "outgoing chmod", ignored: "what comes back from a trash has the mode that it had"},
		{name: "auth digest", ignored: "the login does not show what a password could be guessed from"},
		{name: "numeric ids", quiet: "yes", ignored: "owners and groups are numbers, and arrive as they are"},
		{name: "name converter", warn: true, ignored: "owners and groups are numbers, and arrive as they are"},
		{name: "proxy protocol", global: true, warn: true, ignored: "hosts allow and hosts deny see the address of the proxy"},
		{name: "proxy protocol hosts", global: true, warn: true, ignored: "hosts allow and hosts deny see the address of the proxy"},
		{name: "daemon chroot", global: true, warn: true, ignored: "write paths as they are from the root of this machine"},
		{name: "filter", warn: true, ignored: "it protects nothing here; write exclude, or an exclude at the source"},
		{name: "include", warn: true, ignored: "it excepts nothing from exclude; write the exception into exclude, as + PATTERN"},
		{name: "include from", warn: true, ignored: "it excepts nothing from exclude; write the exception into exclude, as + PATTERN"},
		{name: "early exec", warn: true, ignored: "no program is started; the source has hooks"},
		{name: "pre-xfer exec", warn: true, ignored: "no program is started; the source has hooks"},
		{name: "post-xfer exec", warn: true, ignored: "no program is started; the source has hooks"},
	},
)

func byName(globals, ofModules []string, ignored []option) map[string]option {
	all := make(map[string]option)
	for _, name := range globals {
		all[plain(name)] = option{name: name, global: true}
	}
	for _, name := range ofModules {
		all[plain(name)] = option{name: name}
	}
	for _, o := range ignored {
		all[plain(o.name)] = o
	}
	return all
}

// names are all options as a person writes them.
func names() []string {
	var all []string
	for _, o := range options {
		all = append(all, o.name)
	}
	slices.Sort(all)
	return all
}

// saysNothing reports whether a switch stands where it stands here anyway.
func (o option) saysNothing(value string) bool {
	on, ok := truth(value)
	return ok && on == (o.quiet == "yes")
}

// truth reads a switch.
func truth(value string) (on, ok bool) {
	switch strings.ToLower(value) {
	case "yes", "true", "1":
		return true, true
	case "no", "false", "0":
		return false, true
	}
	return false, false
}

// plain is a name without case and white space, which do not matter.
func plain(name string) string {
	return strings.ToLower(strings.Join(strings.Fields(name), ""))
}

// variable is what rsync replaces by a variable of the environment.
var variable = regexp.MustCompile(`%[A-Za-z_][A-Za-z0-9_]*%`)
