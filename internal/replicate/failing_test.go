package replicate_test

import (
	"os"
	"testing"
)

// A person could run by hand what the brake holds.
func TestRemovalsThatABrakeHoldsAreNotFailing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("a", "x")
	r.write("b", "x")
	r.start()
	r.equal("one")
	r.daemon.Stop()
	r.must(os.Remove(r.dir + "/a"))
	gone := func() (n int) {
		for _, f := range r.src.Failing(10) {
			for _, p := range f.Paths {
				if p.Gone {
					n++
				}
			}
		}
		return n
	}
	r.eventually("the removal fails while the target is away", func() bool { return gone() > 0 })
	r.must(os.Rename(r.dir, r.dir+".away"))
	r.must(os.Mkdir(r.dir, 0o755))
	r.eventually("the brake holds", func() bool { return r.src.Status().Brake != nil })
	r.eventually("what is missing now is owed", func() bool { return r.src.Status().Targets[0].Waiting > 1 })
	if n := gone(); n > 0 {
		t.Errorf("%d removals are listed", n)
	}
	r.daemon.Restart()
}
