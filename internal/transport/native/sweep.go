package native

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// entriesMax bounds what this side lists in the directories whose questions are not answered yet. extrasMax bounds how many directories
// that the target has too much are to be asked about: what is in those beyond it is not told, and goes with them, or is found the next time.
const (
	entriesMax = 1 << 17
	extrasMax  = 1 << 18
)

// sweep is one comparison under way. A directory is asked about with a hash of what the source has in it; only where the target has something else is it
// listed over there. The answers come in the order of the questions.
type sweep struct {
	transport.Sweep
	*inquiry
	root    *scan.Root
	looks   *scan.Looks
	yield   func(transport.Difference) error
	exclude *filter.Filter
	bound   *rate.Limiter
	spoke   time.Time
	// xattrs: extended attributes are compared, too.
	xattrs bool
	// unread are files whose content could not be read; unknown says what of all could not be compared first.
	unread  map[change.Path]struct{}
	unknown *transport.Error

	// todo are the directories to ask about, the next one last; asked those without a whole answer, with so many entries.
	todo    []question
	asked   []question
	entries int
	// extras is how many directories of todo the target has too much.
	extras int
}

// question is one directory.
type question struct {
	path change.Path
	// extra: the source has none, and all that is in that of the target is too much.
	extra bool
	// shallow: what is below its directories is not compared.
	shallow bool
	// here is what the source has, sorted by name; what is before at was compared. last is the last name that the target told.
	here []wire.Listed
	at   int
	last *string
}

// Sweep implements transport.Transport.
func (t *Transport) Sweep(ctx context.Context, s transport.Sweep, yield func(transport.Difference) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	root, err := scan.RootOf(s.Root)
	if err != nil {
		return &transport.Error{Kind: transport.SourceGone, Err: err}
	}
	exclude, err := excludes(s.Exclude)
	if err != nil {
		return &transport.Error{Kind: transport.Misconfigured, Err: err, Hint: "correct sweep: exclude in the configuration"}
	}
	c, err := t.take(ctx)
	if err != nil {
		return err
	}
	w := &sweep{
		Sweep: s, root: root, looks: root.Looks(), yield: yield, exclude: exclude, bound: bound(s.Rate),
		unread: map[change.Path]struct{}{}, xattrs: c.facts.Xattrs && (s.Content || t.o.Xattrs),
	}
	defer w.looks.Close()
	err = t.inquire(ctx, c, &wire.Compare{Content: s.Content}, func(q *inquiry) error {
		w.inquiry = q
		return w.run(ctx)
	})
	if err == nil && w.unknown != nil {
		return w.unknown
	}
	return err
}

// bound is that of what is read here.
func bound(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), wire.SumChunk)
}

// excludes is a filter of rsync patterns. One with a slash inside it matches at any depth there, and one that ends with three stars matches the
// directory and what is in it.
func excludes(patterns []string) (*filter.Filter, error) {
	var rules []filter.Rule
	for _, p := range patterns {
		p = strings.TrimSuffix(p, "***")
		if i := strings.IndexByte(p, '/'); i > 0 && i < len(p)-1 {
			p = "**/" + p
		}
		rules = append(rules, filter.Glob("", p))
	}
	return filter.New(rules...)
}

