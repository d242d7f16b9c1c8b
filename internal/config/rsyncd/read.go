// Package rsyncd reads rsyncd.conf(5) for the receiver, so that who replaces `rsync --daemon` changes no file. Each
// problem is told with its line; what rsync knows and the receiver does not is named.
package rsyncd

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sersync/internal/config"
)

const (
	// maxFile is more than any configuration or list of secrets has, in bytes.
	maxFile = 16 << 20
	// maxDepth is how deep files may include each other.
	maxDepth = 16
)

// entry is one `name = value`.
type entry struct {
	value string
	place config.Place
}

// entries are settings by the names of rsyncd.conf(5). Maps of modules begin as a copy of the defaults.
type entries map[string]entry

// section is a module as it was read.
type section struct {
	name     string
	place    config.Place
	settings entries
}

// reader gathers what the files say.
type reader struct {
	// read reads a file that another one includes.
	read     func(name string) ([]byte, error)
	problems []config.Problem
	// told are the problems by their text: a default is looked at for each module.
	told    map[string]bool
	globals entries
	modules []*section
	// defaults are those at this place; current is the module that we are in, nil for the global section.
	defaults entries
	current  *section
	// groupsOfUsers are read when a rule needs them.
	groupsOfUsers *userGroups
	// single says that the command line names the one directory. Who starts a receiver so sees what is wrong with it, and nothing else waits.
	single bool
}

func newReader(read func(string) ([]byte, error)) *reader {
	return &reader{read: read, told: make(map[string]bool), globals: make(entries), defaults: make(entries)}
}

func (r *reader) add(severity config.Severity, place config.Place, what, value, remedy string) {
	p := config.Problem{Severity: severity, Place: place, What: what, Value: value, Remedy: remedy}
	if text := p.String(); !r.told[text] {
		r.told[text] = true
		r.problems = append(r.problems, p)
	}
}

func (r *reader) fail(place config.Place, what, value, remedy string) {
	if strings.Contains(value, " #") {
		remedy += "; a # after a value begins no comment"
	}
	r.add(config.Error, place, what, value, remedy)
}

// file reads the lines of one file.
func (r *reader) file(name string, data []byte, depth int) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	lines := strings.Split(string(data), "\n")
	for i := 0; i < len(lines); i++ {
		place := config.Place{File: name, Line: i + 1}
		line := strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimRight(lines[i], " \t\r")
		}
		r.line(place, strings.TrimSpace(line), depth)
	}
}

func (r *reader) line(place config.Place, line string, depth int) {
	switch {
	case line[0] == '&':
		r.directive(place, line, depth)
	case line[0] == '[':
		r.section(place, line)
	default:
		name, value, found := strings.Cut(line, "=")
		if o, known := options[plain(name)]; !found && known {
			r.add(config.Warning, place, "an option without a value, which counts for nothing:", o.name, "write "+o.name+" = VALUE, or remove it")
			return
		}
		if !found {
			r.fail(place, "a line that is neither a module nor name = value:", line, "write name = value, or a # in front of it")
			return
		}
		r.set(place, strings.TrimSpace(name), strings.TrimSpace(value))
	}
}

// section begins a module, or goes on with one.
func (r *reader) section(place config.Place, line string) {
	name, rest, closed := strings.Cut(line[1:], "]")
	name = strings.Join(strings.Fields(name), " ")
	switch {
	case !closed:
		r.fail(place, "a module without its closing bracket:", line, "write ["+name+"]")
	case strings.TrimSpace(rest) != "" && strings.TrimSpace(rest)[0] != '#':
		r.fail(place, "something stands behind the name of a module:", rest, "begin a new line for it")
	}
	if strings.EqualFold(name, "global") {
		r.current = nil
		return
	}
	switch {
	case name == "":
		r.fail(place, "a module without a name", "", "write [NAME]")
	case strings.Contains(name, "/"):
		r.fail(place, "a name of a module with a slash:", name, "take another name")
	case name != strings.ToValidUTF8(name, "?"):
		r.fail(place, "a name of a module that is not UTF-8:", name, "write the file in UTF-8")
	}
	for _, m := range r.modules {
		if m.name == name {
			r.add(config.Warning, place, "a module for the second time:", name, "it goes on with the one at "+m.place.String())
			r.current = m
			return
		}
	}
	r.current = &section{name: name, place: place, settings: maps.Clone(r.defaults)}
	r.modules = append(r.modules, r.current)
}

// set notes a setting, or names it.
func (r *reader) set(place config.Place, written, value string) {
	name := plain(written)
	option, known := options[name]
	switch {
	case !known:
		r.fail(place, "there is no option", written, config.DidYouMean(written, names()))
	case option.ignored != "" && option.saysNothing(value):
	case option.ignored != "":
		severity := config.Notice
		if option.warn {
			severity = config.Warning
		}
		r.add(severity, place, "not honoured:", option.name+" = "+value, option.ignored)
	case variable.MatchString(value):
		r.fail(place, option.name+" has a variable:", value, "write what it stands for: variables are not replaced")
	case option.global && r.current != nil:
		r.add(config.Warning, place, "stands in a module and counts in the global part alone:", option.name, "move it in front of the first module")
	case option.global:
		r.globals[option.name] = entry{unescape(value), place}
	case r.current != nil:
		r.current.settings[option.name] = entry{unescape(value), place}
	default:
		r.defaults[option.name] = entry{unescape(value), place}
	}
}

// unescape turns "%%" to the percent sign that it stands for.
func unescape(value string) string { return strings.ReplaceAll(value, "%%", "%") }

// directive reads another file in this place (&merge), or on its own with the defaults of here (&include).
func (r *reader) directive(place config.Place, line string, depth int) {
	word, name, _ := strings.Cut(line, " ")
	name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "="))
	ending := map[string]string{"&include": "*.conf", "&merge": "*.inc"}[strings.ToLower(word)]
	switch {
	case ending == "" || name == "":
		r.fail(place, "no directive that is known:", line, "write &include FILE or &merge FILE")
		return
	case depth >= maxDepth:
		r.fail(place, "files include each other too deep:", name, "see whether one includes itself")
		return
	case !filepath.IsAbs(name):
		r.fail(place, "a file to read that is not absolute:", name, "write its whole path")
		return
	}
	files := []string{name}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		files, _ = filepath.Glob(filepath.Join(escapeGlob(name), ending)) // its one error is that of a bad pattern
		slices.Sort(files)
	}
	for _, file := range files {
		data, err := r.read(file)
		if err != nil {
			r.fail(place, "file cannot be read:", file, err.Error())
			continue
		}
		if ending == "*.inc" {
			r.file(file, data, depth+1)
			continue
		}
		defaults, current := r.defaults, r.current
		r.defaults, r.current = maps.Clone(defaults), nil
		r.file(file, data, depth+1)
		r.defaults, r.current = defaults, current
	}
}

func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// readFile reads a regular file of a sensible size.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readOpen(f)
}

func readOpen(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("read %q: it is no regular file", f.Name())
	case info.Size() > maxFile:
		return nil, fmt.Errorf("read %q: it has more than %d MiB", f.Name(), maxFile>>20)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}
