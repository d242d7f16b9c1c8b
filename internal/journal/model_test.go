package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
)

var errTest = errors.New("refused")

// model knows, for each target, every change that was not acked, one by one: what the journal
// compacts. world drives both at random.
type model struct {
	unacked map[change.Path][]change.Mark
	// flying are the marks in flight, covers how many of the unacked changes each stands for.
	flying map[change.Path]change.Mark
	covers map[change.Path]int
	again  map[change.Path]change.Mark
}

func newModel() *model {
	return &model{
		unacked: map[change.Path][]change.Mark{}, flying: map[change.Path]change.Mark{},
		covers: map[change.Path]int{}, again: map[change.Path]change.Mark{},
	}
}

func (m *model) add(c change.Mark) { m.unacked[c.Path] = append(m.unacked[c.Path], c) }

// inFlight is how many of the changes of p that were not acked are in flight.
func (m *model) inFlight(p change.Path) int {
	if _, ok := m.flying[p]; ok {
		return m.covers[p]
	}
	return 0
}

func union(changes []change.Mark) change.Mark {
	all := changes[0]
	for _, c := range changes[1:] {
		all = all.Merge(c)
	}
	return all
}

// covers reports whether m stands for all that want says.
func covers(m, want change.Mark) bool {
	return m.Bits&want.Bits == want.Bits && !m.Since.After(want.Since)
}

type world struct {
	t         *testing.T
	r         *rand.Rand
	j         *Journal
	names     []string
	models    map[string]*model
	paths     []change.Path
	collapses bool // the limit is low: what is not found may be covered by the root
	file      *modelFile
}

// newWorld makes a world whose journal is in a file, or in memory alone when that is nil.
func newWorld(t *testing.T, seed uint64, limit int, file *modelFile) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), j: New(limit), collapses: limit > 0, file: file,
		names: []string{"a", "b", "c"}, models: map[string]*model{},
		paths: []change.Path{change.Root, "d", "d/f", "d/g", "e", "e/f", "e/g", "h", "i", "k", "l", "m", "n", "o", "p"},
	}
	if file != nil {
		w.open()
	}
	for _, name := range w.names {
		w.j.Open(name)
		w.models[name] = newModel()
	}
	w.j.Record(scan.Finding{Path: "d", Stat: directory(1)}, scan.Finding{Path: "d/f", Stat: fileRow(2)}, scan.Finding{Path: "d/g", Stat: fileRow(3)})
	return w
}

// rename moves the directory with rows to its other name, and every change below it that was not acked. What is in flight stays so,
// too. Where names may stay on targets, what was below goes one by one.
func (w *world) rename() {
	from, to := change.Path("d"), change.Path("e")
	if !w.j.Stat(from).Exists() {
		from, to = to, from
	}
	since, exact := time.Now(), w.r.IntN(2) == 0
	if !w.j.Rename(scan.Rename{From: from, To: to, Since: since, Least: 1, Exact: exact}) {
		w.t.Fatalf("%v was not renamed", from)
	}
	for _, x := range w.models {
		x.add(change.Mark{Path: to, Since: since, Bits: change.Tree | change.Extras})
		x.add(change.Mark{Path: from, Since: since, Bits: change.Extras | change.WasDir})
		for _, name := range []string{"f", "g"} {
			p, q := from.Join(name), to.Join(name)
			if changes := x.unacked[p]; len(changes) > 0 {
				m := union(changes)
				m.Path = q
				x.add(m)
				if x.unacked[p] = changes[:x.inFlight(p)]; len(x.unacked[p]) == 0 {
					delete(x.unacked, p)
				}
			}
			if m, ok := x.again[p]; ok {
				m.Path = q
				x.again[q] = m.Merge(x.again[q])
				if old := x.again[q]; old.Since.Before(m.Since) {
					old.Since = m.Since
					x.again[q] = old
				}
			}
			if exact {
				x.add(change.Mark{Path: p, Since: since, Bits: change.WasFile})
			}
		}
	}
}

func (w *world) mark() change.Mark {
	return change.Mark{
		Path: w.paths[w.r.IntN(len(w.paths))], Since: time.Now().Add(-time.Duration(w.r.IntN(50)) * time.Millisecond),
		Bits: change.Bits(w.r.IntN(8) & w.r.IntN(8)),
	}
}

func (w *world) record() {
	m := w.mark()
	w.j.Record(scan.Finding{Path: m.Path, Unsure: true, Mark: true, Since: m.Since, Bits: m.Bits})
	for _, x := range w.models {
		x.add(m)
	}
}

// gave checks a mark that the journal gave out.
func (w *world) gave(name string, x *model, m change.Mark) {
	if _, ok := x.flying[m.Path]; ok {
		w.t.Fatalf("%s: %v was given while it was in flight", name, m.Path)
	}
	if changes := x.unacked[m.Path]; len(changes) > 0 {
		if !covers(m, union(changes)) {
			w.t.Fatalf("%s: %v was given as %+v, the changes before it are %+v", name, m.Path, m, changes)
		}
	}
	x.flying[m.Path], x.covers[m.Path] = m, len(x.unacked[m.Path])
}

