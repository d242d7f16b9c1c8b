package convert

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	lua "github.com/yuin/gopher-lua"

	"sersync/internal/config"
)

// syncReader makes a source with one target of one sync{...}. Each key is tried: what the result would not be valid
// with is said and left out.
type syncReader struct {
	*lsyncd
	call call
	all  map[string]lua.LValue
	kind string

	source, target keys
	// options are words for rsync.
	options []string
}

func (y *syncReader) keys() []string {
	var names []string
	for key := range y.all {
		names = append(names, key)
	}
	slices.Sort(names)
	return names
}

// line is where a key stands: in the call, or somewhere that only the call leads to.
func (y *syncReader) line(key string) int {
	if line, ok := y.lines[y.call.line][key]; ok {
		return line
	}
	return y.call.line
}

// syncOf are keys of sync{...} that have no place here, and why.
var syncOf = map[string]string{
	"maxDelays":    "what waits is bounded by itself",
	"maxProcesses": "each target has a sender of its own; runs bounds all of them",
	"name":         "a source is named by its path",
	"subdirs":      "everything below the source is watched",
	"xargs":        "no other program is started",
	"exitcodes":    "what rsync returns is understood path by path",
}

func (y *syncReader) read(modify bool) (config.Source, bool) {
	if !y.where() {
		return config.Source{}, false
	}
	if modify {
		y.source = append(y.source, yaml.MapItem{Key: "events", Value: yaml.MapSlice{{Key: "modify", Value: true}}})
	}
	y.archive()
	for _, key := range y.keys() {
		y.key(key, y.all[key])
	}
	if init, ok := y.all["init"]; !ok || init != lua.LFalse {
		y.source = append(y.source, yaml.MapItem{Key: "initial", Value: true})
	}
	s, err := y.result()
	if err != nil {
		y.lost(y.call.line, "sync", lua.LNil, err.Error())
	}
	return s, err == nil
}

func (y *syncReader) result() (config.Source, error) {
	target := slices.Clone(y.target)
	if len(y.options) > 0 {
		target = append(target, yaml.MapItem{Key: "rsync_options", Value: line(y.options)})
	}
	return readSource(y.source, target)
}

// text is a key whose value is a text or number; empty when it is missing.
func (y *syncReader) text(key string) string {
	switch v := y.all[key].(type) {
	case lua.LString, lua.LNumber:
		return v.String()
	}
	return ""
}

// where reads source and target.
func (y *syncReader) where() bool {
	url := y.text("target")
	if host := y.text("host"); host != "" && y.text("targetdir") != "" && url == "" {
		url = host + ":" + y.text("targetdir")
		if y.kind == "default.rsync" {
			y.changed(y.line("host"), "host", y.all["host"], "target is taken to be "+url)
		}
	} else if url == "" && y.kind == "default.direct" {
		url = y.text("targetdir")
	}
	if url != "" && !strings.Contains(strings.SplitN(url, "/", 2)[0], ":") && !strings.HasPrefix(url, "/") {
		y.changed(y.line("target"), "target", lua.LString(url), "a relative path starts where lsyncd was started; written as "+y.path(url))
		url = y.path(url)
	}
	source := y.text("source")
	if source != "" && !strings.HasPrefix(source, "/") {
		y.changed(y.line("source"), "source", lua.LString(source), "a relative path starts where lsyncd was started; written as "+y.path(source))
		source = y.path(source)
	}
	y.source, y.target = keys{{Key: "path", Value: source}}, keys{{Key: "url", Value: url}}
	if _, err := y.result(); err != nil {
		y.lost(y.call.line, "sync", lua.LString(source), err.Error())
		return false
	}
	return true
}

func (y *syncReader) key(key string, v lua.LValue) {
	at := y.line(key)
	if why, ok := syncOf[key]; ok {
		y.needless(at, key, v, why)
		return
	}
	switch key {
	case "source", "target", "targetdir", "host":
	case "init":
		if v == lua.LFalse {
			y.changed(at, key, v, "what changed while sersync was down is not sent")
		} else if v != lua.LTrue {
			y.lost(at, key, v, "every target is compared at the start")
		}
	case "delay":
		y.changed(at, key, v, "there is no fixed delay: a change leaves at once, and what gathers meanwhile is the next batch; quiet: waits until nothing changes")
	case "delete":
		y.delete(at, v)
	case "exclude":
		y.exclude(at, key, listOf(v))
	case "excludeFrom":
		y.excludeFrom(at, v)
	case "rsync":
		y.rsync(v)
	case "ssh":
		y.ssh(v)
	default:
		// The value may be anything, a password too.
		y.lost(at, key, lua.LNil, "sersync has nothing like it")
	}
}

func (y *syncReader) delete(at int, v lua.LValue) {
	switch v.String() {
	case "true":
		return
	case "startup":
		y.changed(at, "delete", v, "written as delete: false, as lsyncd removes nothing while it runs; delete: true removes at the start and later")
	case "running":
		y.changed(at, "delete", v, "written as delete: false, as lsyncd removes nothing at the start; delete: true removes at the start and later")
	case "false":
	default:
		y.changed(at, "delete", v, "it is no value of delete; written as delete: false")
	}
	y.source = append(y.source, yaml.MapItem{Key: "delete", Value: false})
}

// listOf are the texts of a list, or the one text.
func listOf(v lua.LValue) []string {
	t, ok := v.(*lua.LTable)
	if !ok {
		return []string{v.String()}
	}
	var list []string
	for i := 1; i <= t.Len(); i++ {
		list = append(list, t.RawGetInt(i).String())
	}
	return list
}

// exclude makes globs of ours of patterns of rsync.
func (y *syncReader) exclude(at int, key string, patterns []string) {
	for _, pattern := range patterns {
		glob, err := config.GlobOfRsync(pattern)
		before := slices.Clone(y.source)
		if err == nil {
			y.source = slices.Clone(y.source)
			y.source.append("exclude", glob)
			_, err = y.result()
		}
		if err != nil {
			y.source = before
			y.lost(at, key, lua.LString(pattern), err.Error())
		}
	}
}

// excludeMax bounds a file of patterns, in bytes.
const excludeMax = 1 << 20

// excludeFrom copies the patterns of a file, as lsyncd reads it.
func (y *syncReader) excludeFrom(at int, v lua.LValue) {
	patterns, err := readPatterns(y.path(v.String()))
	if err != nil {
		y.lost(at, "excludeFrom", v, err.Error())
		return
	}
	y.changed(at, "excludeFrom", v, "its patterns are copied into exclude; the file is not read any more")
	y.exclude(at, "excludeFrom", patterns)
}

func readPatterns(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", strconv.Quote(name))
	}
	var patterns []string
	lines := bufio.NewScanner(io.LimitReader(f, excludeMax))
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.ContainsAny(text[:1], "#;+") {
			continue
		}
		patterns = append(patterns, strings.TrimSpace(strings.TrimPrefix(text, "-")))
	}
	return patterns, lines.Err()
}
