package replicate_test

import (
	"os"
	"sync/atomic"
	"testing"

	"sersync/internal/watch/mixed"
)

// What is renamed once more, or comes to where something went, while a sender is at work is moved, also when nobody was told of it yet.
func TestRenamesThatASenderSeesBeforeItIsToldAreRenames(t *testing.T) {
	for name, c := range map[string]struct{ told, untold func(r *rig) }{
		"a file, once more": {
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rename("x", "y") },
		},
		"a directory, once more": {
			func(r *rig) { r.rename("d", "x") }, func(r *rig) { r.rename("x", "y") },
		},
		"a file, over another one that came": {
			func(r *rig) { r.rename("a", "x"); r.rename("b", "a") }, func(r *rig) { r.rename("x", "b") },
		},
		"a file where one went": {
			func(r *rig) { r.must(os.Remove(r.path("a"))) }, func(r *rig) { r.rename("b", "a") },
		},
		"a directory where one went": {
			func(r *rig) { r.must(os.RemoveAll(r.path("d"))) }, func(r *rig) { r.rename("e", "d") },
		},
		"a directory where one was": {
			func(r *rig) { r.rename("d", "x") }, func(r *rig) { r.rename("e", "d") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			byEach(t, func(t *testing.T, by mixed.Options) {
				late := new(atomic.Bool)
				r, sent := ownRig(t, func(r *rig) {
					r.watchedBy(by)
					r.watchedLate(late)
					r.opts.Targets = append(r.opts.Targets, r.local("two"))
				})
				r.write("a", "a 1")
				r.write("b", "b 22")
				r.fill("d", 30)
				r.fill("e", 30)
				before := r.onePaused(sent)
				c.told(r)
				r.equal("two")
				late.Store(true)
				c.untold(r)
				r.must(r.src.Resume("one"))
				r.eventually("somebody asks", func() bool { return !late.Load() })
				r.equal("one")
				if n := sent.Load() - before; n > 0 {
					t.Errorf("%d files were sent", n)
				}
			})
		})
	}
}
