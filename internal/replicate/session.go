package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
)

// backlogMax bounds the events between the watcher and the intake. What does not fit is a tree mark.
const backlogMax = 1 << 16

// A batch of flood events or more is followed by a nap: looks at many paths of the same directories are cheaper together.
const (
	flood    = 64
	floodNap = 1500 * time.Microsecond
)

// session is one opened root and all that looks at it. It ends when the root goes.
type session struct {
	src      *Source
	root     *scan.Root
	watcher  watch.Watcher
	observer *scan.Observer
	looks    *scan.Looks // of the intake, as are batch and closed, of the events at hand
	batch    happenings
	closed   map[change.Path]int
	settle   *watch.Settle
	waits    watch.SettleOptions // of settle
	walks    walks
	unnamed  *unnamed
	// users are those who look at the root; it is closed when the last one is done.
	users sync.WaitGroup
	// healing: the root was gone; its tree is compared with the index from the start.
	healing bool
	// known: the whole source was walked.
	known atomic.Bool
	// opened is the kernel's time before anything was watched.
	opened time.Time
	// there is when the root was last found in its place; that of the guard.
	there time.Time

	mu      sync.Mutex
	backlog []watch.Event
	lost    bool
	unread  map[change.Path]watch.Gap
	events  chan struct{} // there is something in backlog
	flush   chan barrier
	alive   chan struct{} // the intake takes what is sent here, and does nothing with it
	over    chan struct{} // the intake has ended
	open    atomic.Int64  // files that wait for their close
}

func newSession(s *Source, root *scan.Root, w watch.Watcher, opts Options) *session {
	sess := &session{
		src: s, root: root, looks: root.Looks(), watcher: w, there: time.Now(),
		walks: newWalks(), unnamed: newUnnamed(),
		unread: map[change.Path]watch.Gap{},
		events: make(chan struct{}, 1),
		flush:  make(chan barrier),
		alive:  make(chan struct{}),
		over:   make(chan struct{}),
	}
	sess.resettle(opts)
	sess.observer = scan.NewObserver(root, s.journal, opts.Filter,
		func(p change.Path) { sess.walks.add(p, time.Now()) },
		func(p change.Path, dev uint64) {
			// Where nothing was, nothing is missed.
			if lost := s.entriesOf(p, dev); len(lost.Entries) > 0 {
				s.brake.loseMount(s.log, p, lost)
			}
		})
	sess.observer.SetTorn(s.torn.Load(), true)
	return sess
}

// close closes what the session opened, once nobody uses it any more.
func (s *session) close() {
	s.users.Wait()
	s.looks.Close()
	s.watcher.Close()
	s.root.Close()
}

// run watches until ctx ends or the root is gone; nil either way.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.watcher.Run(ctx, s.take); err != nil {
			cancel(fmt.Errorf("watch source root %q: %w", s.root.Name(), err))
		}
	})
	wg.Go(func() { s.walk(ctx) })
	wg.Go(func() { s.guard(ctx, cancel) })
	wg.Go(func() { s.nameAll(ctx) })
	s.intake(ctx, cancel)
	wg.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, scan.ErrRootGone) || errors.Is(err, scan.ErrRootReplaced) {
		return nil
	}
	return err
}

// take is the watcher's sink. It never waits.
func (s *session) take(events []watch.Event) {
	s.mu.Lock()
	if len(s.backlog)+len(events) > backlogMax {
		s.lost = true
	} else {
		s.backlog = append(s.backlog, events...)
	}
	s.mu.Unlock()
	select {
	case s.events <- struct{}{}:
	default:
	}
}

