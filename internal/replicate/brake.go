package replicate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/scan"
)

// Kinds of brakes.
const (
	rootGone     = "root-gone"
	rootReplaced = "root-replaced"
	rootEmpty    = "root-empty"
	mountChanged = "mount-changed"
	// removalBudget: the tree shrank by more than its budget.
	removalBudget = "removal-budget"
	// journalLost: nobody knows what the targets should no longer have.
	journalLost = "journal-lost"
)

// BrakeKinds are all kinds of brakes.
func BrakeKinds() []string {
	return []string{rootGone, rootReplaced, rootEmpty, mountChanged, removalBudget, journalLost}
}

// brake holds removals on all targets of a source, never transfers. It is released by a person, or by the
// root being as it was.
type brake struct {
	mu sync.Mutex
	// home is the root that was there at the start, or that a person approved.
	home change.Stat
	// root is on while the root is not what it was, empty from when it was found empty, budget from when too much went,
	// journal from when it was lost. A root that is back says nothing of the others.
	root, empty, budget, journal *Brake
	// mounts hold what is at and below directories where a file system came or went, and nothing else.
	mounts map[change.Path]lostMount
	spent  spending
	// kept keeps what is engaged, for the next start.
	kept func(brakeFact)
}

// brakeFact is what is kept of the brakes.
type brakeFact struct {
	Engaged []Brake
	Mounts  []mountFact
	// Had is the size of the tree when the budget was exceeded.
	Had int
}

// all are the brakes, in their order.
func (b *brake) all() []**Brake { return []**Brake{&b.root, &b.empty, &b.budget, &b.journal} }

// save keeps what is engaged. The brake is locked.
func (b *brake) save() {
	if b.kept == nil {
		return
	}
	f := brakeFact{Had: b.spent.had}
	for _, on := range b.all() {
		if *on != nil {
			f.Engaged = append(f.Engaged, **on)
		}
	}
	for p, m := range b.mounts {
		f.Mounts = append(f.Mounts, mountFact{[]byte(p), m})
	}
	b.kept(f)
}

// restore engages what was engaged when sersync ended. Whether the root is what it was is looked at anew.
func (b *brake) restore(log *slog.Logger, j *journal.Journal) {
	var f brakeFact
	if !j.Fact(brakesFact, &f) {
		return
	}
	for _, m := range f.Mounts {
		b.loseMount(log, change.Path(m.Path), m.lostMount)
	}
	for _, on := range f.Engaged {
		if on.Kind == rootGone || on.Kind == rootReplaced {
			continue
		}
		b.engage(log, on.Kind, on.Reason)
		b.mu.Lock()
		(*b.of(on.Kind)).Since = on.Since
		b.spent.had = f.Had
		b.save()
		b.mu.Unlock()
	}
}

// of is the brake of a kind.
func (b *brake) of(kind string) **Brake {
	switch kind {
	case rootEmpty:
		return &b.empty
	case removalBudget:
		return &b.budget
	case journalLost:
		return &b.journal
	}
	return &b.root
}

func (b *brake) engage(log *slog.Logger, kind, reason string) {
	b.mu.Lock()
	on := b.of(kind)
	engaged := *on != nil && (*on).Kind == kind
	if !engaged {
		*on = &Brake{Kind: kind, Reason: reason, Since: time.Now()}
		b.save()
	}
	b.mu.Unlock()
	if !engaged {
		log.Error("removals are held", "brake", kind, "reason", reason,
			"hint", "bring the source back as it was, or run 'sersync deletes approve' when it is meant to be so")
	}
}

// release takes back what was engaged of the given kinds. It reports whether nothing holds removals any more
// that something held before.
func (b *brake) release(log *slog.Logger, why string, kinds ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	released := false
	for _, on := range b.all() {
		if *on != nil && slices.Contains(kinds, (*on).Kind) {
			log.Info("removals are released", "brake", (*on).Kind, "reason", why)
			*on, released = nil, true
		}
	}
	if slices.Contains(kinds, removalBudget) {
		b.spent = spending{}
	}
	if slices.Contains(kinds, mountChanged) && len(b.mounts) > 0 {
		log.Info("removals are released", "brake", mountChanged, "reason", why)
		b.mounts, released = nil, true
	}
	if released {
		b.save()
	}
	return released && b.first() == nil
}

// first is what is engaged, nil when nothing is.
func (b *brake) first() *Brake {
	for _, on := range b.all() {
		if *on != nil {
			return *on
		}
	}
	return nil
}

// engaged is why all removals are held; nil when they are not.
func (b *brake) engaged() *Brake {
	b.mu.Lock()
	defer b.mu.Unlock()
	on := b.first()
	if on == nil {
		return nil
	}
	why := *on
	return &why
}

// lost reports whether removals are held because the root was found empty, what was mounted below it went, too
// much went, or the journal was lost.
func (b *brake) lost() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.empty != nil || len(b.mounts) > 0 || b.budget != nil || b.journal != nil
}

// isHome reports whether st is the root that was there at the start or was approved.
func (b *brake) isHome(st change.Stat) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return st.Inode() == b.home.Inode()
}

func (b *brake) moveHome(st change.Stat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.home = st
}

// mayRemove is asked right before removals are handed to a transport: is the root still what was looked at, and is
// enough of it there?
func (s *session) mayRemove() verdict {
	if s.interlock() != nil || s.src.brake.engaged() != nil {
		return held
	}
	if v := s.judge(); v != allowed {
		return v
	}
	if !s.src.journal.Settled() {
		return undecided
	}
	return allowed
}

// interlock engages the brake when the root is not what it was. It reports what the check said.
func (s *session) interlock() error {
	err := s.root.Check()
	switch {
	case errors.Is(err, scan.ErrRootGone):
		s.src.brake.engage(s.src.log, rootGone, err.Error())
	case errors.Is(err, scan.ErrRootReplaced):
		s.src.brake.engage(s.src.log, rootReplaced, err.Error())
	case err != nil:
		s.src.brake.engage(s.src.log, rootGone, "the source root cannot be looked at: "+err.Error())
	}
	return err
}

// guard looks at the root every second. It ends the session when the root is another one, and
// releases the brake of a source that lost something when nothing is held by it any more, or when it is back. It
// judges the tree for targets that are away as well: what they lack is held when they are there again.
func (s *session) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.interlock()
		if errors.Is(err, scan.ErrRootGone) || errors.Is(err, scan.ErrRootReplaced) {
			cancel(err)
			return
		}
		if err == nil {
			s.there = time.Now()
			s.src.back(s)
			s.mountsAgain()
		}
		if s.src.brake.engaged() == nil {
			s.judge()
		}
		if s.regained() {
			s.src.release("most of what had gone is back", removalBudget)
		}
		if s.src.brake.lost() && s.atRest() {
			s.src.release("nothing is held any more", rootEmpty, mountChanged, removalBudget, journalLost)
		}
	}
}

// atRest reports whether nothing is owed to any target but dead letters, nor will be by a walk.
func (s *session) atRest() bool {
	if _, walking := s.walks.oldest(); walking {
		return false
	}
	for _, r := range s.src.running() {
		if c := r.sender.owed.Counts(); c.Waiting > 0 {
			return false
		}
	}
	return true
}
