package replicate

import (
	"sync"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
)

// names are those under which files with several were acked last, of the files that came to the target last.
type names struct {
	mu sync.Mutex
	at map[change.Inode]change.Path // guarded by mu
}

// namesMax bounds the files that are remembered.
const namesMax = 1 << 16

// several reports whether a file has several names that are names of one file on a target, too.
func several(st change.Stat) bool { return st.IsRegular() && st.Links > 1 }

// arrived notes a path that was acked.
func (n *names) arrived(it *item) {
	if !several(it.stat) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.at == nil || len(n.at) >= namesMax {
		n.at = map[change.Inode]change.Path{}
	}
	n.at[it.stat.Inode()] = it.path
}

func (n *names) of(file change.Inode) change.Path {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at[file]
}

// named adds to what the plan saw another name under which the target has a file with several, where one is known. All names of a file that
// are in the run get the same one: none of them is acked.
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
			name = s.owed.Has(paths[i], st, s.names.of(st.Inode()), func(q change.Path) bool { return f.Verdict(q, filter.File).Keep })
			known[st.Inode()] = name
		}
		seen[i].Link = name
	}
	return seen
}
