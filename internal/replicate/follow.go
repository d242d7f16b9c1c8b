package replicate

import (
	"context"
	"errors"
	"slices"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/transport"
)

// errPaused: the target was paused before anything was done.
var errPaused = errors.New("the target is paused")

// follow has the target move what was renamed at the source, before anything that was marked since is sent. Nothing depends on it: what
// was renamed is owed a comparison with all that is below, and its old place a removal. They find what was not moved, or wrongly.
// It reports whether the batch goes on.
func (s *sender) follow(ctx context.Context, sess *session) bool {
	if hints := s.owed.Moved(); len(s.holding(sess, hints)) < len(hints) {
		// Where that is by now may be on its way: it was renamed once more.
		_ = sess.barrier(ctx, false)
	}
	hints, taken := s.owed.TakeMoved()
	if len(hints) == 0 {
		return true
	}
	moves := s.moves(s.holding(sess, hints))
	moved, err := s.move(ctx, sess, moves)
	if err != nil && s.unmoved(ctx, moves, err) && len(moved) == 0 && s.owed.MovedAgain(hints, taken) {
		return false
	}
	s.unfollowed(hints, moved)
	return err == nil
}

// move returns what was moved.
func (s *sender) move(ctx context.Context, sess *session, moves []transport.Move) (moved []transport.Move, err error) {
	mover, ok := s.opts.Transport.(transport.Mover)
	if !ok || len(moves) == 0 || !s.mayMove(sess) {
		return nil, nil
	}
	if !s.gate.enter() {
		return nil, errPaused
	}
	defer s.gate.leave()
	release, err := s.src.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	done, err := mover.Move(ctx, sess.root.File(), moves)
	s.src.shared().DropAll()
	for i, m := range moves {
		if done[i] {
			moved = append(moved, m)
			for _, p := range append(m.Known, m.To, m.From) {
				s.owed.Changed(journal.Changed{Path: p, Bits: anything})
			}
			s.log.Debug("moved on the target", "from", m.From.String(), "to", m.To.String(), "paths", len(m.Known))
		}
	}
	return moved, err
}

// unfollowed has compared by content what came to where the target may have something else, and was not moved there.
func (s *sender) unfollowed(hints []journal.Moved, moved []transport.Move) {
	for _, h := range hints {
		if !h.Clear || slices.ContainsFunc(moved, func(m transport.Move) bool { return m.To == h.To }) {
			continue
		}
		for _, p := range s.src.journal.Below(h.To) {
			if s.src.journal.Stat(p).IsRegular() {
				s.owed.Owe(change.Mark{Path: p, Since: time.Now(), Bits: change.Content})
			}
		}
	}
}

// mayMove reports whether directories may go from where they were on the target, as what is removed does.
func (s *sender) mayMove(sess *session) bool {
	opts := s.src.options()
	return !opts.NoRemovals && !s.src.brake.holds(change.Root) && sess.mayRemove() == allowed
}

// holding are the hints that hold by now: what is at To is what was renamed. What is at From by now, if anything, is something else, and is sent
// after that.
func (s *sender) holding(sess *session, hints []journal.Moved) (hold []journal.Moved) {
	looks := sess.root.Looks()
	defer looks.Close()
	for _, h := range hints {
		renamed := h.File
		if !renamed.Exists() {
			renamed = s.src.journal.Stat(h.To)
		}
		if to, err := looks.Look(h.To); err == nil && to.At == h.To && to.Stat.Exists() && to.Stat.SameFile(renamed) {
			hold = append(hold, h)
		}
	}
	return hold
}

func (s *sender) moves(hints []journal.Moved) (moves []transport.Move) {
	for _, h := range hints {
		if s.carries(h.From) || s.carries(h.To) {
			continue
		}
		if h.File.Exists() {
			moves = append(moves, transport.Move{From: h.From, To: h.To, File: h.File})
		} else if m, ok := s.directory(h); ok {
			moves = append(moves, m)
		}
	}
	return moves
}

// directory is the move of a directory. Where a filter has rules, nothing is cleared: the target may have something there that stays.
func (s *sender) directory(h journal.Moved) (m transport.Move, ok bool) {
	m = transport.Move{From: h.From, To: h.To, Clear: h.Clear, Exact: s.src.options().Filter.Any()}
	if m.Exact {
		m.Maybe, ok = s.owed.Unsure(h.From, h.To)
		if !ok || h.Clear {
			return m, false
		}
	}
	m.Known = s.owed.Movable(h.To)
	return m, true
}

// carries reports whether the large file that is being sent is at or below p, or p is below it.
func (s *sender) carries(p change.Path) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.large != nil && (*s.large == p || s.large.Below(p) || p.Below(*s.large))
}

// unmoved settles moves that failed as a whole: a state of the target. It reports whether they may be tried again.
func (s *sender) unmoved(ctx context.Context, moves []transport.Move, err error) bool {
	if ctx.Err() != nil || errors.Is(err, errPaused) {
		return true
	}
	te := targetError(err)
	s.lookAgain(te)
	if te.Unclean {
		at := time.Now().Add(te.Settle)
		for _, m := range moves {
			to, from := change.Tree|change.Extras, change.Extras|change.WasDir
			if m.File.Exists() {
				to, from = change.Content, change.WasFile
			}
			s.owed.Again(at, change.Mark{Path: m.To, Bits: to}, change.Mark{Path: m.From, Bits: from})
		}
	}
	s.away.fail()
	s.report.failed(te, s.away.until)
	return !te.Unclean && (te.Kind == transport.Away || te.Kind == transport.Busy)
}
