package replicate

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
)

// walks are the tree marks of a source that wait to be expanded against the index. One that
// lies below another is part of it.
type walks struct {
	mu      *sync.Mutex
	waiting map[change.Path]time.Time
	// doing is the one that is being walked, since when what was lost before it.
	doing time.Time
	news  chan struct{}
}

// walksMax bounds the tree marks; more are one of the root.
const walksMax = 10_000

func newWalks() walks {
	return walks{mu: new(sync.Mutex), waiting: map[change.Path]time.Time{}, news: make(chan struct{}, 1)}
}

func (w *walks) add(p change.Path, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= walksMax {
		for _, at := range w.waiting {
			since = earlier(since, at)
		}
		clear(w.waiting)
		p = change.Root
	}
	if at, ok := w.waiting[p]; ok {
		since = earlier(since, at)
	}
	w.waiting[p] = since
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// take takes all tree marks that wait, oldest first. One that lies below another one is left to that.
func (w *walks) take() []change.Mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	tops := map[change.Path]change.Mark{}
	for p, since := range w.waiting {
		m := change.Mark{Path: w.top(p), Since: since}
		if known, ok := tops[m.Path]; ok {
			m = m.Merge(known)
		}
		tops[m.Path] = m
		if w.doing.IsZero() || since.Before(w.doing) {
			w.doing = since
		}
	}
	clear(w.waiting)
	return slices.SortedFunc(maps.Values(tops), func(a, b change.Mark) int { return a.Since.Compare(b.Since) })
}

// top is the topmost tree mark at or above p.
func (w *walks) top(p change.Path) change.Path {
	top := p
	for p != change.Root {
		p = p.Parent()
		if _, ok := w.waiting[p]; ok {
			top = p
		}
	}
	return top
}

// done says that what was taken is walked.
func (w *walks) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing = time.Time{}
}

// walked returns when no tree mark waits any more, or with ctx.
func (s *Source) walked(ctx context.Context) {
	sess := s.session()
	if sess == nil {
		return
	}
	defer sess.users.Done()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, waits := sess.walks.oldest(); !waits {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-sess.over:
			return
		case <-tick.C:
		}
	}
}

// oldest is since when something waits for a walk.
func (w *walks) oldest() (since time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	since, ok = w.doing, !w.doing.IsZero()
	for _, at := range w.waiting {
		if !ok || at.Before(since) {
			since, ok = at, true
		}
	}
	return since, ok
}

// walk primes the index and then expands tree marks as they come, in one goroutine. What cannot be watched or
// read is a tree mark on a schedule.
func (s *session) walk(ctx context.Context) {
	s.prime(ctx)
	if ctx.Err() != nil {
		return
	}
	s.known.Store(true)
	s.src.prime.Do(func() { close(s.src.primed) })
	s.src.setState("watching")
	gaps := time.NewTimer(s.src.options().GapEvery)
	defer gaps.Stop()
	for s.expand(ctx); ctx.Err() == nil; s.expand(ctx) {
		select {
		case <-ctx.Done():
		case <-s.walks.news:
		case <-gaps.C:
			for _, gap := range s.gaps() {
				s.walks.add(gap.Path, time.Now())
			}
			gaps.Reset(s.src.options().GapEvery)
		}
	}
}

// prime looks at the whole tree once. The first session fills the index with it, a later one compares.
func (s *session) prime(ctx context.Context) {
	// What a later session finds is judged by what the index knew before, a first one by what it has found.
	s.sample()
	defer s.sample()
	if s.healing {
		s.expand(ctx)
		if ctx.Err() == nil {
			s.mended()
		}
		return
	}
	w := s.newWalk(s.opened)
	w.Prime = true
	begun := time.Now()
	err := w.Run(ctx, change.Root)
	s.unnamed.walked(time.Since(begun))
	if err == nil {
		s.src.journal.SetFact(indexingFact, int64(0))
		s.mended()
	}
}

// mended says that the whole source was compared after a kill.
func (s *session) mended() {
	if s.src.torn.Swap(false) {
		s.observer.SetTorn(false, true)
		s.src.journal.Twice(nil)
	}
}

// heal has the whole tree compared with the index: nobody watched it since then.
func (s *session) heal(since time.Time) {
	s.healing = true
	s.walks.add(change.Root, since)
}

// expand walks the tree marks that wait.
func (s *session) expand(ctx context.Context) {
	for _, m := range s.walks.take() {
		if m.Path == change.Root && s.empty() && len(s.src.journal.Names(change.Root)) > 0 {
			s.src.brake.engage(s.src.log, rootEmpty, "the source was found empty, and nobody saw it being emptied")
		}
		begun := time.Now()
		// An error is that ctx ended.
		if err := s.newWalk(m.Since).Run(ctx, m.Path); err == nil {
			s.observer.Walked(m.Path, begun)
		}
		if m.Path == change.Root {
			s.unnamed.walked(time.Since(begun))
		}
	}
	s.walks.done()
}

func (s *session) newWalk(since time.Time) *scan.Walk {
	return &scan.Walk{
		Observer: s.observer,
		Since:    since,
		Cover:    s.watcher.Cover,
		Done:     s.done,
	}
}

// done keeps a directory that could not be read, to look at it again until it can.
func (s *session) done(p change.Path, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.unread, p)
		return
	}
	if _, known := s.unread[p]; !known && len(s.unread) < walksMax {
		s.unread[p] = watch.Gap{Path: p, Since: time.Now(), Err: err}
		s.src.log.Warn("a directory cannot be read; nothing below it is replicated or removed until it can", "path", p.String(), "error", err)
	}
}

// gaps are the directories that are not watched or cannot be read.
func (s *session) gaps() []watch.Gap {
	gaps := s.watcher.Status().Gaps
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.unread {
		gaps = append(gaps, g)
	}
	return gaps
}

// empty reports whether the root has no entry.
func (s *session) empty() bool {
	dir, err := s.root.OpenDir(change.Root)
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return err == io.EOF
}
