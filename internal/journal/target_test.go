package journal

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/scan"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is a time so many seconds after start.
func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func record(j *Journal, p change.Path, since time.Time, bits change.Bits) {
	j.Record(scan.Finding{Path: p, Unsure: true, Mark: true, Since: since, Bits: bits})
}

// paths of marks, to be compared in order.
func paths(marks []change.Mark) []change.Path {
	var names []change.Path
	for _, m := range marks {
		names = append(names, m.Path)
	}
	return names
}

// one takes what must be a single mark.
func one(t *testing.T, target *Target) change.Mark {
	t.Helper()
	batch := target.Take(100)
	if len(batch) != 1 {
		t.Fatalf("Take gave %v, want one mark", batch)
	}
	return batch[0]
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func TestMarksOfOnePathMerge(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	record(j, "p", at(2), change.Tree)
	record(j, "q", at(2), 0)
	record(j, "p", at(1), change.Content)
	same(t, "batch", target.Take(10), []change.Mark{
		{Path: "p", Seq: 3, Since: at(1), Bits: change.Tree | change.Content}, {Path: "q", Seq: 2, Since: at(2)},
	})
}

func TestALaggingTargetKeepsTheBitsOfAMarkThatMoved(t *testing.T) {
	j := New(0)
	fast, slow := j.Open("fast"), j.Open("slow")
	record(j, "x", at(1), change.Extras)
	record(j, "y", at(2), 0)
	fast.Ack(fast.Take(10)...)
	record(j, "x", at(3), 0)
	for _, m := range slow.Take(10) {
		if m.Path == "x" && (m.Bits != change.Extras || !m.Since.Equal(at(1))) {
			t.Errorf("the mark given is %+v, the extras or the time of the first change are lost", m)
		}
	}
	same(t, "what the fast one lacks", fast.Take(10), []change.Mark{{Path: "x", Seq: 3, Since: at(3)}})
}

func TestBitsOfTheLogSurviveAnAckOfTheSamePathOwed(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	record(j, "x", at(1), change.Extras)
	target.Owe(change.Mark{Path: "x", Since: at(2)})
	m := one(t, target)
	if m.Bits != change.Extras || !m.Since.Equal(at(1)) {
		t.Errorf("the mark given is %+v", m)
	}
	target.Ack(m)
	same(t, "counts after the ack", target.Counts(), Counts{})
	same(t, "batch after the ack", target.Take(10), []change.Mark(nil))
}

func TestAHotFileOfTargetsThatTakeTurnsIsNeverOld(t *testing.T) {
	j := New(0)
	targets := []*Target{j.Open("a"), j.Open("b"), j.Open("c")}
	for i := range 300 {
		record(j, "hot", at(i), 0)
		target := targets[i%3]
		target.Ack(target.Take(10)...)
		for n, other := range targets {
			if oldest, ok := other.Oldest(); ok && oldest.Before(at(i-2)) {
				t.Fatalf("after change %d target %d is said to lag since %v", i, n, oldest)
			}
		}
	}
}

func TestATargetThatIsAwayMakesNoOtherLookBehind(t *testing.T) {
	j := New(0)
	near, away := j.Open("near"), j.Open("away")
	for i := range 50 {
		record(j, "hot", at(i), 0)
		m := one(t, near)
		if !m.Since.Equal(at(i)) {
			t.Fatalf("change %d was given as of %v", i, m.Since)
		}
		near.Ack(m)
		if oldest, ok := near.Oldest(); ok {
			t.Fatalf("after the ack of change %d the target lags since %v", i, oldest)
		}
	}
	if oldest, _ := away.Oldest(); !oldest.Equal(at(0)) {
		t.Errorf("the target that is away lags since %v", oldest)
	}
	if c := away.Counts(); c.Waiting != 1 {
		t.Errorf("one path counts as %d", c.Waiting)
	}
}

func TestAHotFileReachesATargetWithABacklog(t *testing.T) {
	j := New(0)
	fast, slow := j.Open("fast"), j.Open("slow")
	for i := range 100 {
		record(j, change.Path(fmt.Sprint(i)), at(i), 0)
	}
	for i := range 20 { // the backlog stays as long as it is
		for n := range 10 {
			record(j, change.Path(fmt.Sprint("new", i, n)), at(100+i), 0)
		}
		record(j, "hot", at(100+i), 0)
		fast.Ack(fast.Take(1000)...)
		batch := slow.Take(10)
		if slices.Contains(paths(batch), "hot") {
			return
		}
		slow.Ack(batch...)
	}
	t.Error("the hot file never had its turn")
}

func TestAnEntryNobodyTookKeepsItsPlace(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	for _, p := range []change.Path{"x", "y", "x", "z", "x"} {
		record(j, p, at(1), 0)
	}
	same(t, "batch", paths(target.Take(10)), []change.Path{"x", "y", "z"})
}

func TestWhatIsReadyLeavesRoomForTheLog(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	for i := range 100 {
		record(j, change.Path(fmt.Sprint(i)), at(1), 0)
	}
	target.Hold(target.Take(100)...)
	target.Release()
	record(j, "fresh", at(2), 0)
	if batch := target.Take(10); len(batch) != 10 || !slices.Contains(paths(batch), "fresh") {
		t.Errorf("the first batch after the release is %v", paths(batch))
	}
}

// TestMarkedAgainInFlight: what a mark that came during the flight does, whatever became of the batch.
func TestMarkedAgainInFlight(t *testing.T) {
	tests := map[string]struct {
		end  func(*Target, change.Mark)
		want change.Mark
	}{
		"acked": {
			func(target *Target, m change.Mark) { target.Ack(m) },
			change.Mark{Path: "x", Seq: 2, Since: at(5), Bits: change.Content},
		},
		"put back": {
			func(target *Target, m change.Mark) { target.PutBack(m) },
			change.Mark{Path: "x", Seq: 2, Since: at(1), Bits: change.Content | change.Tree},
		},
		"failed": {
			func(target *Target, m change.Mark) { target.Fail(m, errTest, at(1e9), false) },
			change.Mark{Path: "x", Seq: 2, Since: at(1), Bits: change.Content | change.Tree},
		},
		"dead": {
			func(target *Target, m change.Mark) { target.Fail(m, errTest, at(1e9), true) },
			change.Mark{Path: "x", Seq: 2, Since: at(1), Bits: change.Content | change.Tree},
		},
		"braked": {
			func(target *Target, m change.Mark) { target.Hold(m) },
			change.Mark{Path: "x", Seq: 2, Since: at(1), Bits: change.Content | change.Tree},
		},
	}
	for name, test := range tests {
		for when, taken := range map[string]bool{"in the log": false, "in the table": true} {
			t.Run(name+" "+when, func(t *testing.T) {
				j := New(0)
				target := j.Open("a")
				record(j, "x", at(1), change.Tree)
				m := one(t, target)
				record(j, "x", at(5), change.Content)
				if taken {
					same(t, "a path in flight", target.Take(10), []change.Mark(nil))
				}
				test.end(target, m)
				same(t, "given again", one(t, target), test.want)
			})
		}
	}
}

func TestAnAckOfAnEarlierFlightChangesNothing(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	record(j, "x", at(1), 0)
	first := one(t, target)
	target.PutBack(first)
	record(j, "x", at(2), 0)
	second := one(t, target)
	target.Ack(first)
	if c := target.Counts(); c.Waiting != 1 || !c.Oldest.Equal(at(1)) {
		t.Errorf("counts are %+v", c)
	}
	target.Ack(second, second)
	same(t, "counts", target.Counts(), Counts{})
}

func TestANewMarkEndsEveryWaitButThatForTheLane(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	for _, p := range []change.Path{"retry", "dead", "braked", "large"} {
		record(j, p, at(1), 0)
	}
	for _, m := range target.Take(10) {
		switch m.Path {
		case "retry", "dead":
			target.Fail(m, errTest, at(1e9), m.Path == "dead")
		case "braked":
			target.Hold(m)
		default:
			target.Park(m)
		}
	}
	same(t, "counts", target.Counts(), Counts{Waiting: 3, Retrying: 1, Braked: 1, Dead: 1, Oldest: at(1)})
	if dead, count := target.List(5, Dead); count != 1 || dead[0].Path != "dead" || dead[0].Err != errTest.Error() {
		t.Errorf("dead letters are %+v", dead)
	}
	same(t, "batch", target.Take(10), []change.Mark(nil))
	for _, p := range []change.Path{"retry", "dead", "braked", "large"} {
		record(j, p, at(2), 0)
	}
	same(t, "batch", paths(target.Take(10)), []change.Path{"retry", "dead", "braked"})
	m, ok := target.TakeLarge()
	same(t, "large", m, change.Mark{Path: "large", Seq: 8, Since: at(1)})
	if _, more := target.TakeLarge(); !ok || more {
		t.Error("the lane gave a path not at all, or twice")
	}
	if target.Tries("retry") != 1 || target.Tries("large") != 0 {
		t.Errorf("tries are %d and %d", target.Tries("retry"), target.Tries("large"))
	}
}

func TestRetriesComeWhenDueAndLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(0)
		target := j.Open("a")
		for i := range 10 {
			record(j, change.Path(fmt.Sprint(i)), time.Now(), 0)
		}
		due := time.Now().Add(time.Minute)
		for _, m := range target.Take(10) {
			target.Fail(m, errTest, due, false)
		}
		if next, ok := target.Next(); !ok || !next.Equal(due) {
			t.Fatalf("next is %v", next)
		}
		time.Sleep(time.Minute - 1)
		same(t, "before it is due", target.Take(10), []change.Mark(nil))
		time.Sleep(time.Nanosecond)
		for i := range 4 {
			record(j, change.Path(fmt.Sprint("new", i)), time.Now(), 0)
		}
		same(t, "batch", paths(target.Take(4))[2:], []change.Path{"new0", "new1"})
		if next, ok := target.Next(); !ok || next.After(time.Now()) {
			t.Errorf("next is %v, though more is due", next)
		}
	})
}

