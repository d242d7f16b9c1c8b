package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/scan"
)

func TestComparisonsTellOfTheEntriesOfADirectoryBeforeWhatIsBelow(t *testing.T) {
	order := []change.Path{"a", "b", "z", "a/b", "a/c", "a/b/x", "b/a", "b/z", "b/a/a"}
	shuffled := slices.Sorted(slices.Values(order))
	slices.SortFunc(shuffled, func(p, q change.Path) int {
		if toldBefore(p, q) {
			return -1
		}
		return 1
	})
	if !slices.Equal(order, shuffled) {
		t.Errorf("%q, want %q", shuffled, order)
	}
	if toldBefore("a", "a") {
		t.Error("a path comes before itself")
	}
}

// A target has a file under a name when nothing of that name is owed, and the file there is the one that was seen.
func TestATargetHasAFileUnderANameThatItIsNotOwed(t *testing.T) {
	j := New(1000)
	one := j.Open("one")
	st := file(7, 4)
	record := func(p change.Path, st change.Stat, mark bool) {
		j.Record(scan.Finding{Path: p, Stat: st, Mark: mark, Since: time.Now()})
	}
	all := func(change.Path) bool { return true }
	has := func(want change.Path, kept func(change.Path) bool) {
		t.Helper()
		if got := one.Has("new", st, kept); got != want {
			t.Errorf("has it at %q, want %q", got, want)
		}
	}
	has("", all)
	record("new", st, false)
	record("b", st, false)
	record("c", st, false)
	other := st
	other.Mtime++
	record("a", other, false)
	has("b", all)
	has("c", func(p change.Path) bool { return p != "b" })
	record("b", st, true) // in the log
	has("c", all)
	marks := one.Take(10) // in flight
	has("c", all)
	one.Fail(marks[0], errors.New("no"), time.Now().Add(time.Hour), false)
	has("c", all)
	record("c", change.Stat{}, false)
	has("", all)
	record("b", st, true)
	one.Ack(one.Take(10)...)
	has("b", all)
	st.Ctime, st.Links = 99, 3 // what comes with another name
	has("b", all)
}

// The name that was acked last stands, also when it is owed again, until its row goes or its content may be another one.
func TestATargetHasAFileUnderTheNameThatArrivedLast(t *testing.T) {
	j := New(1000)
	one := j.Open("one")
	st := file(7, 4)
	record := func(p change.Path, st change.Stat, mark bool, bits change.Bits) {
		j.Record(scan.Finding{Path: p, Stat: st, Mark: mark, Since: time.Now(), Bits: bits})
	}
	has := func(want change.Path) {
		t.Helper()
		for _, p := range []change.Path{"new", "c"} {
			if got := one.Has(p, st, func(change.Path) bool { return true }); got != want {
				t.Errorf("has %s at %q, want %q", p, got, want)
			}
		}
	}
	for _, p := range []change.Path{"a", "b", "c", "new"} {
		record(p, st, false, 0)
	}
	one.Got(Name{"c", st.Inode()})
	has("c")
	record("c", st, true, change.Live) // in the log
	has("c")
	marks := one.Take(10) // in flight
	has("c")
	record("c", st, true, change.Content)
	has("a")
	one.Ack(marks...)
	one.Ack(one.Take(10)...)
	has("c")
	record("c", change.Stat{}, false, 0)
	record("c", st, true, 0) // the target may have none yet
	has("a")
	one.Got(Name{"c", st.Inode()}, Name{"gone", st.Inode()})
	has("c")
	other := st
	other.Ino++
	record("c", other, true, 0)
	has("a")
}

// A name that waits for its turn may be there already. One that is on its way is not, and of one that failed or has other content nobody knows.
func TestATargetMayHaveAFileUnderANameThatWaits(t *testing.T) {
	j := New(1000)
	one := j.Open("one")
	st := file(7, 4)
	has := func(want change.Path) {
		t.Helper()
		if got := one.Has("new", st, func(change.Path) bool { return true }); got != want {
			t.Errorf("has it at %q, want %q", got, want)
		}
	}
	mark := func(p change.Path, bits change.Bits) {
		j.Record(scan.Finding{Path: p, Stat: st, Mark: true, Since: time.Now(), Bits: bits})
	}
	mark("new", 0)
	mark("b", change.Live)
	mark("c", change.Live)
	has("b")
	marks := one.Take(2)
	has("c")
	one.PutBack(marks...)
	has("b")
	mark("b", change.Content)
	has("c")
	one.Fail(one.Take(10)[2], errors.New("no"), time.Now().Add(time.Hour), false)
	has("")
}

// What is owed in one step is never owed in part: of what is not owed, a target is taken to have all names.
func TestNamesThatAreOwedTogetherAreNeverOwedInPart(t *testing.T) {
	j := New(10 * lowMax)
	one := j.Open("one")
	for i := range lowMax - 1 {
		if err := one.OweLow(t.Context(), change.Mark{Path: change.Path(fmt.Sprint(i)), Since: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := one.OweLow(ctx, change.Mark{Path: "a"}, change.Mark{Path: "b"}, change.Mark{Path: "c"}); err != nil {
		t.Fatal("the second one waits for room: ", err)
	}
	done := make(chan error, 1)
	go func() { done <- one.OweLow(ctx, change.Mark{Path: "d"}) }()
	for n := 0; n < lowMax+2 && ctx.Err() == nil; {
		n += len(one.Take(1000))
	}
	if err := <-done; err != nil {
		t.Error("there is room again: ", err)
	}
}
