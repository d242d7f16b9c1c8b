package rsyncd

import (
	"os"
	"os/user"
	"strconv"

	"sersync/internal/receive"
)

// user is who a module runs as, of its uid and gid; as rsync has it, nobody where they are missing.
func (r *reader) user(s *section) *receive.User {
	if os.Geteuid() != 0 {
		return nil
	}
	e, ok := s.settings["uid"]
	if !ok {
		e = entry{"nobody", s.place}
	}
	who, err := user.Lookup(e.value)
	uid, numeric := number(e.value)
	switch {
	case err == nil:
		uid, _ = number(who.Uid)
	case !numeric:
		r.fail(e.place, "uid is no user of this machine:", e.value, "make the user, or write another one; one that is not in /etc/passwd by its number")
		return nil
	default:
		who, _ = user.LookupId(e.value) // a number needs no name
	}
	ids := r.groups(s, who)
	if len(ids) == 0 {
		ids = []uint32{nobodyGroup()}
	}
	return &receive.User{UID: uid, GID: ids[0], Groups: ids[1:]}
}

// groups are the group of a module and the others that it has; none stand for that of nobody.
func (r *reader) groups(s *section, who *user.User) []uint32 {
	e, ok := s.settings["gid"]
	if !ok {
		return nil
	}
	var ids []uint32
	for i, word := range list(e.value) {
		if word == "*" && i == 0 {
			ids = append(ids, r.groupsOf(e, who)...)
			continue
		}
		if g, err := user.LookupGroup(word); err == nil {
			word = g.Gid
		}
		id, ok := number(word)
		if !ok {
			r.fail(e.place, "gid is no group of this machine:", word, "make the group, or write another one; one that is not in /etc/group by its number")
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// groupsOf are all groups of a user, his own first.
func (r *reader) groupsOf(e entry, who *user.User) []uint32 {
	if who == nil {
		r.fail(e.place, "gid stands for the groups of the user, and uid is no user of this machine:", e.value, "write the groups")
		return nil
	}
	ids := []uint32{}
	if own, ok := number(who.Gid); ok {
		ids = append(ids, own)
	}
	all, err := who.GroupIds()
	if err != nil {
		r.fail(e.place, "groups of the user cannot be looked up:", who.Username, err.Error())
	}
	for _, word := range all {
		if id, ok := number(word); ok && word != who.Gid {
			ids = append(ids, id)
		}
	}
	return ids
}

// nobodyGroup is the group without rights, which has two names.
func nobodyGroup() uint32 {
	for _, name := range []string{"nobody", "nogroup"} {
		if g, err := user.LookupGroup(name); err == nil {
			if id, ok := number(g.Gid); ok {
				return id
			}
		}
	}
	return receive.Nobody
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	// The highest one means "leave it as it is" to the kernel.
	return uint32(n), err == nil && n < 1<<32-1
}
