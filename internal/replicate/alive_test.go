package replicate_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// A filter that is asked about a hostile name says so, and here it does not come back from that.
func TestASourceWhoseIntakeHangsIsNotAlive(t *testing.T) {
	hangs, goOn := make(chan struct{}), make(chan struct{})
	free := sync.OnceFunc(func() { close(goOn) })
	r := newRig(t, func(r *rig) {
		rules, err := filter.New(filter.Regex("test:1", `(a*)*b`))
		r.must(err)
		rules.OnTimeout = func(string, change.Path) { close(hangs); <-goOn }
		r.opts.Filter = rules
	})
	r.start()
	t.Cleanup(free) // before the stop, which waits for the intake
	alive := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		return r.src.Alive(ctx) == nil
	}
	r.equal("one")
	r.eventually("the source is alive", alive)

	r.write(strings.Repeat("a", 200)+"!", "")
	<-hangs
	r.eventually("the source is not alive", func() bool { return !alive() })
	free()
	r.eventually("the source is alive again", alive)

	// A root that is gone is not a source that hangs: it is looked for.
	r.must(os.Rename(r.dir, r.dir+".away"))
	r.eventually("the root is gone", func() bool { return r.src.Status().State == "root-gone" })
	r.eventually("the source is alive without a root", alive)
	r.must(os.Rename(r.dir+".away", r.dir))
}
