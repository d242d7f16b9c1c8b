package journal

import "sersync/internal/change"

// OnItsWay says of each path whether what the target has there is about to change without anybody's doing: the path is owed and
// neither failed nor held, or it is part of a directory that is; or it is a directory into which something is about to go, which
// changes its times over there meanwhile.
func (t *Target) OnItsWay(paths []change.Path) []bool {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	// moving are the bits of what is under way, into the directories that it goes into.
	moving, into := map[change.Path]change.Bits{}, map[change.Path]bool{}
	note := func(p change.Path, bits change.Bits) {
		moving[p] |= bits
		into[p.Parent()] = into[p.Parent()] || p != change.Root
	}
	for p, o := range t.owed {
		switch o.State {
		case Ready, InFlight, Large, Delayed:
			note(p, o.Bits)
		}
	}
	for e := t.next; e != nil; e = e.next {
		note(e.path, e.bits)
	}
	answers := make([]bool, len(paths))
	for i, p := range paths {
		_, own := moving[p]
		answers[i] = own || into[p]
		for at := p; at != change.Root && !answers[i]; {
			at = at.Parent()
			answers[i] = moving[at]&(change.Tree|change.Extras|change.Entries|change.WasDir) != 0
		}
	}
	return answers
}
