package config

import (
	"path/filepath"
	"strings"

	"sersync/internal/change"
)

// Locate says which path of the source a name of this machine is. Symlinks on the way to it are followed, one that it
// names itself is not: that is what is replicated.
func (s Source) Locate(name string) (p change.Path, inside bool) {
	root, full := resolve(s.Path), absolute(name)
	if resolve(full) == root {
		return change.Root, true
	}
	full = filepath.Join(resolve(filepath.Dir(full)), filepath.Base(full))
	rest, inside := strings.CutPrefix(full, strings.TrimSuffix(root, "/")+"/")
	p = change.Path(rest)
	return p, inside && p.Valid()
}
