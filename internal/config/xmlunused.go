package config

import (
	"slices"
	"strings"
)

// withoutEffect names the elements and attributes that are known and change nothing as they stand here.
func (x *xmlReader) withoutEffect(head *element) {
	sersync := head.child("sersync")
	rsync, crontab := sersync.child("rsync"), sersync.child("crontab")
	x.ignored(head.child("host"), "not used, as in 2.5.4")
	x.ignored(head.child("fileSystem"), "not needed any more: what is a directory is always looked up")
	x.switchedOff(head.child("filter"), "hidden")
	x.switchedOff(rsync.child("auth"))
	x.switchedOff(rsync.child("userDefinedPort"))
	x.switchedOff(rsync.child("timeout"))
	if crontab != nil {
		x.switchedOff(crontab)
		x.switchedOff(crontab.child("crontabfilter"))
	}
	x.sshUnused(rsync.child("ssh"))
	use := sersync.child("plugin")
	x.switchedOff(use)
	for _, e := range head.all("plugin") {
		name, _ := e.get("name")
		if !slices.ContainsFunc(x.config.Plugins, func(p Plugin) bool { return p.Name == name && p.Start }) {
			x.unused(e.line, "the plugin is not started:", name, "")
		}
	}
}

// ignored names an element with its attributes.
func (x *xmlReader) ignored(e *element, why string) {
	if e != nil {
		x.unused(e.line, "it has no effect:", e.name+" "+attrsOf(e), why)
	}
}

// switchedOff names what stands in an element whose switch is off, but the attributes that count all the same.
func (x *xmlReader) switchedOff(e *element, counts ...string) {
	if e == nil {
		return
	}
	if start, _ := e.get("start"); start == "true" {
		return
	}
	if attrs := attrsOf(e, append(counts, "start")...); attrs != "" {
		x.unused(e.line, "it has no effect, as it is switched off:", e.name+" "+attrs, "")
	}
	for _, c := range e.children {
		if _, ok := c.get("expression"); ok {
			x.unused(c.line, "it has no effect, as <"+e.name+"> is switched off:", c.name+" "+attrsOf(c), "")
		}
	}
}

// sshUnused: port and key of <ssh> hold for a single remote over ssh as well.
func (x *xmlReader) sshUnused(e *element) {
	for _, s := range x.config.Sources {
		if slices.ContainsFunc(s.Targets, func(t Target) bool { return t.Kind == SSH || t.Kind == NativeSSH }) {
			return
		}
	}
	x.switchedOff(e)
}

// attrsOf are the attributes as they are written, without some.
func attrsOf(e *element, but ...string) string {
	var attrs []string
	for _, a := range e.attrs {
		if !slices.ContainsFunc(but, func(name string) bool { return strings.EqualFold(name, a.name) }) {
			attrs = append(attrs, a.name+"="+a.value)
		}
	}
	return strings.Join(attrs, " ")
}
