package watch

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
)

// start is when the tests begin; they write times as durations since.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

func TestSettleHoldsBackWhatMayBeHalfWritten(t *testing.T) {
	const ms = time.Millisecond
	single := func() bool { return true }
	other := func() bool { return false }
	never := func() bool { panic("looked") }
	type event struct {
		at   time.Duration
		kind Kind
		look func() bool
	}
	type result struct{ At, Since time.Duration }
	for _, c := range []struct {
		name   string
		opts   SettleOptions
		events []event
		want   []result
	}{
		{"a new file goes when it is closed", SettleOptions{}, []event{{0, Created, single}, {5 * ms, Wrote, never}, {9 * ms, Closed, never}}, []result{{9 * ms, 0}}},
		{"a new file that stays open goes after a second", SettleOptions{}, []event{{0, Created, single}}, []result{{time.Second, 0}}},
		{"writing does not keep a new file longer", SettleOptions{}, []event{{0, Created, single}, {900 * ms, Wrote, never}}, []result{{time.Second, 0}}},
		{"links, symlinks and pipes go at once", SettleOptions{}, []event{{3 * ms, Created, other}}, []result{{3 * ms, 3 * ms}}},
		{"a mode set before the close does not send it", SettleOptions{}, []event{{0, Created, single}, {1 * ms, Attrib, never}, {9 * ms, Closed, never}}, []result{{9 * ms, 0}}},
		{"a mode goes at once", SettleOptions{}, []event{{1 * ms, Attrib, never}}, []result{{1 * ms, 1 * ms}}},
		{"a close goes at once", SettleOptions{}, []event{{1 * ms, Closed, never}}, []result{{1 * ms, 1 * ms}}},
		{"a written file goes when it is closed", SettleOptions{}, []event{{0, Wrote, never}, {70 * ms, Closed, never}}, []result{{70 * ms, 0}}},
		{"a written file goes when it is quiet", SettleOptions{}, []event{{0, Wrote, never}, {4 * time.Second, Wrote, never}}, []result{{9 * time.Second, 0}}},
		{"a file that is never quiet goes every minute", SettleOptions{QuietWait: 40 * time.Second}, []event{
			{0, Wrote, never}, {30 * time.Second, Wrote, never}, {59 * time.Second, Wrote, never}, {61 * time.Second, Wrote, never}, {100 * time.Second, Wrote, never},
		}, []result{{60 * time.Second, 0}, {121 * time.Second, 61 * time.Second}}},
		{"a file that is moved over it goes at once", SettleOptions{}, []event{{0, Created, single}, {7 * ms, MovedTo, never}}, []result{{7 * ms, 0}}},
		{"its removal goes at once", SettleOptions{}, []event{{0, Created, single}, {7 * ms, Removed, never}}, []result{{7 * ms, 0}}},
		{"its move goes at once", SettleOptions{}, []event{{0, Wrote, never}, {7 * ms, MovedFrom, never}}, []result{{7 * ms, 0}}},
		{"a new file whose removal was lost still waits", SettleOptions{}, []event{{0, Created, single}, {7 * ms, Created, single}}, []result{{time.Second, 0}}},
		{"a symlink whose place a file had does not", SettleOptions{}, []event{{0, Created, single}, {7 * ms, Created, other}}, []result{{7 * ms, 0}}},
		{"waits are settable", SettleOptions{CloseWait: 20 * ms, QuietWait: 30 * ms, OpenMax: 40 * ms}, []event{
			{0, Created, single}, {100 * ms, Wrote, never}, {125 * ms, Wrote, never},
		}, []result{{20 * ms, 0}, {140 * ms, 100 * ms}}},
		{"each write goes at once when that is wanted", SettleOptions{Immediate: true}, []event{{0, Created, single}, {5 * ms, Wrote, never}, {8 * ms, Wrote, never}}, []result{{5 * ms, 0}, {8 * ms, 8 * ms}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSettle(c.opts)
			var got []result
			due := func(now time.Duration) {
				for _, p := range s.Due(at(now)) {
					got = append(got, result{now, p.Since.Sub(start)})
				}
			}
			expire := func(until time.Duration) {
				for next, ok := s.Next(); ok && !next.After(at(until)); next, ok = s.Next() {
					due(next.Sub(start))
				}
			}
			for _, e := range c.events {
				expire(e.at)
				if s.Add(Event{Path: "d/f", Kind: e.kind, At: at(e.at)}, e.look) {
					got = append(got, result{e.at, e.at})
				}
				due(e.at)
			}
			expire(time.Hour)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("due (-want +got):\n%s", diff)
			}
			if s.Len() != 0 || len(s.places) != 0 || s.first.Len() != 0 {
				t.Errorf("left: %d waiting, %d places, %d listed", s.Len(), len(s.places), s.first.Len())
			}
		})
	}
}

func TestSettleLetsDirectoriesPass(t *testing.T) {
	for kind := Created; kind <= RootGone; kind++ {
		s := NewSettle(SettleOptions{})
		if kind != Wrote && !s.Add(Event{Path: "d", Kind: kind, Dir: true}, func() bool { panic("looked") }) {
			t.Errorf("%v of a directory waits", kind)
		}
	}
}

func TestSettleForgetsWhatIsBelowARemovedDirectory(t *testing.T) {
	for _, kind := range []Kind{Removed, MovedFrom} {
		s := NewSettle(SettleOptions{})
		for i, p := range []change.Path{"d/f", "d/e/f", "d/e/g/h", "d2/f", "dd", "f"} {
			s.Add(Event{Path: p, Kind: Wrote, At: at(time.Duration(i))}, nil)
		}
		if !s.Add(Event{Path: "d", Kind: kind, Dir: true, At: at(9)}, nil) {
			t.Errorf("%v of a directory waits", kind)
		}
		var left []change.Path
		for _, p := range s.Flush() {
			left = append(left, p.Path)
		}
		if diff := cmp.Diff([]change.Path{"d2/f", "dd", "f"}, left); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", kind, diff)
		}
	}
}

