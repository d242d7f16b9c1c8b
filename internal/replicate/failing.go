package replicate

import (
	"cmp"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/transport"
)

// Failing is what one target lacks because it failed.
type Failing struct {
	Target string
	// Paths are the oldest of them, oldest first; More is how many others there are.
	Paths []FailingPath
	More  int
}

// FailingPath is one path that failed, or that waits for a target which does not take changes.
type FailingPath struct {
	Path  change.Path
	Since time.Time
	Err   string
	// Gone: it is not there at the source any more, as far as is known, so that it is to be removed.
	Gone bool
}

// Failing lists what failed, at the most max paths a target. Targets that lack nothing, or only what is on its
// way, are left out. While a target does not take changes, everything that it is owed is listed. Removals are left out
// while a brake holds them.
func (s *Source) Failing(max int) []Failing {
	removals := !s.options().NoRemovals && s.brake.engaged() == nil
	var all []Failing
	for _, r := range s.running() {
		if f := r.sender.failing(max, removals); len(f.Paths) > 0 {
			all = append(all, f)
		}
	}
	return all
}

func (s *sender) failing(max int, removals bool) Failing {
	away := s.notTaking()
	f := Failing{Target: s.opts.Name}
	var rows []journal.Owed
	rows, f.More = s.owed.Failing(max, away != "")
	for _, o := range rows {
		gone := o.Path != change.Root && !s.src.journal.Stat(o.Path).Exists()
		if gone && !removals {
			continue
		}
		f.Paths = append(f.Paths, FailingPath{Path: o.Path, Since: o.Since, Err: cmp.Or(o.Err, away), Gone: gone})
	}
	return f
}

// notTaking says why the target takes no changes at all; empty when it does, or when nobody knows.
func (s *sender) notTaking() string {
	st := s.report.status()
	since, _ := s.gate.paused()
	switch {
	case st.NextTry == nil, !since.IsZero(), st.State == transport.SourceGone.String(), st.State == transport.RemovalsRefused.String():
		return ""
	}
	return st.LastError.Text
}
