package journal

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bbolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Loaded says what was found in the file of a journal.
type Loaded struct {
	// Fresh: there was none. The index is empty.
	Fresh bool
	// Lost is why the file that was there could not be used; Aside is where it is now, unless there was nothing in it. The
	// index is empty.
	Lost  error
	Aside string
	// Clean: the journal was closed as it should be. Otherwise things may have been sent that are not in it.
	Clean bool
	// Rebooted: the machine was started again since.
	Rebooted bool
	// Saved is when the file was last written.
	Saved time.Time
}

// Keep reads what the file at path holds of the source, and keeps the journal in it from now on. Its directory is made.
// It is called before anything else. A file that cannot be used is set aside and a new one takes its place. An error means that
// nothing can be kept there; the journal goes on in memory alone.
func (j *Journal) Keep(path, source string) (Loaded, error) {
	l := Loaded{}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return l, err
	}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		l.Fresh = true
	} else {
		c, err := j.load(path, source)
		if errors.Is(err, ErrInUse) {
			return l, fmt.Errorf("read journal %q: %w", path, err)
		}
		if errors.Is(err, os.ErrPermission) {
			l.Lost = fmt.Errorf("read journal %q: %w", path, err)
			return l, l.Lost
		}
		if err != nil {
			if l.Aside, l.Lost = aside(path, err); l.Aside == "" {
				return l, l.Lost
			}
		} else if c.meta.Format == 0 {
			// There was a run before, and nobody knows what it sent.
			l.Lost = fmt.Errorf("read journal %q: nothing was ever written to it", path)
		} else {
			j.fill(c)
			l.Clean, l.Saved = c.meta.Clean, c.meta.Saved
			l.Rebooted = c.meta.Boot != bootID()
		}
	}
	return l, j.open(path, source)
}

// makeDir makes a directory for journals. One that somebody else owns or can write is refused: he could put files of
// his own there.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at state directory %q: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("state directory %q is not a directory that this user owns and nobody else can write", dir)
	}
	return nil
}

// aside sets a file aside that cannot be used for the reason why.
func aside(path string, why error) (to string, err error) {
	why = fmt.Errorf("read journal %q: %w", path, why)
	to, err = setAside(path)
	if err != nil {
		return "", errors.Join(why, err)
	}
	return to, why
}

func setAside(path string) (to string, err error) {
	to = path + ".unusable-" + time.Now().Format("20060102T150405.000")
	if err := os.Rename(path, to); err != nil {
		return "", fmt.Errorf("set journal aside: %w", err)
	}
	return to, nil
}

// load reads the file into the index, and returns the rest. On an error the index is empty.
func (j *Journal) load(path, source string) (contents, error) {
	// All of it is read: page by page the disk would be waited for.
	s, err := openStore(path, unix.MAP_POPULATE)
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return contents{}, taken(path)
	}
	if err != nil {
		return contents{}, err
	}
	// It is closed and opened again for writing, so that what was read does not stay mapped.
	defer s.close()
	var f filler
	f.index = &j.index
	c, ok, err := s.read(f.row)
	if err == nil && ok && string(c.meta.Source) != source {
		err = fmt.Errorf("it is of the source %q", c.meta.Source)
	}
	if err != nil {
		j.index = newIndex(&j.unsaved)
		return contents{}, err
	}
	return c, nil
}

// filler puts rows in the index that come in the order of their paths.
type filler struct {
	index *index
	dir   change.Path
	at    *row
	// rows are made many at a time: there may be millions.
	rows []row
}

func (f *filler) row(p change.Path, st change.Stat) {
	if p == change.Root {
		f.index.root.stat, f.index.root.stored = st, true
		return
	}
	if parent := p.Parent(); f.at == nil || parent != f.dir {
		f.dir, f.at = parent, f.index.find(parent)
	}
	if f.at == nil {
		return // damage: the count of the rows will tell
	}
	if f.at.names == nil {
		f.at.names = map[string]*row{}
	}
	if len(f.rows) == 0 {
		f.rows = make([]row, 64)
	}
	r := &f.rows[0]
	f.rows = f.rows[1:]
	r.stat, r.stored = st, true
	f.at.names[strings.Clone(p.Name())] = r
	f.index.size++
	f.index.link(p, st)
}

// fill takes the rest of what was read.
func (j *Journal) fill(c contents) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq, j.facts = c.meta.Seq, c.meta.Facts
	for _, m := range c.meta.Targets {
		t := newTarget(j)
		t.cursor = m.Cursor
		if name, ok := strings.CutPrefix(string(m.Name), hookPrefix); ok {
			t.hook = &hookQueue{}
			j.hooks[name] = t
		} else {
			j.targets[string(m.Name)] = t
		}
		t.fill(c.targets[string(m.Name)])
	}
	slices.SortFunc(c.log, func(a, b *entry) int { return cmp.Compare(a.place, b.place) })
	now := time.Now()
	for _, e := range c.log {
		e.since = past(now, e.since)
		j.entries[e.path] = e
		j.push(e)
	}
}

