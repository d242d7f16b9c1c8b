package replicate

import (
	"context"
	"fmt"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// extrasMax bounds what a comparison keeps back of what a target has too much.
const extrasMax = 100_000

// unjudgedMax is how many of them are asked for at once whether the source saw them go: soon, as that is forgotten a minute after they went there.
const unjudgedMax = 1000

// findings are what a comparison found. What the target has too much is owed when all of it is known: whether it is
// more than the removal budget allows.
type findings struct {
	sender *sender
	since  time.Time
	// whole: all of the target is compared. Where only a part is, it is because something went from the index, which
	// was judged by that.
	whole bool
	// byContent: they were found by content, so that size and time prove nothing.
	byContent bool
	extras    []change.Mark
	// extra and missing are how many paths the target has too much and too little, without those of which the source saw that they went: they were
	// judged by that.
	extra, missing int
	// unjudged are extras that are not counted yet.
	unjudged []change.Path
}

func (f *findings) add(ctx context.Context, d transport.Difference) error {
	m := change.Mark{Path: d.Path, Since: f.since}
	if !d.Dir || d.Missing || d.Extra {
		m.Bits = change.Live
	}
	if !d.Extra {
		if d.Missing {
			f.missing++
		} else if f.byContent && !d.Dir {
			return f.content(ctx, m)
		}
		return f.sender.owed.OweLow(ctx, m)
	}
	m.Bits |= change.Was(d.Dir)
	if d.Dir {
		// The source may have another one of that name by the time it is looked at.
		m.Bits |= change.Extras
	}
	f.extras, f.unjudged = append(f.extras, m), append(f.unjudged, m.Path)
	if len(f.unjudged) == unjudgedMax {
		f.count()
	}
	if len(f.extras) < extrasMax {
		return nil
	}
	return f.flush(ctx)
}

// count counts the extras that nobody has seen go.
func (f *findings) count() {
	f.extra += f.sender.owed.Surplus(f.unjudged...)
	f.unjudged = f.unjudged[:0]
}

// content owes a file whose content differs, and in one step its other names: what is not owed proves what it is linked to.
func (f *findings) content(ctx context.Context, m change.Mark) error {
	m.Bits |= change.Content
	marks := []change.Mark{m}
	index := f.sender.src.journal
	for _, m.Path = range index.Links(m.Path, index.Stat(m.Path)) {
		marks = append(marks, m)
	}
	return f.sender.owed.OweLow(ctx, marks...)
}

// flush judges what was found so far, and owes it.
func (f *findings) flush(ctx context.Context) error {
	f.count()
	budget := f.sender.src.options().RemovalBudget
	gone := f.extra - f.missing
	had := f.sender.src.journal.Indexed() + gone
	if f.whole && budget.exceeded(had, gone) {
		f.sender.src.brake.engage(f.sender.log, removalBudget, fmt.Sprintf("the target has %d paths that the source has not, and lacks %d of %d; the budget is %v",
			f.extra, f.missing, had-gone, budget))
	}
	for _, m := range f.extras {
		if err := f.sender.owed.OweLow(ctx, m); err != nil {
			return err
		}
	}
	f.extras = f.extras[:0]
	return nil
}