func (w *world) take(name string, max int) int {
	x, target := w.models[name], w.j.Open(name)
	target.bound() // what Take begins with; the model must know before a mark is given
	w.fold(name)
	batch := target.Take(max)
	if len(batch) > max {
		w.t.Fatalf("%s: Take(%d) gave %d", name, max, len(batch))
	}
	for p, m := range x.again {
		if _, ok := target.again[p]; ok {
			continue
		}
		if m.Since.After(time.Now()) {
			w.t.Fatalf("%s: %v was marked again before its time", name, p)
		}
		delete(x.again, p)
		x.add(change.Mark{Path: p, Since: time.Now(), Bits: m.Bits})
	}
	for _, m := range batch {
		w.gave(name, x, m)
	}
	return len(batch)
}

func (w *world) takeLarge(name string) bool {
	m, ok := w.j.Open(name).TakeLarge()
	if ok {
		w.gave(name, w.models[name], m)
	}
	return ok
}

func (w *world) ack(name string, m change.Mark) {
	x := w.models[name]
	w.j.Open(name).Ack(m)
	x.unacked[m.Path] = x.unacked[m.Path][x.covers[m.Path]:]
	if len(x.unacked[m.Path]) == 0 {
		delete(x.unacked, m.Path)
	}
	delete(x.flying, m.Path)
}

// pick returns something in flight; the order of the paths keeps a seed reproducible.
func (w *world) pick(x *model) (change.Mark, bool) {
	start := w.r.IntN(len(w.paths))
	for i := range w.paths {
		if m, ok := x.flying[w.paths[(start+i)%len(w.paths)]]; ok {
			return m, true
		}
	}
	return change.Mark{}, false
}

func (w *world) step() {
	name := w.names[w.r.IntN(len(w.names))]
	x, target := w.models[name], w.j.Open(name)
	time.Sleep(time.Duration(w.r.IntN(20)) * time.Millisecond)
	switch n := w.r.IntN(100); {
	case n < 30:
		w.record()
	case n < 50:
		w.take(name, 1+w.r.IntN(6))
	case n < 53:
		w.takeLarge(name)
	case n < 56:
		m := w.mark()
		target.Owe(m)
		x.add(m)
	case n < 59:
		m := w.mark()
		if err := target.OweLow(context.Background(), m); err != nil {
			w.t.Fatal(err)
		}
		x.add(m)
	case n < 61:
		m, due := w.mark(), time.Now().Add(time.Duration(w.r.IntN(300))*time.Millisecond)
		target.Again(due, m)
		old, ok := x.again[m.Path]
		if !ok || old.Since.Before(due) {
			old.Since = due
		}
		x.again[m.Path] = change.Mark{Path: m.Path, Since: old.Since, Bits: old.Bits | m.Bits}
	case n < 62:
		target.Release()
	case n == 62:
		target.Retry()
	case n < 65:
		w.rename()
	case n == 65:
		w.j.Drop(name)
		w.j.Open(name)
		w.models[name] = newModel()
	default:
		m, ok := w.pick(x)
		if !ok {
			return
		}
		switch k := w.r.IntN(10); {
		case k < 4:
			w.ack(name, m)
			return
		case k == 4:
			target.Delay(time.Now().Add(time.Duration(w.r.IntN(200))*time.Millisecond), m)
		case k == 5:
			target.PutBack(m)
		case k == 6:
			target.Hold(m)
		case k == 7:
			target.Park(m)
		default:
			target.Fail(m, errTest, time.Now().Add(time.Duration(w.r.IntN(500))*time.Millisecond), k == 9)
		}
		delete(x.flying, m.Path)
	}
}

// fold replaces what a collapse forgot by the root, which must then be owed.
func (w *world) fold(name string) {
	x, target := w.models[name], w.j.Open(name)
	for p, changes := range x.unacked {
		flying := x.inFlight(p)
		if len(changes) == flying {
			continue
		}
		left := union(changes[flying:])
		if covers(target.holds(p), left) {
			continue
		}
		left.Path, left.Bits = change.Root, left.Bits|change.Tree|change.Extras
		if !w.collapses || !covers(target.holds(change.Root), left) {
			w.t.Fatalf("%s: %v is lost: %+v", name, p, changes)
		}
		x.add(left)
		x.unacked[p] = changes[:flying]
		if flying == 0 {
			delete(x.unacked, p)
		}
	}
}

// holds is what the owed table and the log beyond the cursor say of p, what is in flight left out.
func (t *Target) holds(p change.Path) change.Mark {
	m := change.Mark{Path: p, Since: time.Now().Add(time.Hour)}
	if e := t.j.entries[p]; e != nil && e.place > t.cursor {
		m = m.Merge(e.mark())
	}
	switch o := t.owed[p]; {
	case o == nil:
	case o.State != InFlight:
		m = m.Merge(o.Mark)
	case o.Seq != o.given:
		m = m.Merge(change.Mark{Since: o.later.since, Bits: o.later.bits})
	}
	return m
}

