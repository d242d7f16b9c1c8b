package config

import (
	"slices"
)

// pluginNames are those of 2.5.4, and http, which it never shipped.
func pluginNames() []string { return []string{"command", "socket", "refreshCDN", "http"} }

// plugins reads all plugins. Only the one that is started is validated, as the shipped file has examples of all.
func (x *xmlReader) plugins(head, use *element) {
	wanted := ""
	if x.on(use, "start", false) {
		wanted = text(use, "name", "command")
		if !slices.Contains(pluginNames(), wanted) {
			x.fail(use.line, "unknown plugin", wanted, didYouMean(wanted, pluginNames()))
		}
	}
	found := false
	for _, e := range head.all("plugin") {
		name, _ := e.get("name")
		same := func(p Plugin) bool { return p.Name == name }
		if !slices.Contains(pluginNames(), name) || slices.ContainsFunc(x.config.Plugins, same) {
			continue
		}
		p := x.plugin(e, name)
		if name == wanted {
			found, p.Start = true, true
			x.checkPlugin(e, p)
			x.notice(e.line, "<plugin> is parsed, not active in this version:", name, "")
		}
		x.config.Plugins = append(x.config.Plugins, p)
	}
	if slices.Contains(pluginNames(), wanted) && !found {
		x.fail(use.line, "there is no definition of the plugin", wanted, `write <plugin name="`+wanted+`"> in <head>`)
	}
}

func (x *xmlReader) plugin(e *element, name string) Plugin {
	p := Plugin{Place: x.at(e.line), Name: name}
	param := e.child("param")
	p.Prefix, p.Suffix = text(param, "prefix", ""), text(param, "suffix", "")
	p.IgnoreError = x.on(param, "ignoreError", false)
	if includes := e.child("filter"); x.on(includes, "start", false) {
		for _, c := range includes.all("include") {
			expression, _ := c.get("expression")
			p.Include = append(p.Include, expression)
		}
	}
	local := e.child("localpath")
	p.Path = text(local, "watch", "")
	host, cdn := local.child("deshost"), local.child("cdninfo")
	p.Host = text(host, "ip", text(cdn, "domainname", ""))
	p.URL = text(host, "url", text(local.child("sendurl"), "base", ""))
	port := text(host, "port", text(cdn, "port", ""))
	if n, err := parseInt(port, 1, 65535); err == nil {
		p.Port = n
	}
	p.User = text(cdn, "username", "")
	if regex := local.child("regexurl"); x.on(regex, "regex", false) {
		p.Match = text(regex, "match", "")
	}
	return p
}

// checkPlugin names what a plugin that is started lacks. The password of refreshCDN is looked for and
// forgotten.
func (x *xmlReader) checkPlugin(e *element, p Plugin) {
	local := e.child("localpath")
	need := func(value, element, attr string) {
		if value == "" {
			x.fail(e.line, attr+" of <"+element+"> is missing or empty in the plugin", p.Name, "write <"+element+" "+attr+`="...">`)
		}
	}
	switch p.Name {
	case "command":
		need(p.Prefix+p.Suffix, "param", "prefix")
		for _, expression := range p.Include {
			x.compile(e.line, expression)
		}
	case "socket":
		need(p.Path, "localpath", "watch")
		need(p.Host, "deshost", "ip")
		x.pluginPort(e, p)
	case "http":
		need(p.Path, "localpath", "watch")
		need(p.URL, "deshost", "url")
	case "refreshCDN":
		need(p.Path, "localpath", "watch")
		need(p.Host, "cdninfo", "domainname")
		need(p.User, "cdninfo", "username")
		need(text(local.child("cdninfo"), "passwd", ""), "cdninfo", "passwd")
		need(p.URL, "sendurl", "base")
		need(text(local.child("regexurl"), "match", ""), "regexurl", "match")
		if p.Match != "" {
			x.compile(e.line, p.Match)
		}
	}
}

func (x *xmlReader) pluginPort(e *element, p Plugin) {
	if p.Port == 0 {
		x.fail(e.line, "port is no number from 1 to 65535 in the plugin", p.Name, `write port="..."`)
	}
}
