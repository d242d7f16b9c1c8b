package convert

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	lua "github.com/yuin/gopher-lua"

	"sersync/internal/config"
)

// lsyncd makes our configuration of what a script asked for.
type lsyncd struct {
	*script
	dir    string
	config *config.Config
	notes  []config.Problem
}

// fromLsyncd carries over an lsyncd.conf.lua.
func fromLsyncd(file string, data []byte, dir string) (Result, error) {
	s, err := runLua(file, data)
	if err != nil {
		return Result{}, err
	}
	base, err := defaults()
	if err != nil {
		return Result{}, err
	}
	base.Sources, base.PidFile = nil, ""
	l := &lsyncd{script: s, dir: dir, config: base}
	modify := l.takeSettings()
	for _, c := range s.syncs {
		l.takeSync(c, modify)
	}
	l.notes = once(l.notes)
	slices.SortStableFunc(l.notes, func(a, b config.Problem) int { return a.Place.Line - b.Place.Line })
	if len(l.config.Sources) == 0 {
		return Result{Notes: l.notes}, fmt.Errorf("convert %q: there is no sync that could be carried over", file)
	}
	text, err := write(file, l.config, l.notes)
	return Result{YAML: text, Notes: l.notes}, err
}

// once leaves out what a loop of the script said again.
func once(notes []config.Problem) []config.Problem {
	seen := make(map[config.Problem]bool)
	return slices.DeleteFunc(notes, func(n config.Problem) bool {
		again := seen[n]
		seen[n] = true
		return again
	})
}

// lost notes that a key is not carried over; changed that it means something else.
func (l *lsyncd) lost(line int, key string, value lua.LValue, why string) {
	l.note(config.Warning, line, "not carried over: "+key+" =", value, why)
}

func (l *lsyncd) changed(line int, key string, value lua.LValue, now string) {
	l.note(config.Warning, line, "means something else now: "+key+" =", value, now)
}

func (l *lsyncd) needless(line int, key string, value lua.LValue, why string) {
	l.note(config.Notice, line, "not needed: "+key+" =", value, why)
}

func (l *lsyncd) note(severity config.Severity, line int, what string, value lua.LValue, remedy string) {
	text := ""
	switch v := value.(type) {
	case *lua.LNilType:
	case *lua.LTable, *lua.LFunction:
		text = v.Type().String()
	case lua.LValue:
		text = v.String()
	}
	if text == "" {
		what = strings.TrimSuffix(what, " =")
	}
	l.notes = append(l.notes, config.Problem{
		Severity: severity, Place: config.Place{File: l.file, Line: line}, What: what, Value: text, Remedy: remedy,
	})
}

// settingsOf are keys of settings{} that have no place here, and why.
var settingsOf = map[string]string{
	"nodaemon":        "sersync stays in the foreground without -d",
	"statusFile":      "`sersync status` shows it",
	"statusInterval":  "`sersync status` shows it at once",
	"statusIntervall": "`sersync status` shows it at once",
	"insist":          "a target that is away is always tried again",
	"logident":        "the log goes to standard error or to log: file",
	"logfacility":     "the log goes to standard error or to log: file",
	"maxDelays":       "what waits is bounded by itself",
}

// takeSettings reads settings, and says whether a file is to be sent at each write.
func (l *lsyncd) takeSettings() (modify bool) {
	all := l.settings
	if other, ok := l.state.GetGlobal("settings").(*lua.LTable); ok && other != all {
		all = other // settings = {...}, as before lsyncd 2.1
	}
	for _, key := range sortedKeys(all) {
		v, line := all.RawGetString(key), l.setting[key]
		why, needless := settingsOf[key]
		switch {
		case needless:
			l.needless(line, key, v, why)
		case key == "logfile":
			l.config.Log.File = l.path(v.String())
		case key == "pidfile":
			l.config.PidFile = l.path(v.String())
			l.changed(line, key, v, "it is written with -d only")
		case key == "maxProcesses":
			n, ok := v.(lua.LNumber)
			if !ok || n < 1 || n > 1000 {
				l.lost(line, key, v, "it is no number from 1 to 1000")
				continue
			}
			l.config.Runs = int(n)
		case key == "inotifyMode":
			modify = strings.Contains(v.String(), "Modify")
			if modify {
				l.changed(line, key, v, "events: modify sends at each write, and after the close as well")
			}
		default:
			l.lost(line, key, v, "sersync knows no such setting")
		}
	}
	return modify
}

func (l *lsyncd) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(l.dir, name)
}

func sortedKeys(t *lua.LTable) []string {
	var names []string
	t.ForEach(func(k, _ lua.LValue) {
		if s, ok := k.(lua.LString); ok {
			names = append(names, string(s))
		}
	})
	slices.Sort(names)
	return names
}

// flat is a table with what it inherits: the tables that stand in it without a key.
func (l *lsyncd) flat(t *lua.LTable, depth int) (all map[string]lua.LValue, kind string) {
	all = make(map[string]lua.LValue)
	if kind, ok := l.kinds[t]; ok || depth > 16 {
		return all, kind
	}
	for i := 1; i <= t.Len(); i++ {
		parent, ok := t.RawGetInt(i).(*lua.LTable)
		if !ok {
			continue
		}
		inherited, k := l.flat(parent, depth+1)
		if k != "" {
			kind = k
		}
		for key, v := range inherited {
			all[key] = v
		}
	}
	for _, key := range sortedKeys(t) {
		all[key] = t.RawGetString(key)
	}
	return all, kind
}

// takeSync reads one sync{...}.
func (l *lsyncd) takeSync(c call, modify bool) {
	all, kind := l.flat(c.table, 0)
	y := &syncReader{lsyncd: l, call: c, all: all, kind: kind}
	if kind == "" {
		l.lost(c.line, "sync", lua.LNil, "it does something of its own, which sersync cannot: only default.rsync, default.rsyncssh and default.direct can be carried over")
		for _, key := range y.keys() {
			// Its value may be anything, a password too.
			l.lost(y.line(key), key, lua.LNil, "it belongs to that sync")
		}
		return
	}
	if s, ok := y.read(modify); ok {
		l.addSource(c.line, s)
	}
}

// addSource puts targets of the same source together: it is watched once.
func (l *lsyncd) addSource(line int, s config.Source) {
	for i := range l.config.Sources {
		old := &l.config.Sources[i]
		switch {
		case old.Path != s.Path:
		case old.Identity() == s.Identity():
			old.Targets = append(old.Targets, s.Targets...)
			return
		default:
			l.lost(line, "sync", lua.LString(s.Path), "there is a sync of that source already, with another delete, init or exclude; write the target into a second configuration")
			return
		}
	}
	l.config.Sources = append(l.config.Sources, s)
}

// readSource reads one source with its target, as it would stand in the YAML.
func readSource(source, target keys) (config.Source, error) {
	list := []yaml.MapSlice{yaml.MapSlice(target)}
	doc := yaml.MapSlice{{Key: "sources", Value: []yaml.MapSlice{append(slices.Clone(yaml.MapSlice(source)), yaml.MapItem{Key: "targets", Value: list})}}}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return config.Source{}, err
	}
	c, problems, err := config.Parse("converted.yaml", text)
	var invalid *config.InvalidError
	if errors.As(err, &invalid) {
		for _, p := range problems {
			if p.Severity == config.Error {
				p.Place = config.Place{}
				return config.Source{}, errors.New(p.String())
			}
		}
	}
	if err != nil {
		return config.Source{}, err
	}
	return c.Sources[0], nil
}
