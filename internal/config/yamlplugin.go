package config

import (
	"slices"
	"strings"

	"sersync/internal/filter"
)

// hookPlugin reads one of the plugins of 2.5.4. Which keys there are is for its name to say.
func (y *yamlReader) hookPlugin(h *Hook) func(*ynode) {
	return func(n *ynode) {
		h.Plugin = &Plugin{Place: y.at(n.line)}
		if !y.is(n, yMap, "plugin") {
			return
		}
		name := n.get("name")
		if name == nil || !slices.Contains(pluginNames(), name.text) {
			written := ""
			if name != nil {
				written = name.text
			}
			y.fail(n.line, "there is no plugin", written, "write name: and one of "+strings.Join(pluginNames(), ", "))
			return
		}
		p := h.Plugin
		p.Name = name.text
		y.keys(n, "plugin", append(y.pluginFields(p), field{"name", y.text(&p.Name)}))
		for _, key := range neededKeys(p.Name) {
			if n.get(key) == nil {
				y.fail(n.line, key+" is missing in the plugin", p.Name, "write "+key+":")
			}
		}
	}
}

// neededKeys are those that a plugin cannot do without.
func neededKeys(name string) []string {
	switch name {
	case "command":
		return []string{"prefix"}
	case "socket":
		return []string{"host", "port"}
	case "refreshCDN":
		return []string{"host", "user", "password_file", "base"}
	}
	return []string{"url"}
}

func (y *yamlReader) pluginFields(p *Plugin) []field {
	fields := []field{{"path", y.absolutePath(&p.Path)}}
	host, port := field{"host", y.text(&p.Host)}, field{"port", y.int(&p.Port, 1, 65535)}
	switch p.Name {
	case "command":
		return append(fields, field{"prefix", y.text(&p.Prefix)}, field{"suffix", y.text(&p.Suffix)},
			field{"ignore_error", y.bool(&p.IgnoreError)}, field{"include", y.patterns(filter.CheckRegex, func(n *ynode) {
				p.Include = append(p.Include, n.text)
			})})
	case "socket":
		return append(fields, host, port)
	case "refreshCDN":
		return append(fields, host, port, field{"user", y.text(&p.User)}, field{"password_file", y.absolutePath(&p.PasswordFile)},
			field{"base", y.text(&p.URL)}, field{"match", y.checked(func(s string) error {
				p.Match = s
				return filter.CheckRegex(s)
			})})
	}
	return append(fields, field{"url", y.text(&p.URL)}, port)
}
