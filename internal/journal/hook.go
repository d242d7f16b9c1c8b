package journal

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// hookPrefix is before the names of hooks in the file: no target has a NUL in its name.
const hookPrefix = "\x00"

// hookQueue is what the queue of a hook has beside that of a target.
type hookQueue struct {
	opts HookOptions
	// folded is how often the queue was full.
	folded int
}

// HookOptions are what the queue of a hook depends on.
type HookOptions struct {
	// Wants reports whether a path is told to which that happened; nil is every path. It is asked only where the source has no
	// targets.
	Wants func(p change.Path, what change.Bits) bool
	// Together tells of a path when no target lacks it any more, or when it was waited for that so long. 0 tells of each ack.
	Together time.Duration
	// Max is how many paths it holds; 0 is no bound.
	Max int
}

// Telling is what a hook is told: marks whose bits say what happened (change.Gone, change.WasDir). Their sequence numbers are
// given by the queue.
type Telling struct {
	Hook  *Target
	Marks []change.Mark
}

// OpenHook returns the queue of the hook of that name. It is the table of a target that hears of what the targets acked, and
// of what is marked where there are no targets. It is opened again with other options when they change.
func (j *Journal) OpenHook(name string, o HookOptions) *Target {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.hooks[name]
	if t == nil {
		t = newTarget(j)
		t.cursor = 0
		t.hook = &hookQueue{}
		j.hooks[name] = t
		j.unsaved.meta = true
	}
	t.hook.opts = o
	for _, row := range t.owed {
		// What waited for targets when the file was written waits again.
		if row.State == Ready {
			t.queue(row)
		}
	}
	t.bound()
	return t
}

// Hooks are the names of all hooks that the journal knows, in their order.
func (j *Journal) Hooks() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.hooks))
}

// DropHook forgets a hook with all that it was not told.
func (j *Journal) DropHook(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.hooks[name] == nil {
		return
	}
	delete(j.hooks, name)
	j.unsaved.dropped.add(hookPrefix + name)
}

// tables are all targets and hooks by their names in the file. The journal is locked.
func (j *Journal) tables() iter.Seq2[string, *Target] {
	return func(yield func(string, *Target) bool) {
		for name, t := range j.targets {
			if !yield(name, t) {
				return
			}
		}
		for name, t := range j.hooks {
			if !yield(hookPrefix+name, t) {
				return
			}
		}
	}
}

func (j *Journal) table(name string) *Target {
	if name, ok := strings.CutPrefix(name, hookPrefix); ok {
		return j.hooks[name]
	}
	return j.targets[name]
}

// live marks what hooks are told of when it is acked. Without hooks nobody asks.
func (j *Journal) live(bits change.Bits) change.Bits {
	if len(j.hooks) > 0 {
		bits |= change.Live
	}
	return bits
}

// tell puts tellings in the queues. The journal is locked.
func tell(tellings []Telling) {
	for _, x := range tellings {
		for _, m := range x.Marks {
			x.Hook.tell(m)
		}
		x.Hook.bound()
		x.Hook.wake()
	}
}

// Newest is the sequence number of what was put last in the queue of a hook.
func (t *Target) Newest() uint64 {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	return t.cursor
}

// tell takes one path: what happened to it last is what counts.
func (t *Target) tell(m change.Mark) {
	t.cursor++
	m.Seq = t.cursor
	o := t.merge(m)
	// That all below it is meant stays so until it is told. What happened before is not told any more, whatever becomes of the
	// call that is under way.
	o.Bits = m.Bits | o.Bits&change.Tree
	switch o.State {
	case InFlight:
		o.later.bits = m.Bits | o.later.bits&change.Tree
	case Ready:
		t.queue(o)
	}
}

// queue puts a row that is ready in its turn, or has it wait for targets.
func (t *Target) queue(o *owed) {
	if t.hook.opts.Together > 0 && t.j.lackedBy(o.Path) {
		o.State = Delayed
		if o.Due.IsZero() {
			o.Due = time.Now().Add(t.hook.opts.Together)
		}
		t.await(timer{due: o.Due, o: o})
		return
	}
	t.enqueue(o)
}

// arrivedMax bounds the rows that Arrived looks at, for everybody else waits meanwhile.
const arrivedMax = 1000

