package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"sersync/internal/filter"
	"sersync/internal/hook"
)

// Hook is told of what happened, after the ack. Exactly one of Run, Post, Purge and Plugin is set.
type Hook struct {
	Place Place
	// Name is unique within a source and its targets: what is still to be told is kept under it. Default: KIND-N.
	Name string
	On   hook.Kind

	Run    *HookRun
	Post   *HookPost
	Purge  *HookPurge
	Plugin *Plugin

	// Include and Exclude are globs: it is told of what one of Include matches (of everything when there is none) and none of
	// Exclude does. As a filter.Filter each of the two drops what it matches. Of kinds with paths only, as URLs and Batch.
	Include, Exclude []filter.Rule
	// URLs say under which URLs a path is known, all that match. A path that has none is not told, unless there are no rules at all.
	URLs  []HookURL
	Batch HookBatch
	// Timeout bounds one try. Default 30 s.
	Timeout time.Duration
	// DeadAfter is how many times a path is told in vain before it is a dead letter of the hook. Default 12.
	DeadAfter int
	// Concurrency is how many events are told at one time. Default 1.
	Concurrency int
	// MaxWait is how long a path waits for the last target. Of AllTargetsAcked only. Default 10 min, 0 of other kinds.
	MaxWait time.Duration
	// After is how long a state must last: of Behind, where it is never 0, and of TargetDown, TargetUp (how long it was
	// down) and DeletesHeld, where 0 is the default.
	After time.Duration
}

// HookRun starts a program, without a shell.
type HookRun struct {
	// Argv is the program, absolute, and its arguments.
	Argv []string
}

// HookPost posts an event to a URL. The files hold secrets and are read by who builds the hook.
type HookPost struct {
	// URL or URLFile, a file that holds the URL alone.
	URL, URLFile string
	// HeadersFile has lines "Name: value"; empty for none.
	HeadersFile string
	// HMACFile holds the key of the signature; empty for none.
	HMACFile string
	// Body is a text/template; empty for the event as JSON.
	Body string
	// ContentType is that of the body. Default: application/json.
	ContentType string
	// Expect is an expression of RE2 that the body of the answer must match; empty for any.
	Expect string
}

// HookPurge sends one request for each URL of a path.
type HookPurge struct {
	// Via is where to connect to, as http://HOST:PORT; empty for where the URL leads.
	Via string
	// Method is that of the request. Default: PURGE.
	Method string
}

// HookURL gives the paths that Match finds, a regular expression of RE2, the URL, in which $1 and so on are its groups and
// $path is the path. An empty Match is everything.
type HookURL struct{ Match, URL string }

// HookBatch is how many paths make one event at the most, and for how long they are gathered. Default: 1000 and 1 s.
type HookBatch struct {
	Paths int
	Wait  time.Duration
}

const (
	defaultHookPaths   = 1000
	defaultHookWait    = time.Second
	defaultHookTimeout = 30 * time.Second
	defaultHookMaxWait = 10 * time.Minute
	defaultContentType = "application/json"
	defaultPurge       = "PURGE"
	// A plugin of 2.5.4 was told of each path by itself, and at once.
	pluginPaths = 1
)

func newHook(place Place) Hook {
	return Hook{
		Place: place, Batch: HookBatch{defaultHookPaths, defaultHookWait},
		Timeout: defaultHookTimeout, DeadAfter: defaultDeadAfter, Concurrency: 1,
	}
}

// newPluginHook is the hook that a plugin of a confxml.xml is.
func newPluginHook(p Plugin) Hook {
	h := newHook(p.Place)
	h.Name, h.On, h.Plugin, h.MaxWait = p.Name, hook.AllTargetsAcked, &p, defaultHookMaxWait
	h.Batch = HookBatch{Paths: pluginPaths}
	return h
}

// Identity changes when anything of the hook changes but the lines it stands in.
func (h Hook) Identity() string {
	h.Place, h.Include, h.Exclude = Place{}, unplaced(h.Include), unplaced(h.Exclude)
	actions := fmt.Sprintf("%#v %#v %#v", h.Run, h.Post, h.Purge)
	if h.Plugin != nil {
		p := *h.Plugin
		p.Place, p.Start = Place{}, false
		actions += fmt.Sprintf(" %#v", p)
	}
	h.Run, h.Post, h.Purge, h.Plugin = nil, nil, nil, nil
	return fmt.Sprintf("%#v %s", h, actions)
}

// unplaced are rules without the lines they stand in.
func unplaced(rules []filter.Rule) []filter.Rule {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Place = ""
	}
	return rules
}

// hooks are the hooks of the source and of its targets.
func (s *Source) hooks() []*Hook {
	var all []*Hook
	for i := range s.Hooks {
		all = append(all, &s.Hooks[i])
	}
	for i := range s.Targets {
		for j := range s.Targets[i].Hooks {
			all = append(all, &s.Targets[i].Hooks[j])
		}
	}
	return all
}

// nameHooks gives a name to each hook that has none: its kind, and its number among those of that kind.
func (s *Source) nameHooks() {
	taken, count := make(map[string]bool), make(map[hook.Kind]int)
	for _, h := range s.hooks() {
		taken[h.Name] = true
	}
	for _, h := range s.hooks() {
		count[h.On]++
		for n := count[h.On]; h.Name == ""; n++ {
			if name := string(h.On) + "-" + strconv.Itoa(n); !taken[name] {
				h.Name, taken[name] = name, true
			}
		}
	}
}
