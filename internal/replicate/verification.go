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
	if len(first.at) == 0 || ctx.Err() != nil {
		return err
	}
	// What was found before the comparison failed counts all the same: the next one may fail as well.
	if failed := v.settle(ctx, first, yield); err == nil {
		err = failed
	}
	return err
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

// part reports whether such has a path, or one of the directories above it up to its top: what becomes of these becomes of it.
func (f *found) part(p change.Path, such map[change.Path]bool) bool {
	for top := f.top(p); ; p = p.Parent() {
		if such[p] || p == top {
			return such[p]
		}
	}
}

// settle tells differences from what is on its way.
func (v *Verification) settle(ctx context.Context, first found, yield func(Found) error) error {
	paths := slices.Sorted(maps.Keys(first.at))
	moving := map[change.Path]bool{}
	still, err := v.still(ctx, first, paths, moving)
	if err != nil {
		return err
	}
	if len(still) > 0 {
		if still, err = v.second(ctx, first, still, moving); err != nil {
			return err
		}
	}
	for _, p := range paths {
		onItsWay := first.part(p, moving)
		if _, counts := slices.BinarySearch(still, p); !onItsWay && !counts {
			continue // it has arrived
		}
		if err := yield(Found{first.at[p], onItsWay}); err != nil {
			return err
		}
	}
	return nil
}

// still returns the paths that are not on their way, and notes the others as moving.
func (v *Verification) still(ctx context.Context, first found, paths []change.Path, moving map[change.Path]bool) ([]change.Path, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	way, err := v.OnItsWay(ctx, paths)
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		if way[i] {
			moving[p] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(paths), func(p change.Path) bool { return first.part(p, moving) }), nil
}

// second returns the paths that differ once more, while the source has them as before, and notes what moves as moving.
func (v *Verification) second(ctx context.Context, first found, paths []change.Path, moving map[change.Path]bool) ([]change.Path, error) {
	before, err := v.look(paths)
	if err != nil {
		return nil, err
	}
	again, err := v.again(ctx, first, paths)
	if err != nil {
		return nil, err
	}
	after, err := v.look(paths)
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		if before[i] != after[i] {
			moving[p] = true
		}
	}
	same := slices.DeleteFunc(paths, func(p change.Path) bool {
		top := first.top(p)
		d, ok := again[top]
		// Of a directory that one side lacks, the topmost stands for all below: as long as it is lacking.
		return !ok || top != p && (d.Extra != first.at[p].Extra || d.Missing != first.at[p].Missing)
	})
	return v.still(ctx, first, same, moving)
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
func (v *Verification) again(ctx context.Context, first found, paths []change.Path) (map[change.Path]transport.Difference, error) {
	var under []change.Path
	for _, p := range paths {
		under = append(under, first.top(p).Parent())
	}
	slices.Sort(under)
	under = slices.Compact(under)
	again := map[change.Path]transport.Difference{}
	return again, v.sweep(ctx, under, true, func(d transport.Difference) error {
		again[d.Path] = d
		return nil
	})
}
