package apply

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// Both take locks: what is left over is removed and the time of its directory kept, while directories take the places of files.
func TestRecoverAndWhatIsPutDoNotWaitForEachOther(t *testing.T) {
	const rounds = 50
	for round := range rounds {
		dir := t.TempDir()
		var paths []change.Path
		for n := range 20 {
			d := filepath.Join(dir, fmt.Sprint("d", n))
			// f makes way; the other one is left over from another process, for a name that nobody has.
			err := os.Mkdir(d, 0o755)
			for _, name := range []string{"f", filter.TempPrefix + hash("gone") + ".other-1"} {
				err = errors.Join(err, os.WriteFile(filepath.Join(d, name), []byte("x"), 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, change.Path(fmt.Sprintf("d%d/f", n)))
		}
		r := openRig(t, dir, all())
		done := make(chan struct{})
		go func() {
			defer close(done)
			var both sync.WaitGroup
			both.Go(func() { _ = r.Recover(t.Context()) })
			for _, p := range paths {
				both.Go(func() {
					if _, err := r.Put(p, dirAttr(), Old{}); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("they wait in round %d", round)
		}
	}
}
