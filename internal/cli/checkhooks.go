package cli

import (
	"fmt"
	"net/url"
	"strings"

	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/hook"
)

// explainHooks says who would be told of what. It shows no secret.
func (a *app) explainHooks(indent string, hooks []config.Hook) {
	for _, h := range hooks {
		on := string(h.On)
		if h.After > 0 {
			on += fmt.Sprintf(" for %v", h.After)
		}
		fmt.Fprintf(a.out, "%shook %s, on %s: %s\n", indent, h.Name, on, strings.Join(append([]string{action(h)}, limits(h)...), ", "))
	}
}

// action says what a hook does.
func action(h config.Hook) string {
	switch {
	case h.Run != nil:
		return "runs " + quote(strings.Join(h.Run.Argv, " "))
	case h.Post != nil && h.Post.URLFile != "":
		return "posts to the URL in " + quote(h.Post.URLFile)
	case h.Post != nil:
		return "posts to " + hostOf(h.Post.URL)
	case h.Purge != nil && h.Purge.Via != "":
		return "sends " + h.Purge.Method + " by " + hostOf(h.Purge.Via)
	case h.Purge != nil:
		return "sends " + h.Purge.Method
	}
	return pluginAction(*h.Plugin)
}

func pluginAction(p config.Plugin) string {
	does := ""
	switch p.Name {
	case "command":
		does = "runs " + quote(strings.TrimSpace(p.Prefix+" PATH "+p.Suffix))
	case "socket":
		does = fmt.Sprintf("connects to %s port %d", p.Host, p.Port)
	case "refreshCDN":
		does = "refreshes " + quote(p.URL) + " at " + p.Host
	case "http":
		does = "posts to " + hostOf(p.URL)
	}
	if p.Path != "" {
		does += " for what is in " + quote(p.Path)
	}
	return "plugin " + p.Name + ", " + does
}

// hostOf is a URL without its path, which is a secret with many services.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "its URL"
	}
	return u.Scheme + "://" + u.Host
}

// limits say of which paths, and how, a hook is told.
func limits(h config.Hook) []string {
	var parts []string
	if len(h.Include) > 0 {
		parts = append(parts, "only of "+patterns(h.Include))
	}
	if len(h.Exclude) > 0 {
		parts = append(parts, "not of "+patterns(h.Exclude))
	}
	if h.On.OfPaths() {
		parts = append(parts, fmt.Sprintf("at most %s at once", plural(h.Batch.Paths, "path")))
	}
	if h.On == hook.AllTargetsAcked {
		parts = append(parts, fmt.Sprintf("waits for a target for %v", h.MaxWait))
	}
	return parts
}

func patterns(rules []filter.Rule) string {
	var quoted []string
	for _, r := range rules {
		quoted = append(quoted, quote(r.Pattern))
	}
	return strings.Join(quoted, " ")
}