func TestAPathThatFailsOftenLeavesNoTimersBehind(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	record(j, "y", at(1), 0)
	target.Fail(one(t, target), errTest, time.Now().Add(time.Minute), false)
	for range 10_000 {
		record(j, "x", at(1), 0)
		m := one(t, target)
		target.Fail(m, errTest, time.Now().Add(time.Hour), true)
	}
	if len(target.timers) > 50 {
		t.Errorf("%d timers for one path", len(target.timers))
	}
}

func TestAgainMarksWithItsBitsAtTheLatestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(0)
		target := j.Open("a")
		now := time.Now()
		target.Again(now.Add(2*time.Minute), change.Mark{Path: "x", Bits: change.Content})
		target.Again(now.Add(time.Minute), change.Mark{Path: "x"})
		time.Sleep(time.Minute)
		same(t, "too early", target.Take(10), []change.Mark(nil))
		time.Sleep(time.Minute)
		m := one(t, target)
		same(t, "mark", m, change.Mark{Path: "x", Seq: 1, Since: now.Add(2 * time.Minute), Bits: change.Content})
		target.Ack(m)
		if _, ok := target.Next(); ok {
			t.Error("something is due after the ack")
		}
	})
}

func TestLowPriorityComesLastAndIsLiftedByALiveMark(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	for _, p := range []change.Path{"low", "lifted", "twice", "twice"} {
		if err := target.OweLow(t.Context(), change.Mark{Path: p, Since: at(1)}); err != nil {
			t.Fatal(err)
		}
	}
	record(j, "live", at(2), 0)
	record(j, "lifted", at(2), 0)
	same(t, "batch", paths(target.Take(2)), []change.Path{"live", "lifted"})
	same(t, "batch", paths(target.Take(10)), []change.Path{"low", "twice"})
	if target.lows != 0 {
		t.Errorf("%d rows of low priority are left", target.lows)
	}
}

func TestLowPriorityWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := New(0).Open("a")
		for i := range lowMax {
			if err := target.OweLow(t.Context(), change.Mark{Path: change.Path(fmt.Sprint(i)), Since: at(1)}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		owe := func() { done <- target.OweLow(ctx, change.Mark{Path: "more", Since: at(1)}) }
		go owe()
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("there was room for one more than the bound")
		}
		cancel()
		if err := <-done; err == nil {
			t.Fatal("a wait that was cut short returned no error")
		}
		ctx = t.Context()
		go owe()
		synctest.Wait()
		target.Take(1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestRowsLiftedOutOfLowPriorityLeaveNothingBehind(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	record(j, "other", at(1), 0)
	for range 5 * lowMax {
		if err := target.OweLow(t.Context(), change.Mark{Path: "x", Since: at(1)}); err != nil {
			t.Fatal(err)
		}
		record(j, "x", at(1), 0)
		record(j, "other", at(1), 0)
		target.Ack(target.Take(2)...) // never gets as far as the queue of low priority
	}
	if len(target.low) > 2*lowMax {
		t.Errorf("%d stale rows", len(target.low))
	}
}

// A removal that is not judged yet keeps a stop from ending, and costs no try.
func TestDelayedIsReadyAgainWhenDueOrMarked(t *testing.T) {
	j := New(0)
	target := j.Open("t")
	record(j, "a", at(1), 0)
	record(j, "b", at(1), 0)
	marks := target.Take(9)
	target.Delay(time.Now().Add(time.Hour), marks[0])
	target.Delay(time.Now(), marks[1])
	if !target.Busy() || target.Counts().Retrying > 0 {
		t.Errorf("busy %v, counts %+v", target.Busy(), target.Counts())
	}
	same(t, "batch", paths(target.Take(9)), []change.Path{"b"})
	if _, ok := target.Next(); !ok {
		t.Error("nothing is due")
	}
	record(j, "a", at(2), 0)
	same(t, "batch", paths(target.Take(9)), []change.Path{"a"})
	same(t, "tries", target.Tries("a"), 0)
}

func TestRetryMakesReadyAndForgetForgetsDeadLetters(t *testing.T) {
	j := New(0)
	target := j.Open("a")
	for _, p := range []change.Path{"retry", "dead", "gone", "changed", "braked"} {
		record(j, p, at(1), 0)
	}
	for _, m := range target.Take(10) {
		if m.Path == "braked" {
			target.Hold(m)
		} else {
			target.Fail(m, errTest, time.Now().Add(time.Hour), m.Path != "retry")
		}
	}
	rows, count := target.List(2, Retry, Dead)
	if count != 4 || len(rows) != 2 || rows[0].Path != "changed" || rows[1].Path != "dead" {
		t.Errorf("listed %d: %+v", count, rows)
	}
	dead, _ := target.List(10, Dead)
	record(j, "changed", at(2), 0)
	same(t, "batch", paths(target.Take(10)), []change.Path{"changed"})
	// What was marked anew since it was listed is not forgotten.
	forgot := target.Forget(append(dead, rows[0])...)
	if len(forgot) != 2 || forgot[0].Path != "dead" || forgot[1].Path != "gone" {
		t.Errorf("forgot %+v", forgot)
	}
	same(t, "retried", target.Retry(), 1)
	same(t, "batch", paths(target.Take(10)), []change.Path{"retry"})
	same(t, "braked", target.Counts().Braked, 1)
	if err := target.consistent(); err != nil {
		t.Error(err)
	}
}

// What a target has too much is no surprise where it is owed to go, or went there a moment ago, alone or with a directory above.
func TestSurplusIsWhatNobodySawGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(0)
		target := j.Open("a")
		record(j, "dir", at(1), change.WasDir)
		record(j, "file", at(1), change.WasFile)
		record(j, "replaced", at(1), change.Extras)
		record(j, "changed", at(1), 0)
		target.Changed(Changed{Path: "removed", Bits: change.Extras | change.Content}, Changed{Path: "sent"})
		target.Take(100) // what is in flight is owed
		for p, surplus := range map[change.Path]int{
			"dir": 0, "dir/a/b": 0, "file": 0, "replaced/a": 0, "changed": 0, "removed": 0, "removed/a": 0, "sent": 0,
			"changed/a": 1, "sent/a": 1, "di": 1, "other": 1,
		} {
			if n := target.Surplus(p); n != surplus {
				t.Errorf("%s: %d, want %d", p, n, surplus)
			}
		}
		target.Ack(target.Take(100)...)
		time.Sleep(2 * recentTime)
		target.Changed(Changed{Path: "now"})
		if n := target.Surplus("removed", "removed/a", "sent", "now"); n != 3 {
			t.Errorf("%d are not known any more, want 3", n)
		}
	})
}
