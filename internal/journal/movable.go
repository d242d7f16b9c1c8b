package journal

import "sersync/internal/change"

// unsureMax is how much may be owed for what a target may have besides to be looked for.
const unsureMax = 100_000

// Movable are the paths below a directory of which nothing is owed: where it was before, the target has them as they are.
func (t *Target) Movable(dir change.Path) []change.Path {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	var paths []change.Path
	var add func(change.Path, *row)
	add = func(at change.Path, r *row) {
		for name, child := range r.names {
			p := at.Join(name)
			isDir := child.stat.IsDir()
			if bits := t.bitsOf(p); isDir && bits&unproven != 0 || !isDir && t.lacksJust(p) {
				continue
			}
			paths = append(paths, p)
			add(p, child)
		}
	}
	if r := t.j.index.find(dir); r != nil {
		add(dir, r)
	}
	return paths
}

// Unsure are the paths below a directory that a target may have, or not, below from, where the directory was before. Where much waits that is
// not said.
func (t *Target) Unsure(from, dir change.Path) (paths []change.Path, ok bool) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	if len(t.owed)+len(t.j.entries) > unsureMax {
		return nil, false
	}
	if r := t.j.index.find(dir); r != nil {
		paths = t.lacking(nil, dir, r, false)
	}
	went := func(p change.Path) {
		q := p
		if p.Below(from) {
			q = dir + p[len(from):]
		}
		if q.Below(dir) && t.j.index.find(q) == nil && t.lacksJust(p) {
			paths = append(paths, q)
		}
	}
	for p := range t.owed {
		went(p)
	}
	for p := range t.j.entries {
		if t.owed[p] == nil {
			went(p)
		}
	}
	return paths, true
}

// lacking adds the paths below r, which stands at p, that the target is owed; all when it is not known what the target has there.
func (t *Target) lacking(paths []change.Path, at change.Path, r *row, all bool) []change.Path {
	for name, child := range r.names {
		p := at.Join(name)
		unsure := all || child.stat.IsDir() && t.bitsOf(p)&unproven != 0
		if unsure || t.lacksJust(p) {
			paths = append(paths, p)
		}
		paths = t.lacking(paths, p, child, unsure)
	}
	return paths
}
