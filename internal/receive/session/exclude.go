package session

import (
	"errors"
	"io"
	"strings"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/filter"
)

// excluded reports whether the module does not let senders have to do with a path.
func (s *Server) excluded(p change.Path, dir bool) bool {
	kind := filter.File
	if dir {
		kind = filter.Dir
	}
	return !s.o.Exclude.Verdict(p, kind).Keep
}

// inTrash reports whether a path is in the trash, or in what is none but has the name.
func inTrash(p change.Path) bool {
	return strings.Contains("/"+string(p)+"/", "/"+filter.TrashName+"/")
}

// isPart reports whether a path is a part of a large file, or the directory of such: nothing that anybody would want back.
func isPart(p change.Path) bool {
	return p.Name() == filter.PartialName || p.Parent().Name() == filter.PartialName
}

// away removes a path with all below it; to the trash of a day, unless that is empty.
func (s *Server) away(p change.Path, day string) (apply.Done, error) {
	if day == "" {
		return s.tree.Remove(p)
	}
	return s.tree.Discard(p, day)
}

// awayExactly is away for a path alone.
func (s *Server) awayExactly(p change.Path, day string) (apply.Done, error) {
	if day == "" || isPart(p) {
		return s.tree.RemoveExact(p)
	}
	return s.tree.DiscardExact(p, day)
}

// remove removes a path, with all below it unless it is the path exactly that is meant. What is excluded stays, and so do the
// directories above it.
func (s *Server) remove(p change.Path, exactly bool, day string) (apply.Done, error) {
	if !s.o.Exclude.Any() {
		if exactly {
			return s.awayExactly(p, day)
		}
		return s.away(p, day)
	}
	st, err := s.tree.Look(p)
	if err != nil || !st.Exists() || s.excluded(p, st.IsDir()) {
		return apply.Done{}, err
	}
	var all apply.Done
	if st.IsDir() && !exactly {
		names, err := s.names(p)
		for _, name := range names {
			if apply.Reserved(name) {
				continue
			}
			done, failed := s.remove(p.Join(name), false, day)
			all.Changed = all.Changed || done.Changed
			err = errors.Join(err, failed)
		}
		if err != nil {
			return all, err
		}
	}
	done, err := s.awayExactly(p, day)
	done.Changed = done.Changed || all.Changed
	return done, err
}

// names are all entries of a directory.
func (s *Server) names(p change.Path) ([]string, error) {
	dir, err := s.tree.OpenDir(p)
	if apply.KindOf(err) == apply.NoParent {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var all []string
	for {
		names, err := dir.Readdirnames(1024)
		all = append(all, names...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}