func (w *sweep) run(ctx context.Context) error {
	for _, p := range slices.Backward(w.Under) {
		w.todo = append(w.todo, question{path: p, shallow: w.Shallow})
	}
	for (len(w.todo) > 0 || len(w.asked) > 0) && ctx.Err() == nil {
		if len(w.todo) == 0 || len(w.asked) == wire.MaxQuestions || w.entries >= entriesMax {
			if err := w.answer(ctx); err != nil {
				return err
			}
			continue
		}
		q := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if q.extra {
			w.extras--
		}
		if err := w.ask(ctx, q); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ask asks about one directory, after this side has listed it.
func (w *sweep) ask(ctx context.Context, q question) error {
	m := &wire.Dir{Path: q.path, All: q.extra}
	if !q.extra {
		var err error
		q.here, m.Xattrs, err = w.list(ctx, q.path)
		switch {
		case scan.NotThere(err):
			return nil // it went: an event tells of it
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			w.cannotCompare(fmt.Errorf("list directory %q: %w", string(q.path), err))
			return nil
		}
		m.Sum = w.c.facts.SumOf(q.here)
		if !q.shallow {
			w.below(&q)
		}
	}
	w.asked = append(w.asked, q)
	w.entries += len(q.here)
	return w.c.put(m)
}

// below puts the directories of the source in a directory on the list, so that they are asked about by name, and each before what is beside it.
// Whoever links names of files counts on the order.
func (w *sweep) below(q *question) {
	for _, l := range slices.Backward(q.here) {
		if l.Name != "" && l.Attr.IsDir() {
			w.todo = append(w.todo, question{path: q.path.Join(l.Name)})
		}
	}
}

// answer waits for the answer to the oldest question, and tells what it says.
func (w *sweep) answer(ctx context.Context) error {
	for {
		m, err := w.next(ctx)
		if err != nil {
			return err
		}
		l, ok := m.(*wire.Listing)
		if !ok || len(w.asked) == 0 {
			return fmt.Errorf("%T as an answer to a comparison: %w", m, wire.ErrFrame)
		}
		q := &w.asked[0]
		if l.Unknown {
			w.cannotCompare(fmt.Errorf("the target cannot list %q: %s", string(q.path), printable(l.Text)))
		} else if err := w.tell(q, l); err != nil {
			return err
		}
		if l.Last {
			w.entries -= len(q.here)
			w.asked = w.asked[1:]
			return nil
		}
	}
}

// tell tells the differences in one directory, of which m is the next piece that the target has.
func (w *sweep) tell(q *question, m *wire.Listing) error {
	switch {
	case m.Equal:
		return nil
	case m.Absent && q.extra:
		return nil
	case m.Absent:
		return w.tellMissing(q)
	}
	for _, l := range m.Entries {
		proper := !strings.Contains(l.Name, "/") && (l.Name == "" || q.path.Join(l.Name).Valid())
		if q.last == nil && l.Name != "" || q.last != nil && l.Name <= *q.last || !proper {
			return fmt.Errorf("a listing with the name %q in a place where it cannot be: %w", l.Name, wire.ErrFrame)
		}
		q.last = &l.Name
		if err := w.tellThere(q, l); err != nil {
			return err
		}
	}
	if !m.Last {
		return nil
	}
	return w.tellHere(q, func(string) bool { return true })
}

// tellThere compares an entry that the target has.
func (w *sweep) tellThere(q *question, l wire.Listed) error {
	p := q.path
	if l.Name != "" {
		p = p.Join(l.Name)
	}
	if w.left(p, l.Attr.IsDir()) {
		return nil
	}
	if err := w.tellHere(q, func(name string) bool { return name < l.Name }); err != nil {
		return err
	}
	if q.at < len(q.here) && q.here[q.at].Name == l.Name {
		mine := q.here[q.at]
		q.at++
		if _, unread := w.unread[p]; unread || w.same(mine, l) {
			return nil
		}
		if mine.Attr.Size == l.Attr.Size && mine.Attr.Mtime == l.Attr.Mtime && mine.Sum == l.Sum {
			mine.Attr.Size = 0 // nothing of its content is sent
		}
		return w.differs(q.path, mine, false)
	}
	if !w.Extras || l.Name == "" {
		return nil
	}
	if l.Attr.IsDir() && w.extras < extrasMax {
		w.extras++
		w.todo = append(w.todo, question{path: p, extra: true})
	}
	return w.tellOne(transport.Difference{Path: p, Extra: true, Dir: l.Attr.IsDir()})
}

// tellHere tells what the source has and the target has not, as long as it comes before.
func (w *sweep) tellHere(q *question, before func(name string) bool) error {
	for ; q.at < len(q.here) && before(q.here[q.at].Name); q.at++ {
		if err := w.differs(q.path, q.here[q.at], true); err != nil {
			return err
		}
	}
	return nil
}

func (w *sweep) same(a, b wire.Listed) bool {
	return w.c.facts.Canon(a.Attr) == w.c.facts.Canon(b.Attr) && a.Sum == b.Sum && (a.Xattrs == b.Xattrs || a.Unreadable || b.Unreadable)
}

func (w *sweep) differs(dir change.Path, l wire.Listed, missing bool) error {
	p := dir
	if l.Name != "" {
		p = dir.Join(l.Name)
	}
	return w.tellOne(transport.Difference{Path: p, Missing: missing, Dir: l.Attr.IsDir(), Size: l.Attr.Size})
}

// tellMissing tells of a directory of the source that the target has not. What is below its directories follows when their turn
// comes, as the target has none of them either.
func (w *sweep) tellMissing(q *question) error {
	for _, l := range q.here {
		if l.Name == "" && !slices.Contains(w.Under, q.path) {
			continue // it was told of as an entry
		}
		if err := w.differs(q.path, l, true); err != nil {
			return err
		}
	}
	return nil
}

func (w *sweep) tellOne(d transport.Difference) error {
	if err := w.yield(d); err != nil {
		return errYield{err}
	}
	return nil
}
