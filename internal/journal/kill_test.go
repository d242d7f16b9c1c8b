package journal

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
)

// modelFile is what a world knows of the file of its journal.
type modelFile struct {
	path  string
	limit int
	// saved is what was not acked when the transaction was made that the file holds.
	saved map[string]*model
	// writing is a transaction that is on its way, and then what was not acked when it was made; nil when there is none.
	writing *transaction
	then    map[string]*model

	worlds, kills, fails, lent int
}

// clone is a model of which nothing is in flight any more: what a kill leaves.
func (m *model) clone() *model {
	c := newModel()
	for p, changes := range m.unacked {
		c.unacked[p] = slices.Clone(changes)
	}
	c.again = maps.Clone(m.again)
	return c
}

func (w *world) clone() map[string]*model {
	models := map[string]*model{}
	for name, m := range w.models {
		models[name] = m.clone()
	}
	return models
}

func (w *world) open() {
	l, err := w.j.Keep(w.file.path, source)
	if err != nil || l.Lost != nil {
		w.t.Fatalf("the file was read as %+v, %v", l, err)
	}
	w.j.store.db.NoSync = true // nothing but this process goes
}

// begin makes a transaction.
func (w *world) begin() {
	for _, t := range w.j.targets {
		w.file.lent += t.lent
	}
	tx := w.j.transaction()
	w.file.writing, w.file.then = &tx, w.clone()
}

// written ends a transaction, which failed or did not.
func (w *world) written(failed bool) {
	f := w.file
	if failed {
		w.j.takeBack(*f.writing)
		f.fails++
	} else {
		if err := w.j.store.write(*f.writing); err != nil {
			w.t.Fatal(err)
		}
		f.saved = f.then
	}
	f.writing, f.then = nil, nil
}

// kill ends the journal, and reads a new one from the file. A transaction that is on its way is in it or not.
func (w *world) kill() {
	f := w.file
	if f.writing != nil && w.r.IntN(2) == 0 {
		w.written(false)
	}
	f.writing, f.then = nil, nil
	if err := w.j.store.close(); err != nil {
		w.t.Fatal(err)
	}
	w.j.store = nil
	w.j = New(f.limit)
	w.open()
	w.models, f.saved = f.saved, nil
	f.saved = w.clone()
	f.kills++
}

// keep has the file written, a little later than it is made, or not at all; or kills.
func (w *world) keep() {
	switch n := w.r.IntN(30); {
	case n == 0:
		w.kill()
	case n < 6 && w.file.writing == nil:
		w.begin()
	case n < 10 && w.file.writing != nil:
		w.written(n < 8)
	}
}

// TestKillsLoseNothing replays a seed with -run 'TestKillsLoseNothing/NAME/SEED'. Whatever a target is owed when the file is written it is owed
// by the file, what was lent by the log as well as all else, however far a transaction, an ack or a rename came before the kill.
func TestKillsLoseNothing(t *testing.T) {
	var all modelFile
	for name, limit := range map[string]int{"roomy": 0, "collapsing": 6} {
		for seed := range uint64(100) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, limit, &modelFile{path: filepath.Join(t.TempDir(), "journal.db"), limit: limit})
					w.begin()
					w.written(false)
					w.live()
					if err := w.j.store.close(); err != nil {
						t.Fatal(err)
					}
					all.worlds++
					all.kills, all.fails, all.lent = all.kills+w.file.kills, all.fails+w.file.fails, all.lent+w.file.lent
				})
			})
		}
	}
	t.Logf("%d kills, %d transactions that failed, %d rows that were lent while one was made", all.kills, all.fails, all.lent)
	if all.worlds == 200 && (all.kills < 1000 || all.fails < 1000 || all.lent < 1000) {
		t.Error("too little of what can happen did")
	}
}

// lentWell checks that the file has all that is lent by the log.
func (t *Target) lentWell() error {
	lent := 0
	for p, o := range t.owed {
		if !o.lent {
			continue
		}
		lent++
		e := t.j.entries[p]
		if e == nil || e.place <= t.behind || e.place > t.cursor || e.seq < o.Seq || !covers(e.mark(), o.Mark) {
			return fmt.Errorf("%v is lent, and the log has %+v beyond %d", p, e, t.behind)
		}
		if o.State != InFlight || o.stored || t.unsaved.owed.has(p) {
			return fmt.Errorf("%v is lent, and is %+v", p, o)
		}
	}
	if lent != t.lent || lent > 0 && t.behind > t.cursor {
		return fmt.Errorf("%d rows are lent behind %d, and %d before %d should be", lent, t.behind, t.lent, t.cursor)
	}
	return nil
}
