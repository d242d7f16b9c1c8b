package replicate

import (
	"context"
	"slices"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/transport"
)

// follow has the target move what was renamed at the source, before anything that was marked since is sent. Nothing depends on it: what
// was renamed is owed a comparison with all that is below, and its old place a removal. They find what was not moved, or wrongly.
// It reports whether the batch goes on.
func (s *sender) follow(ctx context.Context, sess *session) bool {
	hints, taken := s.owed.TakeMoved()
	mover, ok := s.opts.Transport.(transport.Mover)
	if len(hints) == 0 || !ok || !s.mayMove(sess) {
		return true
	}
	moves := s.moves(sess, hints)
	if len(moves) == 0 {
		return true
	}
	if !s.gate.enter() {
		s.owed.MovedAgain(hints, taken)
		return false
	}
	defer s.gate.leave()
	release, err := s.src.slot(ctx)
	if err != nil {
		return false
	}
	defer release()
	done, err := mover.Move(ctx, sess.root.File(), moves)
	for i, m := range moves {
		if done[i] {
			s.owed.Changed(append(m.Known, m.To)...)
			s.log.Info("a directory was moved on the target", "from", m.From.String(), "to", m.To.String(), "paths", len(m.Known))
		}
	}
	if err == nil {
		return true
	}
	if again := s.unmoved(ctx, moves, err); again && !slices.Contains(done, true) {
		s.owed.MovedAgain(hints, taken)
	}
	return false
}

// mayMove reports whether directories may go from where they were on the target, as what is removed does.
func (s *sender) mayMove(sess *session) bool {
	opts := s.src.options()
	s.mu.Lock()
	large := s.large
	s.mu.Unlock()
	return !opts.NoRemovals && !opts.Filter.Any() && large == nil && !s.src.brake.holds(change.Root) && sess.mayRemove() == allowed
}

// moves are the hints that hold by now: there is a directory at To, and none at From but one that comes from elsewhere.
func (s *sender) moves(sess *session, hints []journal.Moved) (moves []transport.Move) {
	arrives := map[change.Path]bool{}
	for _, h := range hints {
		arrives[h.To] = true
	}
	looks := sess.root.Looks()
	defer looks.Close()
	for _, h := range hints {
		to, err := looks.Look(h.To)
		from, unsure := looks.Look(h.From)
		gone := unsure == nil && (from.At != h.From || !from.Stat.Exists())
		if err == nil && to.At == h.To && to.Stat.IsDir() && (gone || arrives[h.From]) {
			moves = append(moves, transport.Move{From: h.From, To: h.To, Clear: h.Clear, Known: s.owed.Movable(h.To)})
		}
	}
	return moves
}

// unmoved settles moves that failed as a whole: a state of the target. It reports whether they may be tried again.
func (s *sender) unmoved(ctx context.Context, moves []transport.Move, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	te := targetError(err)
	s.lookAgain(te)
	if te.Unclean {
		at := time.Now().Add(te.Settle)
		for _, m := range moves {
			s.owed.Again(at, change.Mark{Path: m.To, Bits: change.Tree | change.Extras}, change.Mark{Path: m.From, Bits: change.Extras | change.WasDir})
		}
	}
	s.away.fail()
	s.report.failed(te, s.away.until)
	return !te.Unclean && (te.Kind == transport.Away || te.Kind == transport.Busy)
}
