package rsyncd

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/perm"
	"sersync/internal/receive"
)

// module makes a module of its settings.
func (r *reader) module(s *section) receive.Module {
	of := s.settings
	m := receive.Module{
		Name: s.name, Place: s.place.String(),
		ReadOnly:       r.boolean(of, "read only", true),
		WriteOnly:      r.boolean(of, "write only", false),
		ReadOnlyPlace:  s.place.String(),
		List:           r.boolean(of, "list", true),
		RefuseRemovals: r.refusesRemovals(of["refuse options"]),
		Hosts: receive.HostRules{
			Allow: r.hosts(of["hosts allow"]), Deny: r.hosts(of["hosts deny"]),
			Reverse: r.boolean(of, "reverse lookup", true), Forward: r.boolean(of, "forward lookup", true),
		},
		MaxConnections: r.integer(of, "max connections", -1<<30),
		Timeout:        time.Duration(r.integer(of, "timeout", 0)) * time.Second,
		Exclude:        append(r.exclude(of["exclude"]), r.excludeFrom(of["exclude from"])...),
		MungeSymlinks:  r.boolean(of, "munge symlinks", false),
		FakeSuper:      r.boolean(of, "fake super", false),
		Chmod:          r.chmod(of["incoming chmod"]),
	}
	if e, ok := of["read only"]; ok {
		m.ReadOnlyPlace = e.place.String()
	}
	m.Path = r.path(s)
	r.storesFake(of["fake super"], m)
	m.User = r.user(s)
	r.deniesNobody(of, m.Hosts)
	r.auth(s, &m)
	return m
}

func (r *reader) path(s *section) string {
	e, ok := s.settings["path"]
	if !ok || e.value == "" {
		r.fail(s.place, "module without a path:", s.name, "write path = DIRECTORY below it")
		return ""
	}
	dir := r.absolute(s.settings, "path")
	if dir == "" {
		return ""
	}
	switch info, err := os.Stat(dir); {
	case dir == "/":
		r.fail(e.place, "path is the root of this machine, and whoever logs in could replace all of it:", dir, "name the directory that is meant")
	case errors.Is(err, fs.ErrNotExist) && r.single:
		r.fail(e.place, "--root does not exist:", dir, "make it: mkdir "+dir+", or correct the name")
	case err != nil && r.single:
		r.fail(e.place, "--root cannot be looked at:", dir, err.Error())
	case err == nil && !info.IsDir() && r.single:
		r.fail(e.place, "--root is no directory:", dir, "name a directory: make it by mkdir, or correct the name")
	case errors.Is(err, fs.ErrNotExist):
		r.add(config.Warning, e.place, "path does not exist, so clients are sent away:", dir, "make the directory, or mount what belongs there")
	case err != nil:
		r.add(config.Warning, e.place, "path cannot be looked at, so clients are sent away:", dir, err.Error())
	case !info.IsDir():
		r.fail(e.place, "path is no directory:", dir, "name a directory")
	}
	return dir
}

// storesFake refuses to store beside files where nothing can be.
func (r *reader) storesFake(e entry, m receive.Module) {
	if err := apply.StoresFake(m.Path); m.FakeSuper && errors.Is(err, unix.EOPNOTSUPP) {
		r.fail(e.place, "fake super on a file system without extended attributes:", m.Path, "take another file system for the module, or remove the line")
	}
}

// chmod reads changes of modes.
func (r *reader) chmod(e entry) perm.Chmod {
	if e.value == "" {
		return nil
	}
	mask, err := umask()
	var changes perm.Chmod
	if err == nil {
		changes, err = perm.ParseChmod(e.value, mask)
	}
	if err != nil {
		r.fail(e.place, "incoming chmod cannot be used:", e.value, err.Error())
	}
	return changes
}

// umask is that of this process. To ask the kernel for it by umask(2) would change it for a moment.
func umask() (uint32, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "\nUmask:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 8, 32)
	return uint32(mask), err
}

