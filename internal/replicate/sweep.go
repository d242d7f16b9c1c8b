package replicate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
	"sersync/internal/transport"
)

// sweeps are the directories that one target is to be compared in, with the marks that ask for it.
type sweeps struct {
	mu      *sync.Mutex
	waiting map[change.Path][]change.Mark
	doing   *SweepStatus
	// most is how many directories are compared in one go: less while comparisons fail, as one directory that is replaced
	// meanwhile fails that of all.
	most int
	// done is how many comparisons of everything came to their end, end when the last one did.
	done int
	end  time.Time
	news chan struct{}
}

func newSweeps() sweeps {
	return sweeps{
		mu: new(sync.Mutex), waiting: map[change.Path][]change.Mark{}, most: sweepMax,
		news: make(chan struct{}, 1),
	}
}

// sweepMax is how many directories are compared in one go at the most.
const sweepMax = 1024

func (w *sweeps) add(p change.Path, m change.Mark) {
	w.mu.Lock()
	w.waiting[p] = append(w.waiting[p], m)
	w.mu.Unlock()
	poke(w.news)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// comparison is what is compared in one go.
type comparison struct {
	under []change.Path
	// shallow: the entries of these directories only.
	shallow bool
	// extras: also what the target has too much.
	extras bool
	marks  []change.Mark
}

// everything reports whether all of the target is compared.
func (c *comparison) everything() bool { return !c.shallow && c.under[0] == change.Root }

func (c *comparison) add(p change.Path, marks []change.Mark) {
	c.under = append(c.under, p)
	c.mark(marks)
}

func (c *comparison) mark(marks []change.Mark) {
	for _, m := range marks {
		c.extras = c.extras || m.Bits&(change.Extras|change.Entries) != 0
	}
	c.marks = append(c.marks, marks...)
}

// take takes what waits: everything, when that is asked for, or else directories. One below another one is part of it;
// those of which the entries alone are asked for come last. These are not taken together, as they differ in what is left out.
func (w *sweeps) take() (c comparison, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ms := w.waiting[change.Root]; deep(ms) {
		c.add(change.Root, ms)
		delete(w.waiting, change.Root)
	}
	for _, shallow := range []bool{false, true} {
		if len(c.under) > 0 {
			break
		}
		c.shallow = shallow
		w.directories(&c)
	}
	if len(c.under) == 0 {
		return c, false
	}
	w.doing = &SweepStatus{Since: time.Now()}
	return c, true
}

// directories takes the directories that are to be compared with all that is below, or those that are not.
func (w *sweeps) directories(c *comparison) {
	var taken []change.Path
	for p, ms := range w.waiting {
		if deep(ms) == c.shallow || len(c.under) == w.most || w.covered(p) {
			continue
		}
		c.add(p, ms)
		taken = append(taken, p)
	}
	for p, ms := range w.waiting {
		if slices.ContainsFunc(c.under, func(above change.Path) bool { return !c.shallow && p.Below(above) }) {
			c.mark(ms)
			taken = append(taken, p)
		}
	}
	for _, p := range taken {
		delete(w.waiting, p)
	}
}

// deep reports whether marks ask for all that is below.
func deep(marks []change.Mark) bool {
	return slices.ContainsFunc(marks, func(m change.Mark) bool { return m.Bits&(change.Tree|change.Extras) != 0 })
}

// covered reports whether a directory above p is compared with all that is below it.
func (w *sweeps) covered(p change.Path) bool {
	for p != change.Root {
		p = p.Parent()
		if deep(w.waiting[p]) {
			return true
		}
	}
	return false
}

func (w *sweeps) found() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing.Found++
}

// over says that the comparison is over, whether it came to its end, and whether it was one of everything.
func (w *sweeps) over(ok, everything bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing = nil
	if !ok {
		w.most = max(1, w.most/2)
		return
	}
	w.most = min(sweepMax, w.most*2)
	if everything {
		w.done++
		w.end = time.Now()
	}
}

// whole says how many comparisons of everything came to their end, and when the last one did.
func (w *sweeps) whole() (int, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done, w.end
}

func (w *sweeps) status() *SweepStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.doing == nil {
		return nil
	}
	doing := *w.doing
	return &doing
}

