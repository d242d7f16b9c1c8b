package native

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// trash is one conversation about what the trash of a target holds. The answers come in the order of the questions.
type trash struct {
	c     *conn
	names int // in lists that are not done with
	dealt int // how many answers were dealt with since the target was told

	mu      sync.Mutex
	answers []wire.Message // guarded by mu
	news    chan struct{}
	refused *transport.Error // guarded by mu
	done    bool             // guarded by mu
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
	w := &trash{c: c, news: make(chan struct{}, 1)}
	c.listen(w.take)
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	if err = c.put(&wire.Compare{Trash: true}); err == nil {
		err = do(w)
	}
	if err == nil {
		err = w.end(ctx)
	}
	stop()
	c.silence()
	if err == nil {
		t.give(c)
		return nil
	}
	c.nc.Close() // what else is under way goes on
	var own errYield
	if errors.As(err, &own) {
		return own.error
	}
	return t.ended(ctx, c, err)
}

// take takes what the target says, in the goroutine that reads.
func (w *trash) take(m wire.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer poke(w.news)
	switch m := m.(type) {
	case *wire.Done:
		w.done = true
		return nil
	case *wire.Refused:
		w.refused = refusal(m)
		return nil
	case *wire.Listing, *wire.ContentEnd:
		return w.keep(m)
	// The reader uses these again.
	case *wire.Entry:
		kept := *m
		return w.keep(&kept)
	case *wire.Content:
		return w.keep(&wire.Content{Encoded: bytes.Clone(m.Encoded)})
	case *wire.Result:
		kept := *m
		return w.keep(&kept)
	}
	return fmt.Errorf("%T as an answer about the trash: %w", m, wire.ErrFrame)
}

// keep is called with the lock.
func (w *trash) keep(m wire.Message) error {
	if len(w.answers) == wire.MaxListings {
		return fmt.Errorf("more than %d answers that were not asked for: %w", wire.MaxListings, wire.ErrFrame)
	}
	w.answers = append(w.answers, m)
	return nil
}

// next waits for the next message.
func (w *trash) next(ctx context.Context) (m wire.Message, err error) {
	if err := w.c.flush(); err != nil {
		return nil, err
	}
	for {
		w.mu.Lock()
		if len(w.answers) > 0 {
			m = w.answers[0]
			w.answers = w.answers[1:]
		}
		refused, done := w.refused, w.done
		w.mu.Unlock()
		switch {
		case m != nil:
			return m, w.more()
		case refused != nil:
			return nil, refused
		case done:
			return nil, fmt.Errorf("the end of a conversation before its answers: %w", wire.ErrFrame)
		}
		if _, err := await(ctx, w.c, w.news); err != nil {
			return nil, err
		}
	}
}

// more lets the target go on.
func (w *trash) more() error {
	if w.dealt++; w.dealt < wire.MaxListings/2 {
		return nil
	}
	n := w.dealt
	w.dealt = 0
	return w.c.say(&wire.More{Listings: n})
}

// end ends the conversation.
func (w *trash) end(ctx context.Context) error {
	if err := w.c.say(&wire.End{}); err != nil {
		return err
	}
	for {
		w.mu.Lock()
		over, extra := w.done || w.refused != nil, len(w.answers)
		w.mu.Unlock()
		switch {
		case extra > 0:
			return fmt.Errorf("%d answers that nobody asked for: %w", extra, wire.ErrFrame)
		case over:
			return nil
		}
		if _, err := await(ctx, w.c, w.news); err != nil {
			return err
		}
	}
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
		op, err := delta.NewReader(bufio.NewReader(bytes.NewReader(m.Encoded))).Read()
		if err == nil && (op.Kind == delta.Data || op.Kind == delta.Hole) {
			return &op, nil
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