// refusesRemovals is what of `refuse options` says something here.
func (r *reader) refusesRemovals(e entry) bool {
	refuses := false
	var rest []string
	for _, word := range strings.Fields(e.value) {
		name, negated := strings.CutPrefix(word, "!")
		ok, err := path.Match(name, "delete")
		switch {
		case err == nil && ok:
			refuses = !negated
		case !strings.HasPrefix(name, "delete"):
			rest = append(rest, word)
		}
	}
	if len(rest) > 0 {
		r.add(config.Notice, e.place, "not honoured:", "refuse options = "+strings.Join(rest, " "), "only delete is: nothing is removed then")
	}
	return refuses
}

// list splits a list as rsync does: at white space and commas, or at commas alone when it begins with one.
func list(value string) []string {
	separator := func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }
	if strings.HasPrefix(value, ",") {
		separator = func(c rune) bool { return c == ',' }
	}
	var words []string
	for _, w := range strings.FieldsFunc(value, separator) {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}

// exclude makes rules of patterns that stand in one line.
func (r *reader) exclude(e entry) []filter.Rule {
	var patterns []string
	words := strings.Fields(e.value)
	for i := 0; i < len(words); i++ {
		if (words[i] == "-" || words[i] == "+") && i+1 < len(words) {
			words[i+1] = words[i] + " " + words[i+1]
			continue
		}
		patterns = append(patterns, words[i])
	}
	return r.rules(e.place, patterns)
}

// excludeFrom makes rules of a file of patterns.
func (r *reader) excludeFrom(e entry) []filter.Rule {
	if e.value == "" {
		return nil
	}
	data, err := r.read(e.value)
	if err != nil {
		r.fail(e.place, "file of exclude from cannot be read:", e.value, err.Error())
		return nil
	}
	var rules []filter.Rule
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.TrimSpace(line) != "" && line[0] != '#' && line[0] != ';' {
			rules = append(r.rules(config.Place{File: e.value, Line: i + 1}, []string{line}), rules...)
		}
	}
	return rules
}

// rules turns patterns of rsync, of which the first that matches decides, to ours, of which the last does.
func (r *reader) rules(place config.Place, patterns []string) []filter.Rule {
	var rules []filter.Rule
	for _, p := range patterns {
		keep := ""
		body, plus := strings.CutPrefix(p, "+ ")
		if plus {
			keep = "!"
		} else {
			body = strings.TrimPrefix(p, "- ")
		}
		glob, err := config.GlobOfRsync(body)
		if err == nil {
			glob = keep + glob
			err = filter.CheckGlob(glob)
		}
		if err != nil {
			r.fail(place, "exclude has a pattern that cannot be used:", p, err.Error())
			continue
		}
		rules = append(rules, filter.Glob(place.String(), glob))
	}
	slices.Reverse(rules)
	return rules
}

// deniesNobody warns of a list that was meant to keep everybody out.
func (r *reader) deniesNobody(of entries, hosts receive.HostRules) {
	for _, h := range hosts.Deny {
		if h.Prefix.IsValid() && h.Prefix.IsSingleIP() && h.Prefix.Addr().IsUnspecified() && len(hosts.Allow) > 0 {
			r.add(config.Warning, of["hosts deny"].place, "hosts deny names the address 0.0.0.0 alone, so whoever is not in hosts allow is let in:",
				of["hosts deny"].value, "remove the line: with hosts allow alone all others are denied; or write 0.0.0.0/0")
		}
	}
}

// secretsName is the file of the secrets of a module; "" and told when there is none to read.
func (r *reader) secretsName(s *section) (entry, string) {
	e, ok := s.settings["secrets file"]
	if !ok || e.value == "" {
		r.fail(s.place, "module with auth users and without a secrets file, so nobody can log in:", s.name, "write secrets file = FILE below it")
		return e, ""
	}
	if !filepath.IsAbs(e.value) {
		r.fail(e.place, "secrets file is not absolute:", e.value, "begin it with a slash")
		return e, ""
	}
	return e, e.value
}
