package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// hook is the hook of the source, or of one of its targets, that has this name.
func (r *running) hook(name string) (config.Hook, bool) {
	for _, h := range r.hooks() {
		if h.Name == name {
			return h, true
		}
	}
	return config.Hook{}, false
}

// hooks are those of the source and of its targets.
func (r *running) hooks() []config.Hook {
	all := slices.Clone(r.config.Hooks)
	for _, t := range r.config.Targets {
		all = append(all, t.Hooks...)
	}
	return all
}

// hooked are the sources that a request names and that have the hook that it names.
func (a api) hooked(req httpd.HookRequest) ([]*running, error) {
	var sources, hooks []string
	var found []*running
	for _, r := range a.d.running() {
		sources = append(sources, r.config.Name)
		if req.Source != "" && req.Source != r.config.Name {
			continue
		}
		for _, h := range r.hooks() {
			hooks = append(hooks, h.Name)
		}
		if _, ok := r.hook(req.Hook); ok || req.Hook == "" {
			found = append(found, r)
		}
	}
	switch {
	case req.Source != "" && !slices.Contains(sources, req.Source):
		return nil, httpd.UnknownName("source", req.Source, sources)
	case len(found) == 0:
		slices.Sort(hooks)
		return nil, httpd.UnknownName("hook", req.Hook, slices.Compact(hooks))
	}
	return found, nil
}

func (a api) TestHook(ctx context.Context, req httpd.HookRequest) (string, error) {
	found, err := a.hooked(req)
	if err != nil {
		return "", err
	}
	if len(found) > 1 {
		var names []string
		for _, r := range found {
			names = append(names, r.config.Name)
		}
		return "", &httpd.Error{
			Kind: httpd.BadRequest, Text: fmt.Sprintf("more than one source has a hook %q", req.Hook),
			Advice: fmt.Sprintf("name one with --source: %q", names),
		}
	}
	r := found[0]
	h, _ := r.hook(req.Hook)
	if err := r.source.TestHook(ctx, req.Hook, change.Path(req.Path)); err != nil {
		return "", &httpd.Error{Kind: httpd.Failed, Text: fmt.Sprintf("hook %q is not told: %v", req.Hook, err), Advice: remedy(h, err)}
	}
	return r.config.Name, nil
}

// remedy is what a person can do about a hook that is not told.
func remedy(h config.Hook, err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("make it answer sooner, or give it more time than its timeout of %v", h.Timeout)
	case h.Purge != nil, h.Plugin != nil && h.Plugin.Name == "refreshCDN":
		return "see whether the address answers, and try it with a path that has a URL: --path PATH"
	case h.Run != nil, h.Plugin != nil && h.Plugin.Name == "command":
		return "mend the program: exit code 0 says that it was told, and the last line it writes on its standard error is shown here"
	}
	return "see whether the address answers, and what the other side logs"
}

func (a api) RetryHooks(req httpd.HookRequest) ([]httpd.HookPaths, error) {
	return a.eachHooked(req, (*replicate.Source).RetryHooks)
}

func (a api) ForgetHooks(req httpd.HookRequest) ([]httpd.HookPaths, error) {
	return a.eachHooked(req, (*replicate.Source).ForgetHooks)
}

// eachHooked does something with what hooks of each source could not be told.
func (a api) eachHooked(req httpd.HookRequest, do func(*replicate.Source, string) (int, error)) ([]httpd.HookPaths, error) {
	found, err := a.hooked(req)
	if err != nil {
		return nil, err
	}
	all := []httpd.HookPaths{}
	for _, r := range found {
		count, err := do(r.source, req.Hook)
		if err != nil {
			return nil, err
		}
		if count > 0 {
			all = append(all, httpd.HookPaths{Source: r.config.Name, Count: count})
		}
	}
	return all, nil
}
