package daemon

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/hook"
	"sersync/internal/replicate"
)

// hookOptions are those of all hooks of a source: its own, and those of its targets.
func hookOptions(s config.Source, log *slog.Logger) ([]replicate.HookOptions, error) {
	var all []replicate.HookOptions
	add := func(target string, hooks []config.Hook) error {
		for _, h := range hooks {
			o, err := hookOption(s, h, log)
			if err != nil {
				return fmt.Errorf("%v: build hook %q: %w", h.Place, h.Name, err)
			}
			o.Target = target
			all = append(all, o)
		}
		return nil
	}
	if err := add("", s.Hooks); err != nil {
		return nil, err
	}
	for _, t := range s.Targets {
		if err := add(t.URL(), t.Hooks); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func hookOption(s config.Source, h config.Hook, log *slog.Logger) (replicate.HookOptions, error) {
	o := replicate.HookOptions{
		Name: h.Name, On: h.On, Identity: h.Identity(),
		Paths: h.Batch.Paths, Gather: h.Batch.Wait, Timeout: h.Timeout, DeadAfter: h.DeadAfter,
		Concurrency: h.Concurrency, MaxWait: h.MaxWait, After: h.After,
	}
	var err error
	if o.Hook, err = NewHook(h); err != nil {
		return o, err
	}
	o.Wants, err = wants(s, h, log)
	return o, err
}

// NewHook makes what a hook of the configuration does.
func NewHook(h config.Hook) (hook.Hook, error) {
	var rules []hook.URLRule
	for _, u := range h.URLs {
		rules = append(rules, hook.URLRule{Match: u.Match, URL: u.URL})
	}
	urls, err := hook.NewURLs(rules...)
	switch {
	case err != nil:
		return nil, err
	case h.Run != nil:
		return hook.NewRun(hook.RunOptions{Argv: h.Run.Argv, URLs: urls})
	case h.Post != nil:
		p := h.Post
		return hook.NewPost(hook.PostOptions{
			URL: p.URL, URLFile: p.URLFile, HeadersFile: p.HeadersFile, HMACFile: p.HMACFile,
			Body: p.Body, ContentType: p.ContentType, Expect: p.Expect, URLs: urls,
		})
	case h.Purge != nil:
		return hook.NewPurge(hook.PurgeOptions{Via: h.Purge.Via, Method: h.Purge.Method, URLs: urls})
	case h.Plugin != nil:
		return newPlugin(*h.Plugin)
	}
	return nil, fmt.Errorf("hook %q does nothing", h.Name)
}

// newPlugin makes one of the plugins of 2.5.4.
func newPlugin(p config.Plugin) (hook.Hook, error) {
	switch p.Name {
	case "command":
		return hook.NewCommand(hook.CommandOptions{Prefix: p.Prefix, Suffix: p.Suffix, IgnoreError: p.IgnoreError, Include: p.Include})
	case "socket":
		return hook.NewSocket(hook.SocketOptions{Host: p.Host, Port: p.Port})
	case "http":
		return hook.NewHTTP(hook.HTTPOptions{URL: p.URL, Port: p.Port})
	}
	return hook.NewRefreshCDN(hook.RefreshCDNOptions{
		Host: p.Host, Port: p.Port, User: p.User, Base: p.URL, Match: p.Match, Watch: p.Path,
		Password: func() (string, error) {
			if p.PasswordFile == "" {
				return config.PluginPassword(p.Place.File, p.Name)
			}
			password, err := hook.ReadSecret(p.PasswordFile)
			return strings.TrimRight(string(password), "\r\n"), err
		},
	})
}

// wants is what the include and exclude of a hook, and the path of a plugin, say of a path; nil when they say nothing.
// A directory that went is told whatever is included: what was in it is not named.
func wants(s config.Source, h config.Hook, log *slog.Logger) (func(change.Path, change.Bits) bool, error) {
	include, err := filter.New(h.Include...)
	if err != nil {
		return nil, err
	}
	exclude, err := filter.New(h.Exclude...)
	if err != nil {
		return nil, err
	}
	for _, f := range []*filter.Filter{include, exclude} {
		f.OnTimeout = func(rule string, p change.Path) {
			log.Warn("filter expression of a hook takes too long, it is taken for no match", "hook", h.Name, "rule", rule, "path", p.String())
		}
	}
	within := ""
	if h.Plugin != nil {
		within = h.Plugin.Path
	}
	if len(h.Include) == 0 && len(h.Exclude) == 0 && within == "" {
		return nil, nil
	}
	const dirGone = change.WasDir | change.Gone
	return func(p change.Path, what change.Bits) bool {
		kind := filter.File
		if what&change.WasDir != 0 {
			kind = filter.Dir
		}
		at := filepath.Join(s.Path, string(p))
		inside := within == "" || at == within || below(at, within) || what&dirGone == dirGone && below(within, at)
		// In both a rule drops what it matches.
		included := len(h.Include) == 0 || what&dirGone == dirGone || !include.Verdict(p, kind).Keep
		return inside && included && exclude.Verdict(p, kind).Keep
	}, nil
}

// below reports whether one absolute path lies below another.
func below(p, dir string) bool {
	return strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}
