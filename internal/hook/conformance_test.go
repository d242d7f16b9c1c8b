package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
)

// implementation is one implementation as the suite sees it.
type implementation struct {
	// open makes a hook, and what says which paths its other side has been told so far, in their order, as they are below the root.
	open func(t *testing.T) (Hook, func() []string)
	// refused makes a hook whose other side takes nothing.
	refused func(t *testing.T) Hook
	// hanging are hooks whose other side takes what it is told and never comes to an end; released says that nothing is left of it.
	hanging func(t *testing.T) (hooks []Hook, released func() bool)
}

func implementations() map[string]implementation {
	return map[string]implementation{
		"run": runSubject(), "command": commandSubject(),
		"post": postSubject(), "purge": purgeSubject(), "http": httpSubject(),
		"socket": socketSubject(), "refreshCDN": refreshCDNSubject(),
	}
}

func TestConformance(t *testing.T) {
	for name, s := range implementations() {
		t.Run(name, func(t *testing.T) {
			t.Run("tells in order, and hostile names as they are", s.inOrder)
			t.Run("is told of by many at once", s.atOnce)
			t.Run("says that it was refused", s.refuses)
			t.Run("ends with its context", s.hangs)
			t.Run("does nothing when its context has ended", s.cancelled)
			t.Run("has nothing to tell of a state, or tells it", s.state)
		})
	}
}

// eventOf is an event of files below /r.
func eventOf(names ...string) Event {
	e := Event{ID: "1", Hook: "h", On: AllTargetsAcked, Source: "www", Root: "/r", Targets: []string{"t"}, Time: time.Now()}
	for _, name := range names {
		e.Paths = append(e.Paths, Path{Path: change.Path(name), What: Updated, Since: e.Time})
	}
	return e
}

// bounded ends long after anything that ends at all.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a state.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func (s implementation) inOrder(t *testing.T) {
	h, told := s.open(t)
	want := append([]string{"plain", "d/e/f.html"}, hostile()...)
	for i, name := range hostile() {
		want = append(want, fmt.Sprintf("%d/%s/%s", i, name, name))
	}
	for batch := range slices.Chunk(want, 7) {
		if err := h.Tell(bounded(t), eventOf(batch...)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "told", func() bool { return len(told()) >= len(want) })
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Error(diff)
	}
	for _, dir := range []string{"/", "."} {
		if _, err := os.Lstat(filepath.Join(dir, "ran")); err == nil {
			t.Errorf("a name was run as a command in %s", dir)
		}
	}
}

func (s implementation) atOnce(t *testing.T) {
	h, told := s.open(t)
	var want []string
	var all sync.WaitGroup
	for i := range 8 {
		names := []string{fmt.Sprintf("%d/a", i), fmt.Sprintf("%d/b", i)}
		want = append(want, names...)
		all.Go(func() {
			if err := h.Tell(bounded(t), eventOf(names...)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	until(t, "told", func() bool { return len(told()) >= len(want) })
	got := told()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func (s implementation) refuses(t *testing.T) {
	err := s.refused(t).Tell(bounded(t), eventOf("a"))
	if err == nil {
		t.Fatal("a refusal is no error")
	}
	t.Log(err)
}

func (s implementation) hangs(t *testing.T) {
	hooks, released := s.hanging(t)
	for _, h := range hooks {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := h.Tell(ctx, eventOf("a"))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		t.Log(err)
	}
	until(t, "nothing is left", released)
}

func (s implementation) cancelled(t *testing.T) {
	h, told := s.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Tell(ctx, eventOf("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if got := told(); len(got) > 0 {
		t.Errorf("it told %q", got)
	}
}

func (s implementation) state(t *testing.T) {
	h, told := s.open(t)
	e := Event{ID: "1", On: TargetDown, Source: "www", Root: "/r", Target: "t", State: "away", Time: time.Now()}
	if err := h.Tell(bounded(t), e); err != nil {
		t.Error(err)
	}
	if got := told(); len(got) > 0 {
		t.Errorf("it told the paths %q", got)
	}
}
