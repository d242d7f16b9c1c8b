package config

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sersync/internal/filter"
	"sersync/internal/hook"
)

// longest is more than anybody waits.
const longest = 366 * 24 * time.Hour

// hooks reads a list of hooks, of a source or of one of its targets.
func (y *yamlReader) hooks(into *[]Hook, ofTarget bool) func(*ynode) {
	return func(n *ynode) {
		y.items(n, "hooks", func(n *ynode) { *into = append(*into, y.hook(n, ofTarget)) })
	}
}

func (y *yamlReader) hook(n *ynode, ofTarget bool) Hook {
	h := newHook(y.at(n.line))
	on := ""
	y.keys(n, "a hook", y.hookFields(&h, &on))
	if h.On = hook.Kind(on); n.kind != yMap {
		return h
	}
	if h.On == hook.AllTargetsAcked && h.MaxWait == 0 {
		h.MaxWait = defaultHookMaxWait
	}
	y.hookAction(n)
	if on == "" {
		if n.get("on") == nil {
			y.fail(n.line, "a hook has no on", "", "write on: and one of "+strings.Join(kindNames(), ", "))
		}
		return h
	}
	if ofTarget && (h.On == hook.AllTargetsAcked || h.On == hook.DeletesHeld) {
		y.fail(n.get("on").line, "this kind of hook is none of a single target:", on, "move it into hooks of the source")
	}
	y.hookKind(n, h)
	return h
}

// hookAction refuses a hook that does nothing or more than one thing.
func (y *yamlReader) hookAction(n *ynode) {
	var found []string
	for _, action := range []string{"run", "post", "purge", "plugin"} {
		if n.get(action) != nil {
			found = append(found, action)
		}
	}
	switch {
	case len(found) == 0:
		y.fail(n.line, "a hook has nothing to do", "", "write one of run, post, purge, plugin")
	case len(found) > 1:
		y.fail(n.line, "a hook has more than one thing to do:", strings.Join(found, ", "), "make a hook of each")
	}
}

// hookKind refuses what has no meaning for the kind of a hook.
func (y *yamlReader) hookKind(n *ynode, h Hook) {
	refuse := func(what string, keys ...string) {
		for _, key := range keys {
			if v := n.get(key); v != nil {
				y.fail(v.line, key+" means nothing for the kind:", string(h.On), "remove it: it is for "+what)
			}
		}
	}
	if !h.On.OfPaths() {
		refuse("acked, all-targets-acked and failed", "include", "exclude", "batch", "urls", "purge", "plugin")
	}
	if h.On != hook.AllTargetsAcked {
		refuse("all-targets-acked", "max_wait")
	}
	if !slices.Contains([]hook.Kind{hook.Behind, hook.TargetDown, hook.TargetUp, hook.DeletesHeld}, h.On) {
		refuse("behind, target-down, target-up and deletes-held", "after")
	}
	if h.On == hook.Behind && h.After == 0 {
		y.fail(n.line, "a hook of behind has no after", "", "write after: 10m, the age of the oldest change that is too much")
	}
	if h.Purge != nil && len(h.URLs) == 0 && h.On.OfPaths() {
		y.fail(n.line, "purge needs the URLs of the paths", "", `write urls: [{url: "https://HOST/$path"}]`)
	}
}

func kindNames() []string {
	var names []string
	for _, k := range hook.Kinds() {
		names = append(names, string(k))
	}
	return names
}

func (y *yamlReader) hookFields(h *Hook, on *string) []field {
	return []field{
		{"name", y.checked(func(s string) error { h.Name = s; return checkHookName(s) })},
		{"on", y.kind(on)},
		{"run", y.hookRun(h)},
		{"post", y.hookPost(h)},
		{"purge", y.hookPurge(h)},
		{"plugin", y.hookPlugin(h)},
		{"include", y.globs(&h.Include)},
		{"exclude", y.globs(&h.Exclude)},
		{"urls", y.hookURLs(h)},
		{"batch", func(n *ynode) { y.keys(n, "batch", y.batchFields(&h.Batch)) }},
		{"timeout", y.duration(&h.Timeout, time.Second, time.Hour)},
		{"dead_after", y.int(&h.DeadAfter, 1, 1000)},
		{"concurrency", y.int(&h.Concurrency, 1, 64)},
		{"max_wait", y.duration(&h.MaxWait, time.Second, longest)},
		{"after", y.duration(&h.After, 0, longest)},
	}
}

