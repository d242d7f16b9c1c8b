package rsyncd

import (
	"path"
	"strings"
)

// userGroups are the groups of this machine and who is in them, as its files say: the front that asks can open none.
type userGroups struct {
	// names are all groups; of are those of each user, his own first.
	names []string
	of    map[string][]string
}

// userGroups reads them once.
func (r *reader) userGroups() (*userGroups, error) {
	if r.groupsOfUsers != nil {
		return r.groupsOfUsers, nil
	}
	passwd, err := r.read("/etc/passwd")
	if err != nil {
		return nil, err
	}
	group, err := r.read("/etc/group")
	if err != nil {
		return nil, err
	}
	g := &userGroups{of: make(map[string][]string)}
	named := make(map[string][]string) // by number
	for _, f := range fields(group, 4) {
		g.names = append(g.names, f[0])
		named[f[2]] = append(named[f[2]], f[0])
	}
	for _, f := range fields(passwd, 7) {
		g.of[f[0]] = append(g.of[f[0]], named[f[3]]...)
	}
	for _, f := range fields(group, 4) {
		for name := range strings.SplitSeq(f[3], ",") {
			if own, there := g.of[name]; there { // of rsync: others are in no group
				g.of[name] = append(own, f[0])
			}
		}
	}
	r.groupsOfUsers = g
	return g, nil
}

// fields are the lines of a file as passwd(5) that have so many fields.
func fields(data []byte, n int) [][]string {
	var all [][]string
	for line := range strings.SplitSeq(string(data), "\n") {
		if f := strings.Split(strings.TrimRight(line, "\r"), ":"); len(f) == n && f[0] != "" && line[0] != '#' {
			all = append(all, f)
		}
	}
	return all
}

// matching are the users with a group that matches, and that group. there: such a group exists.
func (g *userGroups) matching(pattern string) (members map[string]string, there bool) {
	matches := func(name string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	}
	for _, name := range g.names {
		there = there || matches(name)
	}
	members = make(map[string]string)
	for user, groups := range g.of {
		for _, name := range groups {
			if matches(name) {
				members[user] = name
				break
			}
		}
	}
	return members, there
}
