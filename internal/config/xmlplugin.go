package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pluginNames are those of 2.5.4, and http, which it never shipped.
func pluginNames() []string { return []string{"command", "socket", "refreshCDN", "http"} }

// plugins reads all plugins. Only the one that is wanted is validated and made a hook of each source, as the shipped file has
// examples of all.
func (x *xmlReader) plugins(head, use *element) {
	wanted, line := x.wantedPlugin(use)
	if len(x.report.plugins) > 0 {
		x.pluginsOnly(wanted)
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
			x.checkPluginElement(e, p)
			for i := range x.config.Sources {
				s := &x.config.Sources[i]
				s.Hooks = append(s.Hooks, newPluginHook(p))
			}
		}
		x.config.Plugins = append(x.config.Plugins, p)
	}
	if slices.Contains(pluginNames(), wanted) && !found {
		x.fail(line, "there is no definition of the plugin", wanted, `write <plugin name="`+wanted+`"> in <head>`)
	}
}

// wantedPlugin is the name of the plugin to run, and the line that says so. Of several of -m 2.5.4 ran the first one here.
func (x *xmlReader) wantedPlugin(use *element) (name string, line int) {
	for _, name := range []string{"refreshCDN", "socket", "command", "http"} {
		if slices.Contains(x.report.plugins, name) {
			return name, 0
		}
	}
	switch {
	case len(x.report.plugins) > 0:
		name = x.report.plugins[0]
	case x.on(use, "start", false):
		name, line = text(use, "name", "command"), use.line
	default:
		return "", 0
	}
	if !slices.Contains(pluginNames(), name) {
		x.fail(line, "unknown plugin", name, DidYouMean(name, pluginNames()))
	}
	return name, line
}

// pluginsOnly takes out what a plugin by itself does not need. Its journal must not be that of the same file with targets,
// which would be forgotten.
func (x *xmlReader) pluginsOnly(name string) {
	x.config.Name = instanceName(x.file) + "-" + name
	x.config.FailLog.Path = ""
	for i := range x.config.Sources {
		s := &x.config.Sources[i]
		s.Targets, s.Sweep = nil, Sweep{}
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
	if path := text(local, "watch", ""); path != "" {
		p.Path = absolute(path)
	}
	host, cdn := local.child("deshost"), local.child("cdninfo")
	p.Host = text(host, "ip", text(cdn, "domainname", ""))
	p.URL = text(host, "url", text(local.child("sendurl"), "base", ""))
	if n, err := parseInt(portOfPlugin(e), 1, 65535); err == nil {
		p.Port = n
	}
	p.User = text(cdn, "username", "")
	if regex := local.child("regexurl"); x.on(regex, "regex", false) {
		p.Match = text(regex, "match", "")
	}
	return p
}

func portOfPlugin(e *element) string {
	local := e.child("localpath")
	return text(local.child("deshost"), "port", text(local.child("cdninfo"), "port", ""))
}

// checkPluginElement names what the plugin that is wanted lacks. The password of refreshCDN is looked for and forgotten.
func (x *xmlReader) checkPluginElement(e *element, p Plugin) {
	local := e.child("localpath")
	need := func(value, element, attr string) {
		if value == "" {
			x.fail(e.line, attr+" of <"+element+"> is missing or empty in the plugin", p.Name, "write <"+element+" "+attr+`="...">`)
		}
	}
	port := portOfPlugin(e)
	switch p.Name {
	case "command":
		need(p.Prefix+p.Suffix, "param", "prefix")
		for _, expression := range p.Include {
			need(expression, "include", "expression")
			x.compile(e.line, expression)
		}
		return
	case "socket":
		need(p.Host, "deshost", "ip")
		need(port, "deshost", "port")
	case "http":
		need(p.URL, "deshost", "url")
	case "refreshCDN":
		need(p.Host, "cdninfo", "domainname")
		need(p.User, "cdninfo", "username")
		need(text(local.child("cdninfo"), "passwd", ""), "cdninfo", "passwd")
		need(p.URL, "sendurl", "base")
		need(text(local.child("regexurl"), "match", ""), "regexurl", "match")
		if p.Match != "" {
			x.compile(e.line, p.Match)
		}
	}
	need(p.Path, "localpath", "watch")
	if port != "" && p.Port == 0 {
		x.fail(e.line, "port cannot be used in the plugin "+p.Name+":", port, "write a whole number from 1 to 65535")
	}
}

// PluginPassword reads the password that a confxml.xml has for a plugin of that name. The error never holds it.
func PluginPassword(file, name string) (string, error) {
	data, err := readFile(file)
	if err != nil {
		return "", fmt.Errorf("read password of the plugin %q: %w", name, err)
	}
	head, err := parseXML(file, data)
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		// What the parser says may quote what it stumbled over.
		return "", fmt.Errorf("read password of the plugin %q: %s is malformed", name, syntax.Place)
	}
	for _, e := range head.all("plugin") {
		if named, _ := e.get("name"); named != name {
			continue
		}
		if password := text(e.child("localpath").child("cdninfo"), "passwd", ""); password != "" {
			return password, nil
		}
		return "", fmt.Errorf("read password of the plugin %q: there is none in %s", name, file)
	}
	return "", fmt.Errorf("read password of the plugin %q: there is no such plugin in %s", name, file)
}

// noPlugin says that a file that is no confxml.xml has no plugins to run by themselves.
func (r *report) noPlugin() {
	if len(r.plugins) > 0 {
		r.fail(0, "there is no definition of the plugin", strings.Join(r.plugins, ", "),
			"-m is for a confxml.xml; in YAML a source that has hooks and no targets does the same")
	}
}
