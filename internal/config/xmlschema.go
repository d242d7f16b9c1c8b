package config

import (
	"slices"
	"strings"
)

// shape says what an element of confxml.xml may hold. Names are in the spelling of the file that
// 2.5.4 was shipped with.
type shape struct {
	name     string
	attrs    []string
	children []shape
	// many says that it may be there more than once.
	many bool
}

// on is a shape with a switch alone.
func on(name string, attrs ...string) shape {
	return shape{name: name, attrs: append([]string{"start"}, attrs...)}
}

// exclusion is a list of expressions behind a switch.
func exclusion(name, entry string, attrs ...string) shape {
	s := on(name, attrs...)
	s.children = []shape{{name: entry, attrs: []string{"expression"}, many: true}}
	return s
}

// headShape is the whole of confxml.xml.
func headShape() shape {
	inotify := shape{name: "inotify", attrs: []string{"strict"}}
	inotify.children = append(inotify.children, on("delete", "budget"))
	for _, name := range []string{"createFolder", "createFile", "closeWrite", "moveFrom", "moveTo", "attrib", "modify"} {
		inotify.children = append(inotify.children, on(name))
	}
	crontab := on("crontab", "schedule")
	crontab.children = []shape{exclusion("crontabfilter", "exclude")}
	remote := shape{name: "remote", many: true, attrs: []string{
		"ip", "name", "port", "users", "passwordfile", "params", "ssh", "sshport", "sshkey", "timeout", "connecttimeout", "bwlimit", "transport",
	}}
	sersync := shape{name: "sersync", children: []shape{
		{name: "localpath", attrs: []string{"watch"}, many: true, children: []shape{remote}},
		{name: "rsync", children: []shape{
			{name: "commonParams", attrs: []string{"params"}},
			on("auth", "users", "passwordfile"),
			on("userDefinedPort", "port"),
			on("timeout", "time"),
			on("ssh", "port", "key"),
		}},
		{name: "failLog", attrs: []string{"path", "timeToExecute"}},
		crontab,
		on("plugin", "name"),
	}}
	plugin := shape{name: "plugin", attrs: []string{"name"}, many: true, children: []shape{
		{name: "param", attrs: []string{"prefix", "suffix", "ignoreError"}},
		exclusion("filter", "include"),
		{name: "localpath", attrs: []string{"watch"}, children: []shape{
			{name: "deshost", attrs: []string{"ip", "url", "port"}},
			{name: "cdninfo", attrs: []string{"domainname", "port", "username", "passwd"}},
			{name: "sendurl", attrs: []string{"base"}},
			{name: "regexurl", attrs: []string{"regex", "match"}},
		}},
	}}
	return shape{name: "head", attrs: []string{"version"}, children: []shape{
		{name: "host", attrs: []string{"hostip", "port"}},
		on("debug"),
		{name: "fileSystem", attrs: []string{"xfs"}},
		{name: "metrics", attrs: []string{"listen"}},
		exclusion("filter", "exclude", "hidden"),
		inotify, sersync, plugin,
	}}
}

// checkShape warns of everything in e that is not in s.
func checkShape(r *report, e *element, s shape) {
	for _, a := range e.attrs {
		if !slices.ContainsFunc(s.attrs, func(n string) bool { return strings.EqualFold(n, a.name) }) {
			r.warn(e.line, "<"+s.name+"> has no attribute", a.name, DidYouMean(a.name, s.attrs))
		}
	}
	seen := make(map[string]bool)
	for _, c := range e.children {
		i := slices.IndexFunc(s.children, func(known shape) bool { return strings.EqualFold(known.name, c.name) })
		if i < 0 {
			warnUnknownElement(r, c, s)
			continue
		}
		name := s.children[i].name
		if seen[name] && !s.children[i].many {
			r.warn(c.line, "a second element <"+name+">", "", "only the first one counts: remove one")
		}
		seen[name] = true
		checkShape(r, c, s.children[i])
	}
}

func warnUnknownElement(r *report, e *element, parent shape) {
	var names []string
	for _, c := range parent.children {
		names = append(names, c.name)
	}
	r.warn(e.line, "<"+parent.name+"> holds no element", e.name, DidYouMean(e.name, names))
}
