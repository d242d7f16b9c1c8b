package journal

import (
	"context"
	"slices"

	"sersync/internal/change"
)

// lowMax bounds the marks of low priority that wait for one target; whoever adds more waits.
const lowMax = 10_000

// OweLow marks paths for this target only, in one step, to be taken when there is nothing else. While there are too many
// of them it waits, until ctx ends.
func (t *Target) OweLow(ctx context.Context, marks ...change.Mark) error {
	for {
		t.j.mu.Lock()
		if t.lows < lowMax {
			break
		}
		room := t.room
		t.j.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer t.j.mu.Unlock()
	for _, m := range marks {
		t.oweLow(m)
	}
	t.wake()
	return nil
}

func (t *Target) oweLow(m change.Mark) {
	o := t.owed[m.Path]
	switch {
	case o == nil:
		t.j.seq++
		m.Seq = t.j.seq
		o = t.row(m)
		o.low, o.queued = true, true
		t.low = append(t.low, o)
		t.lows++
		if len(t.low) > 2*lowMax {
			// Rows that a live mark lifted out of the queue still stand in it.
			t.low = slices.DeleteFunc(t.low, func(o *owed) bool { return !o.low })
		}
	case o.low:
		t.j.seq++
		m.Seq = t.j.seq
		o.Mark = o.Merge(m)
		t.unsaved.owed.add(m.Path)
	default:
		t.owe(m)
	}
}