// check compares journal and model after each step.
func (w *world) check() {
	w.t.Helper()
	if err := w.j.consistent(); err != nil {
		w.t.Fatal(err)
	}
	for name, x := range w.models {
		w.fold(name)
		target := w.j.Open(name)
		for p := range x.flying {
			if o := target.owed[p]; o == nil || o.State != InFlight {
				w.t.Fatalf("%s: %v is in flight, the table says %+v", name, p, o)
			}
		}
		var oldest time.Time
		for _, changes := range x.unacked {
			if u := union(changes); oldest.IsZero() || u.Since.Before(oldest) {
				oldest = u.Since
			}
		}
		at, ok := target.Oldest()
		if !oldest.IsZero() && (!ok || at.After(oldest)) {
			w.t.Fatalf("%s: the oldest is said to be of %v, it is of %v", name, at, oldest)
		}
		c := target.Counts()
		if c.Waiting+c.Dead < len(x.unacked) || !c.Oldest.Equal(at) {
			w.t.Fatalf("%s: counts are %+v with %d paths not acked", name, c, len(x.unacked))
		}
	}
}

// drain lets every target take and ack all that it is owed, whatever waits for what.
func (w *world) drain() {
	for name, x := range w.models {
		target := w.j.Open(name)
		for round := 0; ; round++ {
			if round > 1000 {
				w.t.Fatalf("%s: never comes to rest", name)
			}
			for len(x.flying) > 0 {
				m, _ := w.pick(x)
				w.ack(name, m)
				w.check()
			}
			target.Release()
			if w.takeLarge(name) || w.take(name, 3) > 0 {
				continue
			}
			due, ok := target.Next()
			if !ok {
				break
			}
			time.Sleep(time.Until(due))
		}
		if c := target.Counts(); c != (Counts{}) || len(x.unacked) > 0 || len(x.again) > 0 {
			w.t.Errorf("%s: at rest, counts are %+v, not acked are %v, %v", name, c, x.unacked, x.again)
		}
	}
	if len(w.j.entries) > 0 || w.j.first != nil {
		w.t.Errorf("at rest the log holds %d entries", len(w.j.entries))
	}
}

// consistent checks what must hold between the parts of a journal.
func (j *Journal) consistent() error {
	n, place := 0, uint64(0)
	var prev *entry
	for e := j.first; e != nil; prev, e = e, e.next {
		if e.place <= place || e.place > j.seq || e.seq < e.place || e.prev != prev || j.entries[e.path] != e {
			return fmt.Errorf("entry %v stands wrong", e.path)
		}
		place = e.place
		n++
	}
	if j.last != prev || n != len(j.entries) {
		return fmt.Errorf("the list holds %d entries, the map %d", n, len(j.entries))
	}
	for name, t := range j.targets {
		if err := errors.Join(t.consistent(), t.lentWell()); err != nil {
			return fmt.Errorf("target %s: %w", name, err)
		}
	}
	return nil
}

func (t *Target) consistent() error {
	e := t.j.first
	for e != nil && e.place <= t.cursor {
		e = e.next
	}
	if t.next != e || t.cursor > t.j.seq {
		return fmt.Errorf("next is not the first entry beyond the cursor %d", t.cursor)
	}
	queued, timed := map[*owed]State{}, map[*owed]bool{}
	for _, o := range t.low {
		queued[o] = Ready
	}
	for _, o := range t.ready {
		queued[o] = Ready
	}
	for _, o := range t.large {
		queued[o] = Large
	}
	for _, x := range t.timers {
		if x.o != nil && !t.stale(x) {
			timed[x.o] = true
		}
	}
	lows := 0
	for p, o := range t.owed {
		state, ok := queued[o]
		waits := o.State == Ready || o.State == Large
		if waits && (!ok || state != o.State) {
			return fmt.Errorf("%v is %d and stands in no queue", p, o.State)
		}
		if (o.State == Retry || o.State == Delayed || o.State == Dead) != timed[o] {
			return fmt.Errorf("%v is %d and has a timer: %t", p, o.State, timed[o])
		}
		if o.low {
			lows++
		}
	}
	if lows != t.lows {
		return fmt.Errorf("%d rows of low priority, counted %d", lows, t.lows)
	}
	if len(t.timers) > 2*(len(t.owed)+len(t.again))+64 {
		return fmt.Errorf("%d timers for %d rows", len(t.timers), len(t.owed))
	}
	return nil
}

// live does one thing after the other, and brings it to an end.
func (w *world) live() {
	for range 400 {
		w.step()
		w.check()
		if w.file != nil {
			w.keep()
			w.check()
		}
	}
	w.drain()
}

// TestRandomLivesLoseNothing replays a seed with -run 'TestRandomLivesLoseNothing/NAME/SEED'.
func TestRandomLivesLoseNothing(t *testing.T) {
	for name, limit := range map[string]int{"roomy": 0, "collapsing": 6} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(150) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t, seed, limit, nil)
						w.live()
					})
				})
			}
		})
	}
}
