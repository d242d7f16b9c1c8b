package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// tooOld is the error of a target that knows no trash.
func tooOld(program string) error {
	return &transport.Error{
		Kind: transport.Misconfigured, Err: fmt.Errorf("the target is sersync %s, which is too old for a trash", printable(program)),
		Hint: "install the same version of sersync on both, or leave out \"trash\" for this target",
	}
}

// day is that of the trash to which goes what a batch takes away; empty where there is none.
func (t *Transport) day() string {
	if !t.o.Trash {
		return ""
	}
	return transport.Day(time.Now())
}

// How many questions are asked ahead of the answers, and how many names of directories that were not asked for yet are kept: a target that
// tells of more has more than it can have.
const (
	aheadMax = 64
	namesMax = 1 << 22
)

// trash is one conversation about what the trash of a target holds.
type trash struct {
	*inquiry
	names int // in lists that are not done with
}

// inTrash has a conversation. An error of do is returned as it is, unless it is of the connection.
func (t *Transport) inTrash(ctx context.Context, do func(*trash) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ask for the trash: %w", err)
	}
	c, err := t.take(ctx)
	if err != nil {
		return err
	}
	if c.version < wire.Trash {
		t.give(c)
		return tooOld(c.program)
	}
	return t.inquire(ctx, c, &wire.Compare{Trash: true}, func(q *inquiry) error { return do(&trash{inquiry: q}) })
}

// list lists a directory of the trash; nothing where there is none.
func (w *trash) list(ctx context.Context, p change.Path) ([]wire.Listed, error) {
	if err := w.c.put(&wire.Dir{Path: p, All: true}); err != nil {
		return nil, err
	}
	var all []wire.Listed
	for {
		m, err := w.next(ctx)
		if err != nil {
			return nil, err
		}
		l, ok := m.(*wire.Listing)
		switch {
		case !ok:
			return nil, fmt.Errorf("%T in the place of a listing: %w", m, wire.ErrFrame)
		case l.Unknown:
			return nil, &transport.Error{Kind: transport.Broken, Err: fmt.Errorf("list %q in the trash: %s", string(p), printable(l.Text))}
		}
		for _, e := range l.Entries {
			if e.Name == "" {
				continue // the directory itself
			}
			if strings.Contains(e.Name, "/") || !p.Join(e.Name).Valid() {
				return nil, fmt.Errorf("a listing with the name %q: %w", e.Name, wire.ErrFrame)
			}
			if !apply.Reserved(e.Name) {
				all = append(all, e)
			}
		}
		if w.names+len(all) > namesMax {
			return nil, &transport.Error{Kind: transport.Broken, Err: fmt.Errorf("the trash has more than %d names at a time", namesMax)}
		}
		if l.Last {
			return all, nil
		}
	}
}

// days are the days of which the trash has something, in their order.
func (w *trash) days(ctx context.Context) ([]string, error) {
	all, err := w.list(ctx, change.Root)
	var days []string
	for _, l := range all {
		if l.Attr.IsDir() && transport.IsDay(l.Name) {
			days = append(days, l.Name)
		}
	}
	slices.Sort(days)
	return days, err
}

// errMissing: the trash has no such path.
var errMissing = errors.New("it is not in the trash")

// entry is what the target says of a path; missing is why it says nothing. Content follows.
func (w *trash) entry(ctx context.Context, p change.Path) (e *wire.Entry, missing, err error) {
	m, err := w.next(ctx)
	if err != nil {
		return nil, nil, err
	}
	switch m := m.(type) {
	case *wire.Entry:
		if m.Path == p && !m.Inline {
			return m, nil, nil
		}
	case *wire.Result:
		if m.Outcome == wire.Same {
			return nil, errMissing, nil
		}
		return nil, errors.New(printable(m.Text)), nil
	}
	return nil, nil, fmt.Errorf("%T in the place of what is in the trash: %w", m, wire.ErrFrame)
}

// content is the next step of the content of a file; nil at its end.
func (w *trash) content(ctx context.Context) (*delta.Op, error) {
	m, err := w.next(ctx)
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *wire.ContentEnd:
		return nil, nil
	case *wire.Result:
		return nil, errUnread{errors.New(printable(m.Text))}
	case *wire.Content:
		if m.Op.Kind == delta.Data || m.Op.Kind == delta.Hole {
			return &m.Op, nil
		}
	}
	return nil, fmt.Errorf("%T in the content of a file of the trash: %w", m, wire.ErrFrame)
}

// errUnread marks that the target could not read a file to its end. The next one follows.
type errUnread struct{ error }

// ask asks for what is at a path, without its content.
func (w *trash) ask(ctx context.Context, p change.Path) (e *wire.Entry, missing, err error) {
	if err := w.c.put(&wire.Fetch{Path: p}); err != nil {
		return nil, nil, err
	}
	e, missing, err = w.entry(ctx, p)
	if err == nil && missing == nil {
		_, err = w.content(ctx)
	}
	return e, missing, err
}
