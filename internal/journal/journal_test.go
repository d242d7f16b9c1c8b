package journal

import (
	"fmt"
	"testing"

	"sersync/internal/change"
	"sersync/internal/scan"
)

func TestANewTargetIsOwedNothingOfThePast(t *testing.T) {
	j := New(0)
	j.Open("old")
	record(j, "x", at(1), change.Tree)
	target := j.Open("new")
	same(t, "batch", target.Take(10), []change.Mark(nil))
	record(j, "x", at(2), 0)
	same(t, "new", target.Take(10), []change.Mark{{Path: "x", Seq: 2, Since: at(2)}})
	same(t, "old", j.Open("old").Take(10), []change.Mark{{Path: "x", Seq: 2, Since: at(1), Bits: change.Tree}})
}

func TestTheLogHoldsOnlyWhatATargetLacks(t *testing.T) {
	j := New(0)
	a, b := j.Open("a"), j.Open("b")
	for i := range 10 {
		record(j, change.Path(fmt.Sprint(i)), at(1), 0)
	}
	a.Take(10)
	b.Take(4)
	if len(j.entries) != 6 {
		t.Errorf("the log holds %d entries, b lacks 6", len(j.entries))
	}
	j.Drop("b")
	if len(j.entries) != 0 {
		t.Errorf("the log holds %d entries that nobody lacks", len(j.entries))
	}
}

func TestATargetThatIsAwayCollapsesAloneAndKeepsTheBits(t *testing.T) {
	j := New(100)
	near, away := j.Open("near"), j.Open("away")
	record(j, "first", at(1), change.Content)
	flying := one(t, away)
	for i := range 1000 {
		record(j, change.Path(fmt.Sprint(i)), at(2+i), 0)
		for _, m := range near.Take(10) {
			if m.Path == change.Root {
				t.Fatal("the target that kept up was collapsed")
			}
			near.Ack(m)
		}
		if len(j.entries) > 100 || len(away.owed) > 101 {
			t.Fatalf("%d entries, %d owed", len(j.entries), len(away.owed))
		}
	}
	batch := away.Take(1000)
	want := change.Mark{Seq: batch[0].Seq, Since: at(1), Bits: change.Tree | change.Extras | change.Content}
	same(t, "what stands for the rest", batch[0], want)
	away.Ack(append(batch, flying)...)
	same(t, "counts", away.Counts(), Counts{})
}

func TestPathsChangedAgainAndAgainAreBoundedForATargetThatIsAway(t *testing.T) {
	j := New(100)
	near, away := j.Open("near"), j.Open("away")
	for i := range 2000 {
		record(j, change.Path(fmt.Sprint(i/2)), at(i), 0)
		near.Ack(near.Take(10)...)
		if len(j.entries) > 100 || len(away.owed) > 101 || len(away.ready) > 200 {
			t.Fatalf("%d entries, %d owed, %d ready", len(j.entries), len(away.owed), len(away.ready))
		}
	}
}

func TestTheLogIsBoundedWithoutATarget(t *testing.T) {
	j := New(100)
	for i := range 1000 {
		record(j, change.Path(fmt.Sprint(i)), at(i), 0)
	}
	if len(j.entries) > 100 {
		t.Errorf("the log of nobody holds %d entries", len(j.entries))
	}
}

func TestNewsOfAMarkButNotOfARow(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	j.Record(scan.Finding{Path: "x", Stat: file(1, 1)})
	if len(target.News()) != 0 {
		t.Error("a row without a mark is news")
	}
	record(j, "x", at(1), 0)
	record(j, "x", at(1), 0)
	<-target.News()
}