// Arrived makes ready what waits for targets and is lacked by none any more, among some rows, other ones each time. Most paths are
// told when the last target acks them; but a target may come to have a path in other ways, as by that of a directory.
func (t *Target) Arrived() {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	n := 0
	for p, o := range t.owed {
		if n++; n > arrivedMax {
			break
		}
		if o.State == Delayed && !t.j.lackedBy(p) {
			o.State = Ready
			t.enqueue(o)
		}
	}
	t.wake()
}

// Lacking are the targets that lack a path, in their order.
func (j *Journal) Lacking(p change.Path) (names []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, t := range j.targets {
		if t.lacksPath(p) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// lackedBy reports whether any target lacks a path. The journal is locked.
func (j *Journal) lackedBy(p change.Path) bool {
	for _, t := range j.targets {
		if t.lacksPath(p) {
			return true
		}
	}
	return false
}

// lacksPath reports whether the target is owed the path, or the comparison of a directory above it.
func (t *Target) lacksPath(p change.Path) bool {
	const below = change.Tree | change.Extras
	for at := p; ; at = at.Parent() {
		if o := t.owed[at]; o != nil && (at == p || o.Bits&below != 0) {
			return true
		}
		if e := t.j.entries[at]; e != nil && e.place > t.cursor && (at == p || e.bits&below != 0) {
			return true
		}
		if at == change.Root {
			return false
		}
	}
}

// Row is what is owed of a path.
func (t *Target) Row(p change.Path) (Owed, bool) {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	return t.rowOf(p)
}

func (t *Target) rowOf(p change.Path) (Owed, bool) {
	if o := t.owed[p]; o != nil {
		return o.Owed, true
	}
	return Owed{}, false
}

// RowOf is what a target is owed of a path; false also when there is no such target.
func (j *Journal) RowOf(target string, p change.Path) (Owed, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.targets[target]
	if t == nil {
		return Owed{}, false
	}
	return t.rowOf(p)
}

// GaveLow reports whether Take gave out anything of low priority last.
func (t *Target) GaveLow() bool {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	return t.gaveLow
}

// Folded is how often the queue of a hook was full since the start.
func (t *Target) Folded() int {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	return t.hook.folded
}

// fold keeps the queue of a hook within its limit: where it is too long its deepest paths make room for the directories that
// hold them, until half of it is left. Of such a directory it is only known that something happened below.
func (t *Target) fold() {
	if len(t.owed) <= t.hook.opts.Max || t.hook.opts.Max == 0 {
		return
	}
	t.hook.folded++
	byDepth := map[int][]*owed{}
	deepest := 0
	for p, o := range t.owed {
		if o.State != InFlight && p != change.Root {
			d := strings.Count(string(p), "/")
			byDepth[d] = append(byDepth[d], o)
			deepest = max(deepest, d)
		}
	}
	for d := deepest; d >= 0 && len(t.owed) > t.hook.opts.Max/2; d-- {
		for _, o := range byDepth[d] {
			dir := o.Path.Parent()
			_, known := t.owed[dir]
			t.drop(o)
			t.tell(change.Mark{Path: dir, Since: o.Since, Bits: change.Tree | change.WasDir})
			if !known && dir != change.Root {
				byDepth[d-1] = append(byDepth[d-1], t.owed[dir])
			}
		}
	}
	t.ready = slices.DeleteFunc(t.ready, func(o *owed) bool { return t.owed[o.Path] != o })
	t.settle()
}

// unsent is what hooks are told at once of what is found in a source without targets.
func (j *Journal) unsent(findings []scan.Finding) (tellings []Telling) {
	j.mu.Lock()
	var hooks []*Target
	var wants []func(change.Path, change.Bits) bool
	if len(j.targets) == 0 {
		for _, t := range j.hooks {
			hooks, wants = append(hooks, t), append(wants, t.hook.opts.Wants)
		}
	}
	j.mu.Unlock()
	for i, t := range hooks {
		x := Telling{Hook: t}
		for _, f := range findings {
			if !f.Mark || f.Path == change.Root {
				continue
			}
			m := change.Mark{Path: f.Path, Since: f.Since}
			switch {
			case f.Stat.IsDir():
				m.Bits = change.WasDir
			case !f.Stat.Exists() && !f.Unsure:
				m.Bits = change.Gone | f.Bits&change.WasDir
			}
			if wants[i] == nil || wants[i](m.Path, m.Bits) {
				x.Marks = append(x.Marks, m)
			}
		}
		tellings = append(tellings, x)
	}
	return tellings
}