// intake turns events into marks, in one goroutine.
func (s *session) intake(ctx context.Context, cancel context.CancelCauseFunc) {
	defer close(s.over)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var events []watch.Event
	for {
		if at, ok := s.settle.Next(); ok {
			timer.Reset(time.Until(at))
		}
		var flushed barrier
		due := s.events
		if len(events) >= flood {
			due = nil
			timer.Reset(floodNap)
		}
		select {
		case <-ctx.Done():
			// What was read and not marked is marked now: the senders still drain.
			s.mark(s.swap(nil), true)
			return
		case <-due:
		case <-timer.C:
		case <-s.alive:
			continue
		case flushed = <-s.flush:
		}
		events = s.whole(ctx, s.swap(events))
		if s.mark(events, flushed.all) {
			cancel(scan.ErrRootGone)
		}
		if flushed.done != nil {
			close(flushed.done)
		}
	}
}

// barrier asks the intake to mark what it was told of, and with all also what waits for its close.
type barrier struct {
	done chan struct{}
	all  bool
}

// halfTime is how long the second half of a rename may be behind the first: the kernel queues one after the other, and may let others run in between.
// After restTime without an event a rename is not one of several.
const (
	halfTime = 10 * time.Millisecond
	restTime = 2 * time.Millisecond
)

// whole waits for the second half of a rename of which events have the first one, and for more of several that are made at once, where they are worth
// following: what was renamed once more is not where it came to when that is looked at.
func (s *session) whole(ctx context.Context, events []watch.Event) []watch.Event {
	var late <-chan time.Time
	for moved, half := s.moved(events); moved || half; moved, half = s.moved(events) {
		if late == nil {
			late = time.After(halfTime)
		}
		select {
		case <-ctx.Done():
			return append(events, s.swap(nil)...)
		case <-late:
			return append(events, s.swap(nil)...)
		case <-s.events:
			events = append(events, s.swap(nil)...)
		case <-time.After(restTime):
			if !half {
				return events
			}
		}
	}
	return events
}

// moved reports whether something went that is worth following, and whether nothing came after the last one that may be. What the index does not know
// may have come under another name in these events.
func (s *session) moved(events []watch.Event) (moved, half bool) {
	came := false
	for _, e := range slices.Backward(events) {
		switch e.Kind {
		case watch.MovedTo:
			came = true
		case watch.MovedFrom:
			was := s.src.journal.Stat(e.Path)
			moved = moved || e.Dir || was.Size >= s.src.options().MoveFileLeast
			half = half || !came && (moved || !was.Exists())
			came = true // those before it have theirs
		}
	}
	return moved, half
}

// swap takes the backlog and leaves the buffer spare in its place.
func (s *session) swap(spare []watch.Event) []watch.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.backlog
	s.backlog = spare[:0]
	if s.lost {
		s.lost = false
		events = append(events, watch.Event{Path: change.Root, Kind: watch.Look, Dir: true, At: time.Now()})
	}
	return events
}

// mark takes events and what has settled to the observer. It reports whether the root is gone.
func (s *session) mark(events []watch.Event, all bool) (gone bool) {
	opts := s.src.options()
	settled := s.resettle(opts)
	if slices.ContainsFunc(events, func(e watch.Event) bool { return e.Dir }) {
		s.looks.Close() // what they have open may be elsewhere by now
	}
	switches := opts.Events
	batch := &s.batch
	batch.reset()
	closed := s.lastCloses(events, switches)
	s.follow(events, opts)
	var came []watch.Event
	for i, e := range events {
		switch {
		case e.Kind == watch.RootGone:
			gone = true
			continue
		case e.Kind == watch.Look:
			s.walks.add(e.Path, e.At)
			continue
		case e.File != (change.Inode{}) && e.Path == change.Root:
			s.unnamed.add(e)
			continue
		case switches.drop(e) || closed[e.Path] > i || s.unnoticed(e.Path, switches) || !s.observer.Keeps(e.Path, e.Dir):
			continue
		}
		if s.settle.Add(e, func() bool { return s.single(e.Path) }) {
			batch.add(happened(e))
		} else {
			s.src.journal.Doubt(e.Path)
		}
		if e.Dir && (e.Kind == watch.Created || e.Kind == watch.MovedTo) {
			// Also where the index knows the directory: nobody watched it on its way, and
			// a new one may have the inode of an old one.
			came = append(came, e)
		}
	}
	settled = append(settled, s.settle.Due(time.Now())...)
	if all {
		settled = append(settled, s.settle.Flush()...)
	}
	for _, p := range settled {
		batch.add(scan.Happened{Path: p.Path, Wrote: true, Since: p.Since})
	}
	s.open.Store(int64(s.settle.Len()))
	if len(batch.list) > 0 {
		s.src.marks.Add(uint64(len(batch.list)))
		s.sample()
		s.observer.ObserveWith(s.looks, batch.list)
	}
	if len(events) < flood {
		s.looks.Close()
	}
	for _, e := range came {
		s.walks.add(e.Path, e.At)
	}
	return gone
}

