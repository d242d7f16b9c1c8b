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
		if !m.ReadOnly {
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
	if file, name := r.secretsName(s); name != "" {
		m.Secrets = r.secrets(file, r.boolean(s.settings, "strict modes", true))
	}
	if m.Secrets == nil {
		return // that is told
	}
	for _, rule := range m.Rules {
		if _, ok := m.Secrets[rule.Pattern]; !ok && rule.Access != receive.Denied && !strings.ContainsAny(rule.Pattern, `*?[\`) {
			r.add(config.Warning, e.place, "user has no line in "+s.settings["secrets file"].value+", so he cannot log in:", rule.Pattern,
				"add the line "+rule.Pattern+":PASSWORD")
		}
	}
}

// userRule reads NAME, NAME:rw, NAME:ro or NAME:deny.
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
	_, err := path.Match(name, "")
	switch {
	case strings.HasPrefix(name, "@") && rule.Access == receive.Denied:
		r.fail(place, "auth users denies a group, and groups are not honoured:", word, "name its users instead")
		return rule, false
	case strings.HasPrefix(name, "@"):
		r.add(config.Warning, place, "not honoured:", word, "nobody is let in for his group; name its users instead")
		return rule, false
	case err != nil:
		r.fail(place, "auth users has a pattern that cannot be used:", word, "close the bracket")
		return rule, false
	}
	return rule, true
}

// secrets reads a file of USER:PASSWORD. It says nothing of what is in it. nil is a file that cannot be used.
func (r *reader) secrets(file entry, strict bool) map[string]receive.Secret {
	f, err := os.OpenFile(file.value, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		r.fail(file.place, "secrets file cannot be read, so nobody can log in:", file.value, "write USER:PASSWORD into it, then chmod 600 ("+err.Error()+")")
		return nil
	}
	defer f.Close()
	data, err := readOpen(f)
	if err != nil {
		r.fail(file.place, "secrets file cannot be read, so nobody can log in:", file.value, err.Error())
		return nil
	}
	// What is read is checked, not the name, which may be another file by now.
	if info, err := f.Stat(); strict && (err != nil || !r.keepsSecret(file, info)) {
		return nil
	}
	all := make(map[string]receive.Secret)
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.TrimSpace(line) == "" || line[0] == '#' || line[0] == '@' {
			continue
		}
		user, secret, found := strings.Cut(line, ":")
		place := config.Place{File: file.value, Line: i + 1}
		if !found || user == "" || secret == "" {
			r.add(config.Warning, place, "a line that is not USER:PASSWORD", "", "it counts for nobody; write it so, or remove it")
			continue
		}
		if _, there := all[user]; !there { // of rsync: the first counts
			all[user] = receive.Secret(secret)
		}
	}
	if len(all) == 0 {
		r.fail(file.place, "secrets file has no USER:PASSWORD, so nobody can log in:", file.value, "write one on a line of its own")
		return nil
	}
	return all
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
