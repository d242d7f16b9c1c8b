package rsyncd

import (
	"os"
	"path"
	"strings"
	"syscall"

	"sersync/internal/config"
	"sersync/internal/receive"
)

// auth reads who may log in and by which secret.
func (r *reader) auth(s *section, m *receive.Module) {
	e := s.settings["auth users"]
	words := list(e.value)
	if len(words) == 0 {
		m.Anonymous = true
		if !m.ReadOnly && r.globals[clientCAFile].value == "" {
			r.add(config.Warning, s.place, "module without auth users, so whoever reaches it can change it:", s.name,
				"write auth users = NAME and secrets file = FILE below it")
		}
		return
	}
	for _, word := range words {
		if rule, ok := r.userRule(e.place, word); ok {
			m.Rules = append(m.Rules, rule)
		}
	}
	if r.globals[clientCAFile].value != "" && s.settings["secrets file"].value == "" {
		m.Certified = true
		return
	}
	if file, name := r.secretsName(s); name != "" {
		m.Secrets, m.GroupSecrets = r.secrets(file, r.boolean(s.settings, "strict modes", true))
	}
	if m.Secrets == nil {
		return // that is told
	}
	for _, rule := range m.Rules {
		r.hasSecret(e.place, s.settings["secrets file"].value, rule, m)
	}
}

// hasSecret warns of a rule by which nobody can log in.
func (r *reader) hasSecret(place config.Place, file string, rule receive.UserRule, m *receive.Module) {
	if rule.Access == receive.Denied {
		return
	}
	if !rule.Group {
		if _, ok := m.Secrets[rule.Pattern]; !ok && !strings.ContainsAny(rule.Pattern, `*?[\`) {
			r.add(config.Warning, place, "user has no line in "+file+", so he cannot log in:", rule.Pattern, "add the line "+rule.Pattern+":PASSWORD")
		}
		return
	}
	for user, group := range rule.Members {
		if m.Secrets[user] != "" || m.GroupSecrets[group] != "" {
			return
		}
	}
	if len(rule.Members) > 0 {
		r.add(config.Warning, place, "nobody of the group has a line in "+file+", so nobody can log in for it:", "@"+rule.Pattern,
			"add the line USER:PASSWORD for one of its users, or @GROUP:PASSWORD for all of them")
	}
}

// userRule reads NAME or @GROUP, with :rw, :ro or :deny behind it.
func (r *reader) userRule(place config.Place, word string) (receive.UserRule, bool) {
	name, right, _ := strings.Cut(word, ":")
	rule := receive.UserRule{Pattern: name, Place: place.String()}
	switch strings.ToLower(right) {
	case "":
	case "rw":
		rule.Access = receive.ReadWrite
	case "ro":
		rule.Access = receive.ReadOnly
	case "deny":
		rule.Access = receive.Denied
	default:
		r.fail(place, "user with a right that is not known:", word, "write :rw, :ro or :deny behind the name")
		return rule, false
	}
	if _, err := path.Match(name, ""); err != nil {
		r.fail(place, "auth users has a pattern that cannot be used:", word, "close the bracket")
		return rule, false
	}
	if group, ok := strings.CutPrefix(name, "@"); ok {
		rule.Pattern, rule.Group = group, true
		return rule, r.members(place, word, &rule)
	}
	return rule, true
}

// members finds who is in the group of a rule. A group that is not found keeps nobody out, so who denies one is told by an error.
func (r *reader) members(place config.Place, word string, rule *receive.UserRule) bool {
	groups, err := r.userGroups()
	if err != nil {
		r.fail(place, "groups of this machine cannot be read:", word, err.Error())
		return false
	}
	there := false
	rule.Members, there = groups.matching(rule.Pattern)
	switch {
	case !there && rule.Access == receive.Denied:
		r.fail(place, "auth users denies a group that is not in /etc/group:", word, "correct its name, or name its users instead")
		return false
	case !there:
		r.add(config.Warning, place, "group is not in /etc/group, so nobody is let in for it:", word, "correct its name, make the group, or name its users instead")
	case len(rule.Members) == 0:
		r.add(config.Warning, place, "no user of /etc/passwd is in the group, so the rule counts for nobody:", word, "put users into the group, or name them instead")
	}
	return true
}

// secrets reads a file of USER:PASSWORD and @GROUP:PASSWORD. It says nothing of what is in it. nil is a file that cannot be used.
func (r *reader) secrets(file entry, strict bool) (users, groups map[string]receive.Secret) {
	f, err := os.OpenFile(file.value, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		r.fail(file.place, "secrets file cannot be read, so nobody can log in:", file.value, "write USER:PASSWORD into it, then chmod 600 ("+err.Error()+")")
		return nil, nil
	}
	defer f.Close()
	data, err := readOpen(f)
	if err != nil {
		r.fail(file.place, "secrets file cannot be read, so nobody can log in:", file.value, err.Error())
		return nil, nil
	}
	// What is read is checked, not the name, which may be another file by now.
	if info, err := f.Stat(); strict && (err != nil || !r.keepsSecret(file, info)) {
		return nil, nil
	}
	users, groups = make(map[string]receive.Secret), make(map[string]receive.Secret)
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		name, secret, found := strings.Cut(line, ":")
		all := users
		if group, ok := strings.CutPrefix(name, "@"); ok {
			name, all = group, groups
		}
		place := config.Place{File: file.value, Line: i + 1}
		if !found || name == "" || secret == "" {
			r.add(config.Warning, place, "a line that is not USER:PASSWORD", "", "it counts for nobody; write it so, or remove it")
			continue
		}
		if _, there := all[name]; !there { // of rsync: the first counts
			all[name] = receive.Secret(secret)
		}
	}
	if len(users)+len(groups) == 0 {
		r.fail(file.place, "secrets file has no USER:PASSWORD, so nobody can log in:", file.value, "write one on a line of its own")
		return nil, nil
	}
	return users, groups
}

// keepsSecret refuses what rsync's strict modes refuse.
func (r *reader) keepsSecret(file entry, info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Perm()&0o006 != 0:
		r.fail(file.place, "secrets file can be read or written by everybody, so it is refused:", file.value, "chmod 600 "+file.value)
	case os.Geteuid() == 0 && ok && st.Uid != 0:
		r.fail(file.place, "secrets file is not owned by root, so it is refused:", file.value, "chown root "+file.value)
	default:
		return true
	}
	return false
}
