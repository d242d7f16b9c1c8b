package replicate_test

import (
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/watch"
	"sersync/internal/watch/mixed"
)

// Nothing tells of a change, and nobody waits for it: it is found by the look every GapEvery, removals too.
func TestPolledSourceIsReplicatedOnASchedule(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.watchedBy(mixed.Options{Method: watch.Poll}) })
	r.write("d/gone", "x")
	r.start()
	r.eventually("what is there arrives", func() bool { return r.there("one", "d/gone") == "x" })
	r.write("d/new", "new")
	r.must(os.Remove(filepath.Join(r.dir, "d/gone")))
	r.eventually("the change arrives", func() bool { return r.there("one", "d/new") == "new" && !r.exists("one", "d/gone") })
	s := r.src.Status()
	if s.Watcher != watch.Poll || len(s.Gaps) != 1 || s.Gaps[0].Path != "." || len(s.Parts) != 1 || s.Parts[0].Reason == "" {
		t.Errorf("status: %+v", s)
	}
	// Who waits has it looked at once more.
	r.write("d/new", "newer")
	r.equal("one")
}
