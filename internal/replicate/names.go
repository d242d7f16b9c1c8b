package replicate

import (
	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
)

// several reports whether a file has several names that are names of one file on a target, too.
func several(st change.Stat) bool { return st.IsRegular() && st.Links > 1 }

// named adds to what the plan saw another name under which the target has a file with several, where one is known. All names of a file that
// are in the run get the same one, which may be in the run itself when it was acked before and is owed again.
func (s *sender) named(seen []transport.Seen, paths []change.Path) []transport.Seen {
	var known map[change.Inode]change.Path
	for i := range seen {
		st := seen[i].Stat
		if !several(st) {
			continue
		}
		name, asked := known[st.Inode()]
		if !asked {
			if known == nil {
				known = map[change.Inode]change.Path{}
			}
			f := s.src.options().Filter
			name = s.owed.Has(paths[i], st, func(q change.Path) bool { return f.Verdict(q, filter.File).Keep })
			known[st.Inode()] = name
		}
		if name != paths[i] {
			seen[i].Link = name
		}
	}
	return seen
}