func (t *Target) fill(c *targetContents) {
	now := time.Now()
	slices.SortFunc(c.owed, func(a, b *owed) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, o := range c.owed {
		t.owed[o.Path] = o
		o.Since, o.later.since = past(now, o.Since), past(now, o.later.since)
		switch {
		case o.State == Retry || o.State == Dead:
			o.Due = soon(now, o.Due)
			t.timers = append(t.timers, timer{due: o.Due, o: o})
		case o.State == Ready && o.low:
			o.queued = true
			t.low = append(t.low, o)
		case o.State == Ready:
			t.enqueue(o)
		}
		if o.low {
			t.lows++
		}
	}
	for p, a := range c.again {
		a.due = soon(now, a.due)
		t.again[p] = a
		t.timers = append(t.timers, timer{due: a.due, again: p})
	}
	heap.Init(&t.timers)
	t.recent = c.recent
	for _, r := range c.recent {
		t.recents += len(r.paths)
	}
}

// soon is when something that was read is due. The clock may have been set back since, or may be set while we run: nothing
// waits longer than a dead letter does, by a clock that nobody sets.
func soon(now, due time.Time) time.Time {
	return now.Add(min(due.Sub(now), time.Hour))
}

// past is when something that was read was noticed: before now, also by a clock that was set back since.
func past(now, noticed time.Time) time.Time {
	if noticed.After(now) {
		return now
	}
	return noticed
}

// open keeps the journal, as it is, in the file.
func (j *Journal) open(path, source string) error {
	s, err := lastingStore(path)
	if err != nil {
		return fmt.Errorf("open journal %q: %w", path, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.store, j.path, j.source, j.boot = s, path, source, bootID()
	j.unsaved = newUnsaved()
	// What was said to be clean is so no longer.
	j.unsaved.meta = true
	for _, t := range j.tables() {
		t.unsaved = newUnsavedOwed()
	}
	return nil
}

// bootID tells one start of the machine from another; empty when it is not known.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// File is where the journal of a source is in the state directory dir.
func File(dir, name, source string) string {
	// A hash: a path may be longer than a name, and hold anything.
	sum := sha256.Sum256([]byte(name + "\x00" + source))
	return filepath.Join(dir, "journal-"+hex.EncodeToString(sum[:8])+".db")
}

// Twice has everything marked again at the time that due says for a target: all that is owed, and from now on all that is
// marked, until it is called with nil. After a kill nobody knows what was in flight: a receiver that was cut
// off may put an older state of it in place later.
func (j *Journal) Twice(due func(target string) time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.twice = due
	if due == nil {
		return
	}
	for name, t := range j.targets {
		at := due(name)
		for p, o := range t.owed {
			t.remind(at, p, o.Bits&^change.Live)
		}
		for e := t.next; e != nil; e = e.next {
			t.remind(at, e.path, e.bits&^change.Live)
		}
		t.wake()
	}
}

// remind has a path that is marked now marked again, if that is asked for.
func (j *Journal) remind(p change.Path, bits change.Bits) {
	if j.twice == nil {
		return
	}
	for name, t := range j.targets {
		t.remind(j.twice(name), p, bits&^change.Live)
	}
}

// Move says that what was on the file system with one number is on one with another: the numbers change when the machine
// is started again.
func (j *Journal) Move(devs map[uint64]uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(devs) == 0 {
		return
	}
	j.index.links, j.index.single = map[change.Inode]map[change.Path]struct{}{}, nil
	j.index.each(func(p change.Path, r *row) {
		if dev, ok := devs[r.stat.Dev]; ok {
			r.stat.Dev = dev
			j.unsaved.rows.add(p)
		}
		j.index.link(p, r.stat)
	})
}

// Mounts are the topmost directories of each file system that the index knows, the root first.
func (j *Journal) Mounts() map[uint64]change.Path {
	j.mu.Lock()
	defer j.mu.Unlock()
	tops := map[uint64]change.Path{j.index.root.stat.Dev: change.Root}
	var below func(p change.Path, r *row)
	below = func(p change.Path, r *row) {
		for name, child := range r.names {
			if !child.stat.IsDir() {
				continue
			}
			at := p.Join(name)
			if _, known := tops[child.stat.Dev]; !known {
				tops[child.stat.Dev] = at
			}
			below(at, child)
		}
	}
	below(change.Root, j.index.root)
	return tops
}