func TestSettleSaysWhatWaits(t *testing.T) {
	s := NewSettle(SettleOptions{})
	if _, ok := s.Oldest(); ok {
		t.Error("an empty one has an oldest")
	}
	if _, ok := s.Next(); ok {
		t.Error("an empty one has a next")
	}
	s.Add(Event{Path: "a", Kind: Wrote, At: at(0)}, nil)
	s.Add(Event{Path: "b", Kind: Created, At: at(1)}, func() bool { return true })
	if next, _ := s.Next(); !next.Equal(at(1).Add(time.Second)) {
		t.Errorf("next: %v", next)
	}
	if oldest, _ := s.Oldest(); !oldest.Equal(at(0)) || s.Len() != 2 {
		t.Errorf("oldest %v of %d", oldest, s.Len())
	}
	if got := s.Due(at(time.Second)); got != nil {
		t.Errorf("due too early: %v", got)
	}
	want := []Pending{{"a", at(0)}, {"b", at(1)}}
	if diff := cmp.Diff(want, s.Flush()); diff != "" || s.Len() != 0 || len(s.places) != 0 {
		t.Errorf("flushed (-want +got):\n%s", diff)
	}
	s.Add(Event{Path: "a", Kind: Wrote, At: at(2)}, nil)
	if oldest, _ := s.Oldest(); !oldest.Equal(at(2)) || s.Len() != 1 {
		t.Errorf("after the flush: oldest %v of %d", oldest, s.Len())
	}
}

func TestSettleIsBounded(t *testing.T) {
	s := NewSettle(SettleOptions{Max: 2})
	var got []bool
	for _, p := range []change.Path{"a", "b", "c", "a"} {
		got = append(got, s.Add(Event{Path: p, Kind: Wrote, At: at(0)}, nil))
	}
	if diff := cmp.Diff([]bool{false, false, true, false}, got); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
}

// TestSettleStaysInOrder plays random events against a plain map.
func TestSettleStaysInOrder(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			s := NewSettle(SettleOptions{})
			type file struct{ since, due, last time.Time }
			model := map[change.Path]file{}
			now := start
			for range 3000 {
				now = now.Add(time.Duration(r.Int64N(int64(300 * time.Millisecond))))
				for _, p := range s.Due(now) {
					if m, ok := model[p.Path]; !ok || m.due.After(now) || !m.since.Equal(p.Since) {
						t.Fatalf("%v is due since %v, model %v", p.Path, p.Since, m)
					}
					delete(model, p.Path)
				}
				for p, m := range model {
					if !m.due.After(now) {
						t.Fatalf("%v is not due", p)
					}
				}
				dir := change.Path("d" + strconv.Itoa(r.IntN(4)))
				p := dir.Join(strconv.Itoa(r.IntN(30)))
				switch m, ok := model[p]; r.IntN(8) {
				case 0:
					s.Add(Event{Path: dir, Kind: Removed, Dir: true, At: now}, nil)
					for q := range model {
						if q.Below(dir) {
							delete(model, q)
						}
					}
				case 1:
					if s.Add(Event{Path: p, Kind: Closed, At: now}, nil) == ok {
						t.Fatalf("close of %v", p)
					}
					if ok {
						m.due = now
						model[p] = m
					}
				default:
					s.Add(Event{Path: p, Kind: Wrote, At: now}, nil)
					if !ok {
						m = file{since: now, last: now.Add(time.Minute)}
					}
					m.due = earlier(now.Add(5*time.Second), m.last)
					model[p] = m
				}
				if s.Len() != len(model) {
					t.Fatalf("%d wait, model %d", s.Len(), len(model))
				}
			}
		})
	}
}

// BenchmarkSettle is one write to one of the files that wait; ten times as many cost little more.
func BenchmarkSettle(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := NewSettle(SettleOptions{})
			paths := make([]change.Path, n)
			for i := range paths {
				paths[i] = change.Path("dir" + strconv.Itoa(i/100) + "/file" + strconv.Itoa(i))
				s.Add(Event{Path: paths[i], Kind: Wrote, At: at(0)}, nil)
			}
			r := rand.New(rand.NewPCG(1, 1))
			i := time.Duration(0)
			for b.Loop() {
				i++
				s.Add(Event{Path: paths[r.IntN(n)], Kind: Wrote, At: at(i)}, nil)
			}
		})
	}
}

// TestSettleCostDoesNotGrowWithWhatWaits: were each call to go through all that waits, this
// would take minutes.
func TestSettleCostDoesNotGrowWithWhatWaits(t *testing.T) {
	s := NewSettle(SettleOptions{})
	const n = 100_000
	began := time.Now()
	for i := range n {
		s.Add(Event{Path: change.Path("d" + strconv.Itoa(i) + "/f"), Kind: Wrote, At: at(time.Duration(i))}, nil)
	}
	for i := range n {
		s.Add(Event{Path: change.Path("d" + strconv.Itoa(i) + "/f"), Kind: Wrote, At: at(n)}, nil)
		if oldest, _ := s.Oldest(); !oldest.Equal(start) {
			t.Fatalf("oldest: %v", oldest)
		}
	}
	for i := range n {
		s.Add(Event{Path: change.Path("d" + strconv.Itoa(i)), Kind: Removed, Dir: true}, nil)
	}
	if took := time.Since(began); took > 20*time.Second || s.Len() != 0 {
		t.Errorf("took %v, %d are left", took, s.Len())
	}
}
