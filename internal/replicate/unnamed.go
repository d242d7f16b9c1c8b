package replicate

import (
	"context"
	"maps"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/watch"
)

const (
	// nameEvery is how often names are looked up at the most, and nameShare by how many times longer than looking them up
	// takes the pause between is.
	nameEvery, nameShare = time.Second, 20
	// seekEvery and seekShare are the same of looks at the whole tree.
	seekEvery, seekShare = 10 * time.Second, 20
	// unnamedMax bounds the files that wait for their names, and those that are remembered to have none.
	unnamedMax = 1 << 16
)

// unnamed are files that were changed while the kernel did not know where they are, as those to which an NFS server
// writes after a restart. Their names are in the index, which is looked through for all of them together. A file that is not there is
// left out by the filter, or is elsewhere on the file system; but as nobody knows, the tree is looked at once for its sake.
type unnamed struct {
	// one is held while names are looked up.
	one sync.Mutex

	mu sync.Mutex
	// asked are those whose names are being looked up, of which the intake was not told yet; anyone: any file may be one of them.
	waiting, asked map[change.Inode]watch.Event
	anyone         bool
	news           chan struct{}
	// ever: there was such a file.
	ever bool
	// oldest is since when something waits that was not looked up yet, and asking of what is being looked up.
	oldest, asking time.Time
	// lost is since when there were too many.
	lost time.Time
	// sought are those for which the tree was looked at, at last at the time; whole is how long such a look took.
	sought map[change.Inode]struct{}
	last   time.Time
	whole  time.Duration
}

func newUnnamed() *unnamed {
	return &unnamed{waiting: map[change.Inode]watch.Event{}, news: make(chan struct{}, 1), sought: map[change.Inode]struct{}{}}
}

// add has a file wait for its names.
func (u *unnamed) add(e watch.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ever = true
	if u.oldest.IsZero() {
		u.oldest = e.At
	}
	u.wait(e)
}

// wait has a file wait for its names. What happened to it last counts, but for its attributes.
func (u *unnamed) wait(e watch.Event) {
	old, known := u.waiting[e.File]
	if known {
		e.At = earlier(old.At, e.At)
		if e.Kind == watch.Attrib {
			e.Kind = old.Kind
		}
	} else if len(u.waiting) >= unnamedMax {
		if u.lost.IsZero() {
			u.lost = e.At
		}
		return
	}
	u.waiting[e.File] = e
	u.ring()
}

// ring has names looked up.
func (u *unnamed) ring() {
	select {
	case u.news <- struct{}{}:
	default:
	}
}

// any reports whether there was ever such a file.
func (u *unnamed) any() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ever
}

// take takes all that wait.
func (u *unnamed) take() map[change.Inode]watch.Event {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asking, u.oldest = u.oldest, time.Time{}
	all := u.waiting
	u.asked, u.waiting = all, map[change.Inode]watch.Event{}
	return maps.Clone(all)
}

// has reports whether a file may have been changed while nobody knew its name, and the intake was not told of it.
func (u *unnamed) has(file change.Inode) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, waits := u.waiting[file]
	_, asked := u.asked[file]
	return waits || asked || u.anyone || !u.lost.IsZero()
}

// told says that the intake was told of all that were taken, or the tree is to be looked at.
func (u *unnamed) told() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked, u.anyone = nil, false
}

// queueTime bounds how long after it happened the kernel tells of something.
const queueTime = time.Second

// sure is until when all that happened has a name, if that is not until at.
func (u *unnamed) sure(at time.Time) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ever {
		return at
	}
	since := time.Now()
	for _, waits := range []time.Time{u.oldest, u.asking} {
		if !waits.IsZero() {
			since = earlier(since, waits)
		}
	}
	return earlier(at, since.Add(-queueTime))
}

// walked says how long a look at the whole tree took.
func (u *unnamed) walked(took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.whole = took
}

// seek says whether the tree is to be looked at for the sake of files without a name, and since when they have changed. One that
// may get its name yet, or whose turn to be sought has not come, waits on. What was lost is sought at once when it is urgent.
func (u *unnamed) seek(files map[change.Inode]watch.Event, walking, urgent bool) (since time.Time, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asking = time.Time{} // the intake was told
	now := time.Now()
	may := !walking && now.Sub(u.last) >= max(seekEvery, seekShare*u.whole)
	if since, ok = u.lost, !u.lost.IsZero() && (may || urgent); ok {
		u.lost, u.anyone = time.Time{}, true
	}
	for file, e := range files {
		if _, sought := u.sought[file]; sought {
			continue
		}
		if !may || now.Sub(e.At) < seekEvery {
			u.wait(e)
			continue
		}
		if len(u.sought) >= unnamedMax {
			clear(u.sought)
		}
		u.sought[file] = struct{}{}
		if !ok || e.At.Before(since) {
			since, ok = e.At, true
		}
	}
	if ok {
		u.last = now
	}
	if !u.lost.IsZero() {
		u.ring()
	}
	return since, ok
}

// nameAll has the names of files looked up until ctx ends.
func (s *session) nameAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.unnamed.news:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(nameEvery, nameShare*s.name(false))):
		}
	}
}

// name looks up the names of the files that wait, and tells the intake of them as the kernel would have. When it returns,
// that is done for all that waited before; how long it took is said.
func (s *session) name(urgent bool) time.Duration {
	u := s.unnamed
	u.one.Lock()
	defer u.one.Unlock()
	begun := time.Now()
	files := u.take()
	if len(files) > 0 {
		named := s.src.journal.Named(func(file change.Inode) bool { _, asked := files[file]; return asked })
		events := make([]watch.Event, 0, len(named))
		for p, file := range named {
			e := files[file]
			e.Path = p
			events = append(events, e)
		}
		s.take(events)
		for _, file := range named {
			delete(files, file)
		}
	}
	took := time.Since(begun)
	if since, ok := u.seek(files, s.walking(), urgent); ok {
		s.walks.add(change.Root, since)
	}
	u.told()
	return took
}

// walking reports whether the index may not know yet what is there.
func (s *session) walking() bool {
	select {
	case <-s.src.primed:
	default:
		return true
	}
	_, walking := s.walks.oldest()
	return walking
}
