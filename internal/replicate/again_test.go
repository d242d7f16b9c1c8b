package replicate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/replicate"
	"sersync/internal/transport/rsync"
)

// A frozen receiver whose sender was killed may put its old content in place when it thaws.
func TestFrozenReceiverThatThawsLaterDoesNotWin(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Targets = []replicate.TargetOptions{r.target("one", func(o *rsync.Options) {
			o.Timeout, o.Bandwidth, o.NoWarm = 2*time.Second, 3000, true
		})}
	})
	r.start()
	r.must(os.WriteFile(filepath.Join(r.dir, "f"), bytes.Repeat([]byte("o"), 6<<20), 0o644))
	r.eventually("the transfer begins", func() bool {
		found, _ := filepath.Glob(filepath.Join(r.daemon.Dir("one"), ".f.*"))
		return len(found) > 0
	})
	r.daemon.Freeze()
	r.write("f", "new")
	r.eventually("the run is given up", func() bool { return r.src.Status().Targets[0].LastError != nil })
	r.daemon.Thaw()
	r.eventually("the new content is there", func() bool { return r.there("one", "f") == "new" })
	// The path is owed a second time, for when the old receiver is surely gone.
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "f"), []byte("what the thawed receiver wrote"), 0o644))
	if testing.Short() {
		return
	}
	r.eventually("the second look puts it right", func() bool { return r.there("one", "f") == "new" })
}
