package journal

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sersync/internal/change"
)

func told(p string, bits change.Bits) change.Mark {
	return change.Mark{Path: change.Path(p), Since: time.Now(), Bits: bits}
}

// hears puts what happened to a path in the queue of a hook, as the ack of a target does.
func hears(h *Target, m change.Mark) { h.j.Open("one").AckTelling([]Telling{{h, []change.Mark{m}}}) }

// What happened to a path last is what a hook is told, whatever becomes of the call that told of what was before.
func TestHookIsToldOfWhatHappenedLast(t *testing.T) {
	const gone = change.Gone | change.WasDir
	for name, settle := range map[string]func(h *Target, m change.Mark){
		"ack":      func(h *Target, m change.Mark) { h.Ack(m) },
		"put back": func(h *Target, m change.Mark) { h.PutBack(m) },
		"fail":     func(h *Target, m change.Mark) { h.Fail(m, errors.New("no"), time.Now(), false) },
		"delay":    func(h *Target, m change.Mark) { h.Delay(time.Now().Add(time.Hour), m) },
	} {
		h := New(0).OpenHook("h", HookOptions{})
		hears(h, told("d", gone))
		marks := h.Take(10)
		if len(marks) != 1 || marks[0].Bits != gone {
			t.Fatalf("%s: took %v", name, marks)
		}
		hears(h, told("d", change.WasDir))
		settle(h, marks[0])
		if again := h.Take(10); len(again) != 1 || again[0].Bits != change.WasDir {
			t.Errorf("%s: took %v after it", name, again)
		}
	}
}

// A path waits until no target lacks it, and no longer than it may; in a file the queue is what it was.
func TestHookWaitsForAllTargets(t *testing.T) {
	j := New(0)
	one, two := j.Open("one"), j.Open("two")
	h := j.OpenHook("h", HookOptions{Together: time.Hour})
	for _, target := range []*Target{one, two} {
		target.Owe(told("f", 0))
	}
	m := one.Take(10)[0]
	one.AckTelling([]Telling{{h, []change.Mark{told("f", 0)}}}, m)
	if got := h.Take(10); len(got) != 0 {
		t.Errorf("told %v, and a target lacks it", got)
	}
	if got := j.Lacking("f"); fmt.Sprint(got) != "[two]" {
		t.Errorf("lacking: %v", got)
	}
	two.Ack(two.Take(10)[0])
	h.Arrived()
	if got := h.Take(10); len(got) != 1 {
		t.Errorf("told %v, and no target lacks it", got)
	}
}

// A queue that is full names the directories instead of what is in them, deepest first, and forgets nothing.
func TestQueueOfAHookFoldsWhatHasNoRoom(t *testing.T) {
	h := New(0).OpenHook("h", HookOptions{Max: 100})
	for i := range 1000 {
		hears(h, told(fmt.Sprintf("a/d%d/f%d", i%20, i), 0))
	}
	hears(h, told("top", 0))
	marks := h.Take(1000)
	if len(marks) > 100 || h.Folded() == 0 {
		t.Errorf("%d paths, folded %d times", len(marks), h.Folded())
	}
	covered := map[change.Path]bool{}
	for _, m := range marks {
		covered[m.Path] = m.Bits&change.Tree != 0
	}
	for i := range 1000 {
		p := change.Path(fmt.Sprintf("a/d%d/f%d", i%20, i))
		if _, named := covered[p]; !named && !covered[p.Parent()] && !covered["a"] && !covered[change.Root] {
			t.Fatalf("%s is forgotten: %v", p, marks)
		}
	}
	if _, named := covered["top"]; !named {
		t.Error("what is not deep had to go")
	}
}

// Ack and telling are in one transaction: a file has both, or neither.
func TestFileHasAckAndTellingOrNeither(t *testing.T) {
	path := t.TempDir() + "/state/j.db"
	j := New(0)
	if _, err := j.Keep(path, "s"); err != nil {
		t.Fatal(err)
	}
	one, h := j.Open("one"), j.OpenHook("h", HookOptions{})
	one.Owe(told("f", change.Live))
	m := one.Take(10)[0]
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	one.AckTelling([]Telling{{h, []change.Mark{told("f", 0)}}}, m)
	if err := j.Close(false); err != nil {
		t.Fatal(err)
	}
	k := New(0)
	if _, err := k.Keep(path, "s"); err != nil {
		t.Fatal(err)
	}
	defer k.Close(false)
	if got := k.Open("one").Take(10); len(got) != 0 {
		t.Errorf("the target is owed %v", got)
	}
	if got := k.OpenHook("h", HookOptions{}).Take(10); len(got) != 1 || got[0].Path != "f" {
		t.Errorf("the hook is told %v", got)
	}
	if fmt.Sprint(k.Targets(), k.Hooks()) != "[one] [h]" {
		t.Errorf("targets %q, hooks %q", k.Targets(), k.Hooks())
	}
}
