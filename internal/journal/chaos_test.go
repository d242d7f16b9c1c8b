package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// dump is all that a file is to hold of a journal, as text.
func dump(j *Journal) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	j.index.each(func(p change.Path, r *row) {
		if st := r.stat; st.Exists() {
			if r.young || r.doubted {
				st.Ctime = 0
			}
			add("row %s %+v", p, st)
		}
	})
	for p, e := range j.entries {
		add("log %s %d %d %d %d", p, e.seq, e.place, e.since.UnixNano(), e.bits)
	}
	for name, t := range j.targets {
		add("target %s cursor %d recents %d", name, t.saved(), t.recents)
		for p, o := range t.owed {
			if o.lent {
				continue
			}
			add("owed %s %s %d %d %d %d %v %d %d %s", name, p, o.Seq, o.Since.UnixNano(), o.Bits, o.State.kept(), o.State.kept() == Ready && o.low, dueOf(o), o.Tries, o.Err)
		}
		for p, a := range t.again {
			add("again %s %s %d %d", name, p, a.due.UnixNano(), a.bits)
		}
		for _, r := range t.recent {
			add("recent %s %d %v", name, r.second, r.paths)
		}
	}
	slices.Sort(lines)
	return lines
}

func dueOf(o *owed) int64 {
	if o.State == Retry || o.State == Dead {
		return o.Due.UnixNano()
	}
	return 0
}

// chaos does one thing after the other to a journal, at random.
type chaos struct {
	r *rand.Rand
	j *Journal
	n int64
}

func (c *chaos) path() change.Path {
	p := change.Path(string(rune('a' + c.r.IntN(4))))
	for c.r.IntN(2) == 0 {
		p = p.Join(string(rune('a' + c.r.IntN(4))))
	}
	return p
}

func (c *chaos) step() {
	c.n++
	t := c.j.Open(string(rune('x' + c.r.IntN(3))))
	now := time.Now()
	flying := func() (marks []change.Mark) {
		c.j.mu.Lock()
		defer c.j.mu.Unlock()
		for _, o := range t.owed {
			if o.State == InFlight && c.r.IntN(2) == 0 {
				marks = append(marks, change.Mark{Path: o.Path, Seq: o.given, Since: o.Since, Bits: o.Bits})
			}
		}
		return marks
	}
	switch c.r.IntN(24) {
	case 0, 1, 2, 3:
		c.j.Record(scan.Finding{Path: c.path(), Stat: directory(c.n), Mark: c.r.IntN(2) == 0, Since: now, Young: c.r.IntN(3) == 0})
	case 4, 5, 6, 7:
		c.j.Record(scan.Finding{Path: c.path(), Stat: fileRow(c.n), Mark: true, Since: now, Bits: change.Bits(c.r.IntN(8)), Young: c.r.IntN(3) == 0})
	case 8:
		c.j.Record(scan.Finding{Path: c.path(), Mark: true, Since: now})
	case 9, 10, 11:
		t.Take(1 + c.r.IntN(6))
	case 12, 13:
		marks := flying()
		for _, m := range marks {
			t.Changed(Changed{Path: m.Path, Bits: change.Bits(c.r.IntN(8))})
		}
		t.Ack(marks...)
	case 14:
		for _, m := range flying() {
			t.Fail(m, errTest, now.Add(time.Duration(c.r.IntN(100))*time.Millisecond), c.r.IntN(3) == 0)
		}
	case 15:
		t.Hold(flying()...)
	case 16:
		t.Delay(now, flying()...)
	case 17:
		_ = t.OweLow(context.Background(), change.Mark{Path: c.path(), Since: now})
	case 18:
		t.Again(now.Add(time.Duration(c.r.IntN(50))*time.Millisecond), flying()...)
	case 19:
		c.rare(t)
	case 20:
		c.j.Doubt(c.path())
	case 21:
		c.j.Sure(now)
	case 22, 23:
		c.j.Rename(scan.Rename{From: c.path(), To: c.path(), Since: now, Least: 1, Exact: c.r.IntN(2) == 0})
	}
}

func (c *chaos) rare(t *Target) {
	switch c.r.IntN(10) {
	case 9:
		c.j.Settled()
	case 0:
		t.Release()
	case 1:
		t.Retry()
	case 2:
		dead, _ := t.List(10, Dead)
		t.Forget(dead...)
	case 3:
		t.LookAgain()
	case 4:
		c.j.Drop("x")
	case 5:
		c.j.SetFact("n", c.n)
	case 7:
		c.j.Record(scan.Finding{Path: change.Root, Stat: directory(c.n), Mark: true})
	case 8:
		c.j.Record(scan.Finding{Path: change.Root}, scan.Finding{Path: change.Root, Stat: directory(c.n), Mark: true})
	case 6:
		c.j.mu.Lock()
		t.collapse()
		c.j.mu.Unlock()
	}
}

// The file holds after each commit what the journal was, whatever happened in between: nothing is left out.
func TestFileHoldsWhatTheJournalWas(t *testing.T) {
	for seed := range uint64(8) {
		path := filepath.Join(t.TempDir(), "journal.db")
		j, _ := kept(t, path)
		c := &chaos{r: rand.New(rand.NewPCG(seed, 3)), j: j}
		for commits := range 25 {
			for range c.r.IntN(60) {
				c.step()
			}
			if err := j.Commit(); err != nil {
				t.Fatal(err)
			}
			again := reread(t, path)
			if diff := cmp.Diff(dump(j), dump(again)); diff != "" {
				t.Fatalf("seed %d, commit %d (-journal +file):\n%s", seed, commits, diff)
			}
			for name, target := range j.targets {
				for p, o := range target.owed {
					if m := again.Open(name).holds(p); m.Seq < o.Seq || !covers(m, o.Mark) {
						t.Fatalf("seed %d, commit %d: %s is owed %+v, and in the file %+v", seed, commits, name, o.Owed, m)
					}
				}
			}
			if err := j.consistent(); err != nil {
				t.Fatalf("seed %d, commit %d: %v", seed, commits, err)
			}
		}
	}
}
