package journal_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/journal"
)

// What a person must see to is not on its way, and what is part of something that is, is.
func TestWhatIsOwedIsOnItsWay(t *testing.T) {
	j := journal.New(0)
	target := j.Open("one")
	for p, bits := range map[change.Path]change.Bits{
		"sent/f": 0, "failed": 0, "held": change.WasFile, "dead": 0, "gone": change.WasDir, "moved/in": change.Tree, "plain": 0,
	} {
		target.Owe(change.Mark{Path: p, Since: time.Now(), Bits: bits})
	}
	for _, m := range target.Take(100) {
		switch m.Path {
		case "failed":
			target.Fail(m, errors.New("no"), time.Now().Add(time.Hour), false)
		case "dead":
			target.Fail(m, errors.New("no"), time.Now().Add(time.Hour), true)
		case "held":
			target.Hold(m)
		case "gone":
			target.PutBack(m)
		}
	}
	ask := []change.Path{
		"sent/f", "sent", "sent/other", "failed", "dead", "held", "gone", "gone/below/f", "moved/in/f", "moved", "plain/f", "else/f",
	}
	want := []bool{true, true, false, false, false, false, true, true, true, true, false, false}
	if got := target.OnItsWay(ask); !slices.Equal(got, want) {
		t.Errorf("on their way:\n%v\n%v, want\n%v", ask, got, want)
	}
	if got := target.OnItsWay([]change.Path{change.Root}); !got[0] {
		t.Error("the root is not on its way, with entries of it under way")
	}
	target.Owe(change.Mark{Path: change.Root, Since: time.Now(), Bits: change.Tree | change.Extras})
	if got := target.OnItsWay(ask); slices.Contains(got, false) {
		t.Errorf("with all of the target to be compared, on their way: %v", got)
	}
}