// runSweeps compares the target as it is asked for. A sweep sends nothing: what it finds is owed, with low priority.
func (s *sender) runSweeps(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.src.primed:
	}
	for s.gate.wait(ctx) {
		c, ok := s.nextSweep()
		if !ok {
			select {
			case <-ctx.Done():
			case <-s.sweeps.news:
			}
			continue
		}
		// It sends nothing, so that a pause need not wait for its end.
		comparing, done := s.gate.within(ctx)
		err := s.compare(comparing, c)
		s.sweeps.over(err == nil, c.everything())
		s.swept(comparing, c.marks, err)
		done()
		poke(s.replan)
		poke(s.settled)
	}
}

// nextSweep is what is to be compared now. A batch that asks for it comes to its end first: what it brings is not found as a
// difference, and a target that allows a single connection has it free.
func (s *sender) nextSweep() (comparison, bool) {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.sweeps.take()
}

// oldest is since when the marks are owed: what a comparison finds is owed since then, too. It is now when there are none.
func oldest(marks []change.Mark) time.Time {
	since := time.Now()
	for _, m := range marks {
		since = earlier(since, m.Since)
	}
	return since
}

// busyTries is how often a comparison asks a target that has no connection free: for the target, that of the batch before it may
// not be over yet, and the next try of the mark would bring another such batch.
const busyTries = 5

// compare sweeps.
func (s *sender) compare(ctx context.Context, c comparison) error {
	for try := 1; ; try++ {
		err := s.sweep(ctx, c)
		if te := (*transport.Error)(nil); try == busyTries || !errors.As(err, &te) || te.Kind != transport.Busy {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(jitter(exponential(backoffFirst, backoffMax, try))):
		}
	}
}

func (s *sender) sweep(ctx context.Context, c comparison) error {
	sess := s.src.session()
	if sess == nil {
		return &transport.Error{Kind: transport.SourceGone, Err: errors.New("the source root is gone")}
	}
	defer sess.users.Done()
	// It takes none of the runs that may be under way at one time: it waits for batches that need one.
	opts := s.src.options()
	f := findings{sender: s, since: oldest(c.marks), whole: c.everything()}
	empty := sess.empty()
	var exclude []string
	if c.everything() {
		exclude = s.opts.SweepExclude
	}
	err := s.opts.Transport.Sweep(ctx, transport.Sweep{
		Root: sess.root.File(), Under: c.under, Shallow: c.shallow, Extras: c.extras && !opts.NoRemovals, Exclude: exclude,
	}, func(d transport.Difference) error {
		if !d.Path.Valid() || !opts.Filter.Verdict(d.Path, kindOf(d.Dir)).Keep {
			return nil
		}
		if empty {
			s.emptiness(sess, d)
		}
		s.sweeps.found()
		return f.add(ctx, d)
	})
	if err == nil && c.shallow {
		// A directory that came meanwhile, and was taken for the one that the target has, is marked before this comparison is no longer owed.
		err = sess.barrier(ctx, false)
	}
	return errors.Join(err, f.flush(ctx))
}

// emptiness holds removals when an empty source is found to differ from a target that is not.
func (s *sender) emptiness(sess *session, d transport.Difference) {
	if d.Extra && sess.empty() && s.owed.Surplus(d.Path) > 0 {
		s.src.brake.engage(s.log, rootEmpty, "the source is empty and the target is not")
	}
}

// swept settles the marks that asked for a comparison.
func (s *sender) swept(ctx context.Context, marks []change.Mark, err error) {
	if err == nil {
		s.report.compared()
		if _, ok := s.opts.Transport.(transport.Syncer); ok {
			// What was found there may be what an earlier connection brought a moment ago.
			for _, m := range marks {
				s.owed.Changed(journal.Changed{Path: m.Path, Bits: m.Bits & (change.Extras | change.Entries)})
			}
		}
		s.owed.AckTelling(s.arrivals(marks), marks...)
		return
	}
	if ctx.Err() != nil {
		s.owed.PutBack(marks...)
		return
	}
	te := targetError(err)
	s.lookAgain(te)
	due := time.Now()
	for _, m := range marks {
		due = time.Now().Add(jitter(exponential(time.Second, backoffMax, s.owed.Tries(m.Path)+1)))
		s.owed.Fail(m, err, due, false)
	}
	if te.Kind == transport.Broken {
		s.report.incomplete(te)
		return
	}
	s.report.failed(te, due)
}
