package apply

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Several replace files, of which a few fill the disk, while one more syncs: what a Sync that runs is about to free is waited for.
func TestASyncThatRunsMakesRoom(t *testing.T) {
	const file = 4 << 20
	for _, c := range []struct {
		kind        string
		size, files int64
	}{{"ext4", 64, 7}, {"xfs", 320, 14}} { // xfs takes more for a file than it needs, for as long as that is open
		t.Run(c.kind, func(t *testing.T) {
			r := openImage(t, newImage(t, c.kind, c.size, t.TempDir()))
			r.leave(c.files * file)
			stop := make(chan struct{})
			var work, beside sync.WaitGroup
			beside.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if err := r.Sync(); err != nil {
							t.Error(err)
						}
					}
				}
			})
			for w := range 3 {
				work.Go(func() {
					for range 20 {
						if err := r.large(change.Path(fmt.Sprint("f", w)), file); err != nil {
							t.Error(err)
						}
					}
				})
			}
			work.Wait()
			close(stop)
			beside.Wait()
			r.must(r.Close())
		})
	}
}

// leave fills the file system but for some space.
func (r *rig) leave(space int64) {
	r.Helper()
	f, err := os.Create(r.at("full"))
	r.must(err)
	defer f.Close()
	var fs unix.Statfs_t
	r.must(unix.Fstatfs(int(f.Fd()), &fs))
	r.must(unix.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-space))
}
