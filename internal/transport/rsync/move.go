package rsync

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"sersync/internal/change"
	"sersync/internal/transport"
)

var _ transport.Mover = (*Transport)(nil)

// Move implements transport.Mover: rsync links what it finds in the old directory to the new one (--link-dest), and the old one is
// removed. A target with a trash is left alone: what was renamed would lie in the trash. So are swaps and files, which rsync has no way
// for: it links what has the same name in another directory.
func (t *Transport) Move(ctx context.Context, root *os.File, moves []transport.Move) ([]bool, error) {
	done := make([]bool, len(moves))
	if t.o.Trash {
		return done, nil
	}
	// taken are the directories that are to be moved away yet, or could not be.
	taken := map[change.Path]bool{}
	for _, m := range moves {
		taken[m.From] = true
	}
	for again := true; again; {
		again = false
		for i, m := range moves {
			if done[i] || taken[m.To] || !taken[m.From] || !t.movable(m) {
				continue
			}
			err := t.move(ctx, root, m)
			if stops(ctx, err) {
				return done, err
			}
			if err != nil {
				t.o.Log.Info("a directory was not moved on the target; what is in it is sent", "from", m.From.String(), "to", m.To.String(), "error", err)
				moves = slices.Clone(moves)
				moves[i].Known = nil // not tried again
				continue
			}
			done[i], again = true, true
			delete(taken, m.From)
		}
	}
	return done, nil
}

// movable reports whether a move can be told to rsync. The names are part of its address: a daemon takes wildcards in them for
// what they are elsewhere, and an rsync older than 3.1.3 would compare all by content.
func (t *Transport) movable(m transport.Move) bool {
	odd := func(r byte) bool { return r < ' ' || r == 0x7f || strings.IndexByte(`*?[]\`, r) >= 0 }
	return len(m.Known) > 0 && !t.old() && !slices.ContainsFunc([]byte(m.From+m.To), odd)
}

// stops reports whether an error is a state of the target, or the end of ctx.
func stops(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return err != nil
	}
	var te *transport.Error
	if !errors.As(err, &te) {
		return false
	}
	switch te.Kind {
	case transport.Broken, transport.Misconfigured, transport.RemovalsRefused:
		return te.Unclean
	}
	return true
}

var errNotThere = errors.New("the target does not have it")

// move does one move. nil says that it is done.
func (t *Transport) move(ctx context.Context, root *os.File, m transport.Move) error {
	if m.Clear {
		if err := t.clear(ctx, m.To); err != nil {
			return err
		}
	}
	// rsync makes no more than the last directory of its address.
	report, err := t.Apply(ctx, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{m.To}, Keep: true})
	if err != nil {
		return err
	}
	if len(report.Failed) > 0 {
		return report.Failed[0].Err
	}
	s, err := t.spawnerFor(root)
	if err != nil {
		return err
	}
	defer s.release()
	sends, err := t.link(ctx, moveTry, s, m)
	if err != nil {
		return err
	}
	if 2*len(sends) > len(m.Known) {
		return errNotThere
	}
	m.Known = slices.DeleteFunc(slices.Clone(m.Known), func(p change.Path) bool { return sends[p] })
	if _, err := t.link(ctx, move, s, m); err != nil {
		return err
	}
	if m.Exact {
		return nil // what was linked goes by its old names
	}
	return t.clear(ctx, m.From)
}

// clear removes a directory of the target, whether the source has one there or not.
func (t *Transport) clear(ctx context.Context, p change.Path) error {
	return t.inEmpty(ctx, func(s *spawner) error { return t.removeThere(ctx, s, []change.Path{p}) })
}

// link is one run of a line from To to To. It returns the files of which content is sent.
func (t *Transport) link(ctx context.Context, l line, s *spawner, m transport.Move) (sends map[change.Path]bool, err error) {
	r, err := s.startRun(&t.o, l, t.o.moveArgs(l, m))
	if err != nil {
		return nil, startError(err)
	}
	c := newClassifier(&t.o, s.rootName(), l, m.Known)
	below := make([]change.Path, len(m.Known))
	for i, p := range m.Known {
		below[i] = p[len(m.To)+1:]
	}
	sends = map[change.Path]bool{}
	e := r.finish(ctx, listOf(l, below), t.limits(), func(line []byte) error {
		if it, ok := parseItem(line); ok && it.sent {
			sends[m.To.Join(string(it.path))] = true
		}
		return nil
	})
	if l == moveTry {
		e.began = false // a dry run leaves nothing at work over there
	}
	var report transport.Report
	if err := c.verdict(e, t.settle(), &report); err != nil {
		return nil, err
	}
	if len(report.Failed) > 0 {
		return nil, report.Failed[0].Err
	}
	return sends, nil
}

// moveArgs are the arguments of a run that has To both as the source and as the target.
func (o *Options) moveArgs(l line, m transport.Move) []string {
	from := slash(o.Dir) + string(m.From)
	if o.daemon() {
		from = path.Join("/", o.Dir, string(m.From)) // below the module
	}
	args := append(o.options(l, byList, false), "--link-dest="+from)
	args = append(args, o.connection()...)
	return append(args, "./"+string(m.To)+"/", o.destination()+string(m.To)+"/")
}
