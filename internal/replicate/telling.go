package replicate

import (
	"slices"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/hook"
	"sersync/internal/journal"
	"sersync/internal/transport"
)

// tellings are what hooks are told of a run that was acked, but for what failed.
func (s *sender) tellings(r *run, report transport.Report, failed map[change.Path]transport.Failure) []journal.Telling {
	tellers := s.src.hearing(s.opts.Name, hook.Acked, hook.AllTargetsAcked)
	if len(tellers) == 0 {
		return nil
	}
	changed := make(map[change.Path]struct{}, len(report.Changed))
	for _, p := range report.Changed {
		changed[p] = struct{}{}
	}
	var marks []change.Mark
	for _, it := range r.items {
		_, bad := failed[it.path]
		_, isChanged := changed[it.path]
		if m, ok := r.telling(it, isChanged); ok && !bad {
			marks = append(marks, m)
		}
	}
	return tellAll(tellers, marks)
}

// telling is what is told of an item. What was sent for safety, and was there already, is not told; nor is the root, or a directory
// of which only the time changed with what is in it.
func (r *run) telling(it *item, changed bool) (change.Mark, bool) {
	if it.path == change.Root || it.path.Name() == filter.PartialName || it.path.Parent().Name() == filter.PartialName {
		return change.Mark{}, false
	}
	marks := slices.Concat(it.marks, it.compared)
	m := change.Mark{Path: it.path, Since: oldest(marks)}
	dir := it.stat.IsDir()
	live := changed && !dir
	for _, x := range marks {
		live = live || x.Bits&change.Live != 0
		// What is above a path that is absent is a directory.
		dir = dir || r.removes() && (x.Path != it.path || x.Bits&change.WasDir != 0)
	}
	if dir {
		m.Bits = change.WasDir
	}
	if r.removes() {
		m.Bits |= change.Gone
	}
	return m, live
}

// arrivals are what hooks are told of directories that were renamed, when they were compared: all that is below and is there by now, of
// which nothing was marked. What is not there is owed, and told when it is.
func (s *sender) arrivals(marks []change.Mark) []journal.Telling {
	const renamed = change.Tree | change.Live
	tellers := s.src.hearing(s.opts.Name, hook.Acked, hook.AllTargetsAcked)
	var arrived []change.Mark
	for _, m := range marks {
		if len(tellers) == 0 || m.Path == change.Root || m.Bits&renamed != renamed {
			continue
		}
		for _, p := range s.owed.Movable(m.Path) {
			at := change.Mark{Path: p, Since: m.Since}
			if s.src.journal.Stat(p).IsDir() {
				at.Bits = change.WasDir
			}
			arrived = append(arrived, at)
		}
	}
	return tellAll(tellers, arrived)
}

// tellAll gives each teller what it wants of marks, and what it does not want where it was still to be told of the path before.
func tellAll(tellers []*teller, marks []change.Mark) []journal.Telling {
	var all []journal.Telling
	for _, t := range tellers {
		x := journal.Telling{Hook: t.queue}
		for _, m := range marks {
			wanted := t.Wants == nil || t.Wants(m.Path, m.Bits)
			if !wanted {
				_, wanted = t.queue.Row(m.Path)
			}
			if wanted {
				x.Marks = append(x.Marks, m)
			}
		}
		if len(x.Marks) > 0 {
			all = append(all, x)
		}
	}
	return all
}

// failures are what hooks are told of a path that the target did not take.
func (s *sender) failures(m change.Mark) []journal.Telling {
	m.Bits &= change.WasDir
	return tellAll(s.src.hearing(s.opts.Name, hook.Failed), []change.Mark{m})
}

// secure has the journal written before what a comparison found is sent, where a hook is to be told of it: no walk finds it
// again when a kill forgets it.
func (s *sender) secure() {
	if s.owed.GaveLow() && len(s.src.hearing(s.opts.Name, hook.Acked, hook.AllTargetsAcked)) > 0 {
		_ = s.src.journal.Commit() // the keeper of the journal says so
	}
}