// follow has the index follow directories that were moved, once it knows the source.
func (s *session) follow(events []watch.Event, opts Options) {
	if sw := opts.Events; !s.known.Load() || sw.NoMoveFrom || sw.NoMoveTo || sw.NoCreateFolder {
		return
	}
	r := scan.Renames{Least: opts.MoveLeast}
	from, to := 0, 0
	for _, e := range events {
		switch {
		case e.Dir && e.Kind == watch.MovedFrom:
			r.From = append(r.From, e.Path)
		case e.Dir && e.Kind == watch.MovedTo:
			r.To, r.Since = append(r.To, e.Path), e.At
		case e.Kind == watch.MovedFrom:
			from++
		case e.Kind == watch.MovedTo:
			to++
		}
	}
	if len(r.From) > 0 && len(r.To) > 0 {
		s.observer.Rename(r)
	}
	// Below a directory that was moved, what happened to a file is told by an older name.
	if from > 0 && to > 0 && len(r.From)+len(r.To) == 0 {
		s.followFiles(events, opts.MoveFileLeast)
	}
}

// followFiles has targets move files of which nothing is told but that they were renamed.
func (s *session) followFiles(events []watch.Event, least int64) {
	if !slices.ContainsFunc(events, func(e watch.Event) bool {
		return !e.Dir && e.Kind == watch.MovedFrom && s.src.journal.Stat(e.Path).Size >= least
	}) {
		return
	}
	// Nothing may have been missed of what happened to them.
	if changedOnTheWay(events) {
		return
	}
	gaps := s.gaps()
	var from, to []change.Path
	for _, e := range events {
		if slices.ContainsFunc(gaps, func(g watch.Gap) bool { return e.Path.Below(g.Path) }) {
			continue
		}
		switch e.Kind {
		case watch.MovedFrom:
			from = append(from, e.Path)
		case watch.MovedTo:
			to = append(to, e.Path)
		}
	}
	from = s.named(events, from)
	if _, walking := s.walks.oldest(); !walking {
		s.observer.RenameFiles(from, to, least)
	}
}

