package convert

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"sersync/internal/config"
	"sersync/internal/filter"
)

// document is a configuration as our YAML has it: what differs from the defaults. The default of the pid file
// hangs on the name of the file, so here it is empty.
func document(c *config.Config) (yaml.MapSlice, error) {
	base, err := defaults()
	if err != nil {
		return nil, err
	}
	var doc keys
	doc.add("runs", c.Runs, base.Runs)
	doc.add("pid_file", c.PidFile, "")
	var log keys
	log.add("file", c.Log.File, "")
	log.add("level", c.Log.Level, base.Log.Level)
	doc.nest("log", log)
	var metrics keys
	metrics.add("listen", c.Metrics.Listen, "")
	doc.nest("metrics", metrics)
	var failLog keys
	failLog.add("path", c.FailLog.Path, base.FailLog.Path)
	failLog.add("retry_every", duration(c.FailLog.RetryEvery), duration(base.FailLog.RetryEvery))
	doc.nest("fail_log", failLog)

	targets := make([][]keys, len(c.Sources))
	for i, s := range c.Sources {
		for _, t := range s.Targets {
			targets[i] = append(targets[i], targetKeys(t, base.Sources[0].Targets[0]))
		}
	}
	doc.nest("defaults", share(targets))
	var sources []yaml.MapSlice
	for i, s := range c.Sources {
		k := sourceKeys(s, base.Sources[0])
		var list []yaml.MapSlice
		for j, t := range s.Targets {
			list = append(list, append(yaml.MapSlice{{Key: "url", Value: t.URL()}}, targets[i][j]...))
		}
		if hooks := hookKeys(s.Hooks, base.Sources[0].Hooks[0]); len(hooks) > 0 {
			k = append(k, yaml.MapItem{Key: "hooks", Value: hooks})
		}
		sources = append(sources, append(yaml.MapSlice(k), yaml.MapItem{Key: "targets", Value: list}))
	}
	return append(yaml.MapSlice(doc), yaml.MapItem{Key: "sources", Value: sources}), nil
}

// defaults is the smallest configuration there is.
func defaults() (*config.Config, error) {
	c, _, err := config.Parse("", []byte("sources: [{path: /source, hooks: [{on: all-targets-acked, run: [/program]}], targets: [{url: /target}]}]"))
	if err != nil {
		return nil, fmt.Errorf("read the defaults: %w", err)
	}
	return c, nil
}

// keys are the keys of a mapping, in their order.
type keys yaml.MapSlice

// add puts a key in unless its value is the default.
func (k *keys) add(key string, value, usual any) {
	if value != usual {
		*k = append(*k, yaml.MapItem{Key: key, Value: value})
	}
}

// nest puts a mapping in unless there is nothing in it.
func (k *keys) nest(key string, inner keys) {
	if len(inner) > 0 {
		*k = append(*k, yaml.MapItem{Key: key, Value: yaml.MapSlice(inner)})
	}
}

func sourceKeys(s, base config.Source) keys {
	k := keys{{Key: "path", Value: s.Path}}
	k.add("name", s.Name, s.Path)
	k.add("initial", s.Initial, base.Initial)
	if s.Fill {
		k.add("initial", "fill", "")
	}
	k.add("delete", s.Delete, base.Delete)
	if s.RemovalBudget.Off {
		k.add("removal_budget", "off", "")
	}
	k.rules(s.Rules)
	var events keys
	e := s.Events
	for _, event := range []struct {
		key string
		off bool
	}{
		{"create_file", e.NoCreateFile},
		{"create_folder", e.NoCreateFolder},
		{"close_write", e.NoCloseWrite},
		{"move_from", e.NoMoveFrom},
		{"move_to", e.NoMoveTo},
		{"attrib", e.NoAttrib},
	} {
		events.add(event.key, !event.off, true)
	}
	events.add("modify", e.Modify, false)
	k.nest("events", events)
	var sweep keys
	sweep.add("every", duration(s.Sweep.Every), duration(0))
	if len(s.Sweep.Exclude) > 0 {
		sweep = append(sweep, yaml.MapItem{Key: "exclude", Value: s.Sweep.Exclude})
	}
	k.nest("sweep", sweep)
	return k
}

// rules keep the order of their kinds: it is that of the keys in the file.
func (k *keys) rules(rules []filter.Rule) {
	for _, r := range rules {
		hidden, regex := filter.Hidden(r.Place), filter.Regex(r.Place, r.Pattern)
		switch r {
		case hidden:
			k.add("exclude_hidden", true, false)
		case regex:
			k.append("exclude_regex", r.Pattern)
		default:
			k.append("exclude", r.Pattern)
		}
	}
}

func (k *keys) append(key, pattern string) {
	for i := range *k {
		if (*k)[i].Key == key {
			(*k)[i].Value = append((*k)[i].Value.([]string), pattern)
			return
		}
	}
	*k = append(*k, yaml.MapItem{Key: key, Value: []string{pattern}})
}

// params are the options of rsync of a target that has one.
func (k *keys) params(params []string) {
	if len(params) > 0 && params[0] == "-a" {
		params = params[1:]
	} else {
		k.add("archive", false, true)
	}
	k.add("rsync_options", line(params), "")
}

func targetKeys(t, base config.Target) keys {
	var k keys
	k.add("password_file", t.PasswordFile, "")
	if t.Kind == config.Native || t.Kind == config.NativeSSH {
		k.add("xattrs", t.Xattrs, false)
	} else {
		k.params(t.Params)
	}
	k.add("timeout", duration(t.Timeout), duration(base.Timeout))
	k.add("connect_timeout", duration(t.ConnectTimeout), duration(base.ConnectTimeout))
	if t.Bandwidth > 0 {
		k.add("bandwidth", rate(t.Bandwidth), "")
	}
	options := t.SSHOptions
	if filepath.IsAbs(t.SSHKey) {
		k.add("ssh_key", t.SSHKey, "")
	} else if t.SSHKey != "" {
		// A relative ssh_key would become absolute. It is for ssh to know what ~ is.
		options = append([]string{"-i", t.SSHKey}, options...)
	}
	k.add("ssh_options", line(options), "")
	return k
}

// share takes out of several targets what all of them have.
func share(targets [][]keys) keys {
	var all []*keys
	for i := range targets {
		for j := range targets[i] {
			all = append(all, &targets[i][j])
		}
	}
	if len(all) < 2 {
		return nil
	}
	var common keys
	for _, item := range *all[0] {
		if everywhere(all, item) {
			common = append(common, item)
		}
	}
	for _, k := range all {
		var own keys
		for _, item := range *k {
			if !everywhere([]*keys{&common}, item) {
				own = append(own, item)
			}
		}
		*k = own
	}
	return common
}

func everywhere(all []*keys, item yaml.MapItem) bool {
	for _, k := range all {
		found := false
		for _, other := range *k {
			found = found || other == item
		}
		if !found {
			return false
		}
	}
	return true
}

// line makes one line of words, as a shell would write it.
func line(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.Trim(w, plain) != "" {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// plain characters need no quotes.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,@%+~"

// duration is written as a person would: "1h" for 1h0m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func rate(n int64) string {
	if n%1024 == 0 {
		return strconv.FormatInt(n/1024, 10) + "KiB/s"
	}
	return strconv.FormatInt(n, 10) + "B/s"
}