func (y *yamlReader) kind(on *string) func(*ynode) {
	return func(n *ynode) {
		switch {
		case !y.is(n, yScalar, y.key):
		case slices.Contains(kindNames(), n.text):
			*on = n.text
		default:
			y.fail(n.line, "unknown value of on", n.text, DidYouMean(n.text, kindNames()))
		}
	}
}

func (y *yamlReader) batchFields(b *HookBatch) []field {
	return []field{
		{"paths", y.int(&b.Paths, 1, 10_000)},
		{"wait", y.duration(&b.Wait, 0, time.Hour)},
	}
}

func (y *yamlReader) globs(into *[]filter.Rule) func(*ynode) {
	return y.patterns(filter.CheckGlob, func(n *ynode) {
		*into = append(*into, filter.Glob(y.at(n.line).String(), n.text))
	})
}

func (y *yamlReader) hookRun(h *Hook) func(*ynode) {
	return func(n *ynode) {
		h.Run = new(HookRun)
		y.items(n, "run", func(n *ynode) {
			if y.is(n, yScalar, "a word of run") {
				h.Run.Argv = append(h.Run.Argv, n.text)
			}
		})
		if n.kind != yList {
			return
		}
		if err := checkArgv(h.Run.Argv); err != nil {
			y.fail(n.line, "run cannot be used:", strings.Join(h.Run.Argv, " "), err.Error())
			h.Run.Argv = nil
		}
	}
}

// hookPost is a URL, or keys. What is wrong is said without the URL, which may be a secret.
func (y *yamlReader) hookPost(h *Hook) func(*ynode) {
	return func(n *ynode) {
		p := &HookPost{ContentType: defaultContentType}
		h.Post = p
		if n.kind == yScalar {
			p.URL = n.text
		} else if y.keys(n, "post", y.postFields(p)); n.kind != yMap {
			return
		}
		switch {
		case p.URL != "" && p.URLFile != "":
			y.fail(n.line, "post has both url and url_file", "", "remove one of them")
		case p.URL != "":
			if err := checkWebURL(p.URL); err != nil {
				y.fail(n.line, "URL of post cannot be used", "", err.Error())
			}
		case p.URLFile == "" && n.get("url_file") == nil:
			y.fail(n.line, "post has no URL", "", "write url: https://HOST/PATH, or url_file: and a file that holds it alone")
		}
	}
}

func (y *yamlReader) postFields(p *HookPost) []field {
	return []field{
		{"url", y.text(&p.URL)},
		{"url_file", y.absolutePath(&p.URLFile)},
		{"headers_file", y.absolutePath(&p.HeadersFile)},
		{"hmac_file", y.absolutePath(&p.HMACFile)},
		{"body", y.checked(func(s string) error { p.Body = s; return checkBody(s) })},
		{"content_type", y.checked(func(s string) error { p.ContentType = s; return checkContentType(s) })},
		{"expect", y.checked(func(s string) error { p.Expect = s; return checkExpect(s) })},
	}
}

func (y *yamlReader) hookPurge(h *Hook) func(*ynode) {
	return func(n *ynode) {
		h.Purge = &HookPurge{Method: defaultPurge}
		y.keys(n, "purge", y.purgeFields(h.Purge))
	}
}

func (y *yamlReader) purgeFields(p *HookPurge) []field {
	return []field{
		{"via", y.checked(func(s string) error { p.Via = s; return checkVia(s) })},
		{"method", y.checked(func(s string) error { p.Method = s; return checkMethod(s) })},
	}
}

func (y *yamlReader) hookURLs(h *Hook) func(*ynode) {
	return func(n *ynode) {
		y.items(n, "urls", func(n *ynode) {
			var u HookURL
			if y.keys(n, "an entry of urls", y.urlFields(&u)); n.kind != yMap {
				return
			}
			if what, value, err := checkHookURL(u); err != nil {
				y.fail(n.line, what, value, err.Error())
			}
			h.URLs = append(h.URLs, u)
		})
	}
}

func (y *yamlReader) urlFields(u *HookURL) []field {
	return []field{
		{"match", y.text(&u.Match)},
		{"url", y.text(&u.URL)},
	}
}

// absolutePath is a file that must mean the same wherever sersync is started.
func (y *yamlReader) absolutePath(into *string) func(*ynode) {
	return y.checked(func(s string) error {
		err := checkAbsolute(s)
		if err == nil {
			*into = filepath.Clean(s)
		}
		return err
	})
}