// named leaves out the files to which something happened that is told without their name, or late: in events or after them. A walk for their sake
// waits by then.
func (s *session) named(events []watch.Event, paths []change.Path) []change.Path {
	file := func(p change.Path) change.Inode { return s.src.journal.Stat(p).Inode() }
	paths = slices.DeleteFunc(paths, func(p change.Path) bool { return s.unnamed.has(file(p)) })
	// What had no name is told of after that.
	told := map[change.Inode]bool{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range [][]watch.Event{events, s.backlog} {
		for _, e := range list {
			told[e.File] = true
		}
	}
	return slices.DeleteFunc(paths, func(p change.Path) bool { return s.lost || told[file(p)] })
}

// changedOnTheWay reports whether a file that was renamed may have been changed as well, be it under a name that it had in between.
func changedOnTheWay(events []watch.Event) bool {
	went := map[change.Path]bool{}
	for _, e := range events {
		went[e.Path] = went[e.Path] || e.Kind == watch.MovedFrom || e.Kind == watch.MovedTo || e.Kind == watch.Removed
	}
	return slices.ContainsFunc(events, func(e watch.Event) bool {
		switch e.Kind {
		case watch.MovedFrom, watch.MovedTo, watch.Removed:
			return false
		case watch.Look, watch.RootGone:
			return true
		}
		return went[e.Path]
	})
}

// resettle takes the waits of the options. What waits by others is due.
func (s *session) resettle(opts Options) (due []watch.Pending) {
	waits := watch.SettleOptions{
		CloseWait: opts.CloseWait, QuietWait: opts.QuietWait, OpenMax: opts.OpenMax, Immediate: opts.Events.Modify,
	}
	if s.settle != nil && waits == s.waits {
		return nil
	}
	if s.settle != nil {
		due = s.settle.Flush()
	}
	s.settle, s.waits = watch.NewSettle(waits), waits
	return due
}

// lastCloses says where in events each path is closed last. What was created and written before that needs no
// look of its own.
func (s *session) lastCloses(events []watch.Event, switches Events) map[change.Path]int {
	s.closed = emptied(s.closed)
	for i, e := range events {
		if e.Kind == watch.Closed && e.Path != change.Root && !switches.drop(e) {
			s.closed[e.Path] = i
		}
	}
	return s.closed
}

// keptMax bounds what is kept of a map of paths for the next batch of events: to empty a map takes as long as it is large.
const keptMax = 1024

func emptied(m map[change.Path]int) map[change.Path]int {
	if m == nil || len(m) > keptMax {
		return map[change.Path]int{}
	}
	clear(m)
	return m
}

// single reports whether p is a regular file with one name: such a file is written before it is closed.
func (s *session) single(p change.Path) bool {
	seen, err := s.root.Look(p)
	return err == nil && seen.At == p && seen.Stat.IsRegular() && seen.Stat.Links < 2
}

// unnoticed reports whether p is in a directory that was made while that is not noticed: what happens in it is not either,
// though a watcher of whole file systems tells it.
func (s *session) unnoticed(p change.Path, switches Events) bool {
	return switches.NoCreateFolder && p.Parent() != change.Root && !s.src.journal.Stat(p.Parent()).IsDir()
}

// happened is what the observer is told of an event. Where a directory went from, targets may keep something of it.
func happened(e watch.Event) scan.Happened {
	went := e.Kind == watch.Removed || e.Kind == watch.MovedFrom
	h := scan.Happened{
		Path: e.Path, Dir: e.Dir, Went: went, Moved: e.Dir && e.Kind == watch.MovedTo,
		Wrote: e.Kind == watch.Wrote || e.Kind == watch.Closed, Since: e.At,
		Counted: e.Kind == watch.Attrib && e.File != (change.Inode{}) || !e.Dir && (e.Kind == watch.Created || e.Kind == watch.MovedTo),
	}
	if e.Dir && went {
		h.Bits = change.Extras
	}
	return h
}

// happenings are a batch of paths, each once.
type happenings struct {
	list []scan.Happened
	at   map[change.Path]int
}

// reset lets go of them, and keeps the room.
func (h *happenings) reset() {
	clear(h.list)
	if h.list = h.list[:0]; cap(h.list) > keptMax {
		h.list = nil
	}
	h.at = emptied(h.at)
}

func (h *happenings) add(what scan.Happened) {
	i, ok := h.at[what.Path]
	if !ok {
		h.at[what.Path] = len(h.list)
		h.list = append(h.list, what)
		return
	}
	known := &h.list[i]
	known.Dir = known.Dir || what.Dir
	known.Went = known.Went && what.Went
	known.Moved = known.Moved || what.Moved
	known.Wrote = known.Wrote || what.Wrote
	known.Counted = known.Counted && what.Counted
	known.Since = earlier(known.Since, what.Since)
	known.Bits |= what.Bits
}

// drop applies the switches of 2.5.4. What a tree mark finds is not an event and is not dropped.
func (e Events) drop(ev watch.Event) bool {
	switch ev.Kind {
	case watch.Created:
		return ev.Dir && e.NoCreateFolder || !ev.Dir && e.NoCreateFile
	case watch.Closed:
		return e.NoCloseWrite
	case watch.MovedFrom:
		return e.NoMoveFrom
	case watch.MovedTo:
		return e.NoMoveTo
	case watch.Attrib:
		return e.NoAttrib
	}
	return false
}
