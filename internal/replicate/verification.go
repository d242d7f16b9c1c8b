package replicate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/transport"
)

// Bounds of the differences that are looked at twice, and of the bytes of their paths. What is beyond them counts at first sight.
const (
	twiceMax      = 100_000
	twiceBytesMax = 32 << 20
)

// Verification is the comparison of one target with its source that a person or a schedule asks for.
type Verification struct {
	Root      *scan.Root
	Filter    *filter.Filter
	Transport transport.Transport
	// Sweep says how to compare; Root and Under are filled in.
	Sweep transport.Sweep
	// OnItsWay says of each path whether somebody is about to change what the target has there, once all that happened at the
	// source before the call is known. Nil where nobody replicates.
	OnItsWay func(context.Context, []change.Path) ([]bool, error)
}

// Found is a difference.
type Found struct {
	transport.Difference
	// OnItsWay: it is owed to the target, or changed while it was looked at.
	OnItsWay bool
}

// Run tells yield what differs. Where somebody replicates, that is not what merely had not arrived when it was looked at: a
// difference counts when the path is not on its way, and then, with the source as it was, differs again. For all that
// happened before the first of these has arrived by then.
func (v *Verification) Run(ctx context.Context, yield func(Found) error) error {
	first := found{at: map[change.Path]transport.Difference{}}
	err := v.sweep(ctx, []change.Path{change.Root}, false, func(d transport.Difference) error {
		if v.OnItsWay == nil || !first.add(d) {
			return yield(Found{Difference: d})
		}
		return nil
	})
	if err != nil || len(first.at) == 0 {
		return err
	}
	return v.settle(ctx, first, yield)
}

// sweep compares once.
func (v *Verification) sweep(ctx context.Context, under []change.Path, shallow bool, yield func(transport.Difference) error) error {
	s := v.Sweep
	s.Root, s.Under, s.Shallow = v.Root.File(), under, shallow
	return v.Transport.Sweep(ctx, s, func(d transport.Difference) error {
		if !d.Path.Valid() || !v.Filter.Verdict(d.Path, kindOf(d.Dir)).Keep {
			return nil
		}
		return yield(d)
	})
}

// found are differences by path.
type found struct {
	at    map[change.Path]transport.Difference
	bytes int
}

// add reports whether there is room.
func (f *found) add(d transport.Difference) bool {
	if len(f.at) == twiceMax || f.bytes+len(d.Path) > twiceBytesMax {
		return false
	}
	f.at[d.Path] = d
	f.bytes += len(d.Path)
	return true
}

// top is the topmost directory that one of both sides lacks, with the path in it; the path itself when both have what it is in.
func (f *found) top(p change.Path) change.Path {
	d := f.at[p]
	for p != change.Root {
		above, ok := f.at[p.Parent()]
		if !ok || !above.Dir || !above.Extra && !above.Missing || above.Extra != d.Extra || above.Missing != d.Missing {
			break
		}
		p = p.Parent()
	}
	return p
}

// settle tells differences from what is on its way.
func (v *Verification) settle(ctx context.Context, first found, yield func(Found) error) error {
	paths := slices.Sorted(maps.Keys(first.at))
	tell := func(p change.Path, onItsWay bool) error { return yield(Found{first.at[p], onItsWay}) }
	still, err := v.sort(ctx, paths, tell)
	if err != nil || len(still) == 0 {
		return err
	}
	before, err := v.look(still)
	if err != nil {
		return err
	}
	again, err := v.again(ctx, first, still)
	if err != nil {
		return err
	}
	after, err := v.look(still)
	if err != nil {
		return err
	}
	var same []change.Path
	for i, p := range still {
		switch {
		case before[i] != after[i]:
			if err := tell(p, true); err != nil {
				return err
			}
		case again[first.top(p)]:
			same = append(same, p)
		}
	}
	same, err = v.sort(ctx, same, tell)
	for _, p := range same {
		if err == nil {
			err = tell(p, false)
		}
	}
	return err
}

// sort tells which paths are on their way, and returns the others.
func (v *Verification) sort(ctx context.Context, paths []change.Path, tell func(change.Path, bool) error) (still []change.Path, err error) {
	if len(paths) == 0 {
		return nil, nil
	}
	way, err := v.OnItsWay(ctx, paths)
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		if !way[i] {
			still = append(still, p)
		} else if err := tell(p, true); err != nil {
			return nil, err
		}
	}
	return still, nil
}

// look says what the source has at paths.
func (v *Verification) look(paths []change.Path) ([]scan.Seen, error) {
	looks := v.Root.Looks()
	defer looks.Close()
	all := make([]scan.Seen, len(paths))
	for i, p := range paths {
		seen, err := looks.Look(p)
		if err != nil {
			return nil, fmt.Errorf("look at %q again: %w", string(p), err)
		}
		all[i] = seen
	}
	return all, nil
}

// again says which of the directories and paths at the top of what differs differ again.
func (v *Verification) again(ctx context.Context, first found, paths []change.Path) (map[change.Path]bool, error) {
	var under []change.Path
	for _, p := range paths {
		under = append(under, first.top(p).Parent())
	}
	slices.Sort(under)
	under = slices.Compact(under)
	again := map[change.Path]bool{}
	return again, v.sweep(ctx, under, true, func(d transport.Difference) error {
		again[d.Path] = true
		return nil
	})
}
