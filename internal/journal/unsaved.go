package journal

import (
	"maps"
	"slices"
	"time"

	"sersync/internal/change"
)

// heavy is how many unsaved rows are too many to wait for the next second.
const heavy = 50_000

// keys are those of the rows that differ from what the file holds. A nil set is that of a journal without a file: it
// takes nothing.
type keys[K comparable] map[K]struct{}

func (k keys[K]) add(key K) {
	if k != nil {
		k[key] = struct{}{}
	}
}

func (k keys[K]) has(key K) bool {
	_, ok := k[key]
	return ok
}

// went says that a row went. What the file never had need not be taken out of it.
func (k keys[K]) went(key K, stored bool) {
	if stored {
		k.add(key)
	} else {
		delete(k, key)
	}
}

// unsaved is what the file does not have yet.
type unsaved struct {
	// cleared are the directories of which all that was below went at once.
	cleared []change.Path
	rows    keys[change.Path]
	log     keys[change.Path]
	dropped keys[string]
	// facts, cursors and the like are written with each transaction; meta says that they alone changed.
	meta bool
}

// unsavedOwed is what the file does not have yet of one target.
type unsavedOwed struct {
	owed, again keys[change.Path]
	recent      keys[int64]
}

func newUnsaved() unsaved {
	return unsaved{rows: keys[change.Path]{}, log: keys[change.Path]{}, dropped: keys[string]{}}
}

func newUnsavedOwed() unsavedOwed {
	return unsavedOwed{owed: keys[change.Path]{}, again: keys[change.Path]{}, recent: keys[int64]{}}
}

func (u *unsavedOwed) size() int { return len(u.owed) + len(u.again) + len(u.recent) }

// size is how many rows the file does not have yet. The journal is locked.
func (j *Journal) unsavedSize() int {
	n := len(j.unsaved.cleared) + len(j.unsaved.rows) + len(j.unsaved.log) + len(j.unsaved.dropped)
	for _, t := range j.tables() {
		n += t.unsaved.size()
	}
	return n
}

// op puts a row, or takes it out when there is no value.
type op struct {
	key   string
	value []byte
}

func put(key string, value []byte) op { return op{key, seal(key, value)} }

// transaction is what one commit writes: the file is then what the journal was when it was made.
type transaction struct {
	cleared []change.Path
	index   []op
	log     []op
	targets map[string]targetOps
	dropped []string
	meta    meta
}

type targetOps struct{ owed, again, recent []op }

// transaction takes all that is unsaved. The journal is locked.
func (j *Journal) transaction() transaction {
	j.keepAll(lendTime)
	u := &j.unsaved
	tx := transaction{
		cleared: u.cleared, dropped: slices.Collect(maps.Keys(u.dropped)),
		targets: map[string]targetOps{}, meta: j.meta(),
	}
	for p := range u.rows {
		o := op{key: keyOf(p)}
		if r := j.index.find(p); r != nil && r.stat.Exists() {
			r.stored = true
			o = put(o.key, appendStat(nil, r.stat, !r.young && !r.doubted))
		}
		tx.index = append(tx.index, o)
	}
	for p := range u.log {
		o := op{key: keyOf(p)}
		if e := j.entries[p]; e != nil {
			e.stored = true
			o = put(o.key, appendEntry(nil, e))
		}
		tx.log = append(tx.log, o)
	}
	for name, t := range j.tables() {
		if t.unsaved.size() > 0 {
			tx.targets[name] = t.operations()
		}
	}
	j.unsaved = newUnsaved()
	return tx
}

func (t *Target) operations() targetOps {
	var ops targetOps
	for p := range t.unsaved.owed {
		o := op{key: keyOf(p)}
		if row := t.owed[p]; row != nil {
			row.stored = true
			o = put(o.key, appendOwed(nil, row))
		}
		ops.owed = append(ops.owed, o)
	}
	for p := range t.unsaved.again {
		o := op{key: keyOf(p)}
		if a, ok := t.again[p]; ok {
			o = put(o.key, appendAgain(nil, a))
		}
		ops.again = append(ops.again, o)
	}
	for second := range t.unsaved.recent {
		ops.recent = append(ops.recent, t.recentOp(second))
	}
	t.unsaved = newUnsavedOwed()
	return ops
}

// takeBack makes unsaved again what could not be written. The journal is locked.
func (j *Journal) takeBack(tx transaction) {
	u := &j.unsaved
	u.cleared = append(tx.cleared, u.cleared...)
	u.meta = true
	for _, name := range tx.dropped {
		u.dropped.add(name)
	}
	// The file may have an older row of what was made anew meanwhile.
	takeBack(u.rows, tx.index, func(p change.Path) {
		if r := j.index.find(p); r != nil {
			r.stored = true
		}
	})
	takeBack(u.log, tx.log, func(p change.Path) {
		if e := j.entries[p]; e != nil {
			e.stored = true
		}
	})
	for name, ops := range tx.targets {
		t := j.table(name)
		if t == nil {
			continue
		}
		takeBack(t.unsaved.owed, ops.owed, func(p change.Path) {
			if o := t.owed[p]; o != nil {
				t.keep(o)
				o.stored = true
			}
		})
		takeBack(t.unsaved.again, ops.again, func(change.Path) {})
		for _, o := range ops.recent {
			t.unsaved.recent.add(secondOf(o.key))
		}
	}
}

func takeBack(k keys[change.Path], ops []op, stored func(change.Path)) {
	for _, o := range ops {
		if p, err := pathOf([]byte(o.key)); err == nil {
			k.add(p)
			stored(p)
		}
	}
}

// saveAll makes everything unsaved: the file is a new one. The journal is locked.
func (j *Journal) saveAll() {
	j.unsaved = newUnsaved()
	j.unsaved.meta = true
	j.index.each(func(p change.Path, _ *row) { j.unsaved.rows.add(p) })
	for p := range j.entries {
		j.unsaved.log.add(p)
	}
	for _, t := range j.tables() {
		t.keepAll()
		t.unsaved = newUnsavedOwed()
		for p := range t.owed {
			t.unsaved.owed.add(p)
		}
		for p := range t.again {
			t.unsaved.again.add(p)
		}
		for _, r := range t.recent {
			t.unsaved.recent.add(r.second)
		}
	}
}

// Doubt says that the file at p is being written: what is there is no longer what its row says, even where the row
// cannot tell.
func (j *Journal) Doubt(p change.Path) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.index.find(p); r != nil && r.stat.Exists() && !r.doubted {
		r.doubted = true
		j.unsaved.rows.add(p)
	}
}

// Undoubted is what was last seen at p, unless it is known to have been written since.
func (j *Journal) Undoubted(p change.Path) (change.Stat, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.index.find(p); r != nil && !r.doubted {
		return r.stat, true
	}
	return change.Stat{}, false
}

// youngRow is a row whose ctime was as young as the clock's tick when it was recorded: another change in the same
// tick would leave no trace in it.
type youngRow struct {
	path change.Path
	at   time.Time
}

// Young reports whether there are rows that wait for Sure.
func (j *Journal) Young() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.young) > 0
}

// Sure says that all that happened until at is recorded: rows that were young before are what was there.
func (j *Journal) Sure(at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, y := range j.young {
		if y.at.After(at) {
			break
		}
		n++
		if r := j.index.find(y.path); r != nil && r.young {
			r.young = false
			j.unsaved.rows.add(y.path)
		}
	}
	j.young = slices.Delete(j.young, 0, n)
}
