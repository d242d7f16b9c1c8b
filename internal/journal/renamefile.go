package journal

import (
	"slices"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// RenameFiles implements scan.Index.
func (j *Journal) RenameFiles(files []scan.RenamedFile) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.targets {
		t.hintFiles(files)
	}
}

// hintFiles remembers where the target has files that were renamed at once, where that is known.
func (t *Target) hintFiles(files []scan.RenamedFile) {
	var fresh []Moved
	touched := make(map[change.Path]struct{}, 2*len(files))
	for _, f := range files {
		touched[f.From], touched[f.To] = struct{}{}, struct{}{}
		if from, ok := t.hasFile(f); ok {
			fresh = append(fresh, Moved{From: from, To: f.To, File: f.Stat})
		}
	}
	t.renames++
	// Not what was on its way to where it is not any more, or to where something else came.
	t.moved = slices.DeleteFunc(t.moved, func(m Moved) bool {
		_, ok := touched[m.To]
		return ok && m.File.Exists()
	})
	for _, m := range fresh {
		if len(t.moved) < movedMax && m.From != m.To && !t.tangled(m) {
			t.moved = append(t.moved, m)
		}
	}
}

// hasFile says where the target has a file that was renamed, as it is. false says that this is not known.
func (t *Target) hasFile(f scan.RenamedFile) (from change.Path, ok bool) {
	for _, m := range t.moved {
		if m.To == f.From && m.File.Exists() {
			// It is on its way there, unless it was changed since. Within a tick of the clock the mark alone tells that.
			r := t.j.index.find(f.From)
			return m.From, r != nil && r.stat == m.File && !r.doubted && t.bitsOf(f.From)&change.Content == 0
		}
	}
	r := t.j.index.find(f.From)
	if _, again := t.again[f.From]; again || r == nil || r.doubted || t.lacksJust(f.From) || !t.proven(f.From.Parent()) {
		return "", false
	}
	return f.From, true
}

// tangled reports whether another hint is about one of the names of a file, or a directory above one.
func (t *Target) tangled(m Moved) bool {
	return slices.ContainsFunc(t.moved, func(n Moved) bool {
		if n.File.Exists() {
			return m.From == n.From || m.To == n.To
		}
		return m.From == n.To || m.From == n.From || m.To == n.From || related(n.From, m.From) || related(n.To, m.From) || related(n.From, m.To) || related(n.To, m.To)
	})
}
