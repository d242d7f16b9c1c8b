package apply

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkWays measures what the package chose among: how 4 KiB with mode and time can take a name, with a syncfs for each 1000 files.
// "later" is what the package does where there is a disk: the temporary name goes after that, and a second syncfs follows.
// Microseconds a file, the best of three or more on a busy machine of two cores, Linux 6.18; images are in memory, and the disk is without
// any syncfs (-benchtime 900x), which is what a file waits for:
//
//	                                 tmpfs  ext4   xfs  btrfs  ext4 on a disk
//	new, rename                         16    71    62    250       90
//	new, link, unlink later             18    65    70    287      104
//	new, O_TMPFILE and link             14    53    52    320      236
//	replace, rename                     18    84    84    148      523
//	replace, exchange and unlink        20    78   101    249      423
//	replace, exchange, unlink later     20    71   101    247       63
//
// What is dearer on xfs and btrfs is the second syncfs. It is worth it: when the power was lost after a rename, a new file was without content
// on all three, and on xfs also one that had been replaced. O_TMPFILE leaves nothing behind that tells.
//
// On the disk the unlink is what is dear: 150 µs for the median of 10,000 old versions after their syncfs, 780 on the average, against 9 and 49 for
// the exchange and 230 and 1170 for the rename. So nobody may wait for those unlinks: see maxWaiting.
func BenchmarkWays(b *testing.B) {
	ways := []struct {
		name string
		old  bool
		put  func(dir int, tmp, name string, fd *int) error
		// later: tmp is there still, and goes after the syncfs.
		later bool
	}{
		{"new, rename", false, func(dir int, tmp, name string, _ *int) error {
			return unix.Renameat2(dir, tmp, dir, name, unix.RENAME_NOREPLACE)
		}, false},
		{"new, link, unlink later", false, func(dir int, tmp, name string, _ *int) error {
			return unix.Linkat(dir, tmp, dir, name, 0)
		}, true},
		{"new, O_TMPFILE and link", false, func(dir int, _, name string, fd *int) error {
			return unix.Linkat(*fd, "", dir, name, unix.AT_EMPTY_PATH)
		}, false},
		{"replace, rename", true, func(dir int, tmp, name string, _ *int) error {
			return unix.Renameat(dir, tmp, dir, name)
		}, false},
		{"replace, exchange and unlink", true, func(dir int, tmp, name string, _ *int) error {
			if err := unix.Renameat2(dir, tmp, dir, name, unix.RENAME_EXCHANGE); err != nil {
				return err
			}
			return unix.Unlinkat(dir, tmp, 0)
		}, false},
		{"replace, exchange, unlink later", true, func(dir int, tmp, name string, _ *int) error {
			return unix.Renameat2(dir, tmp, dir, name, unix.RENAME_EXCHANGE)
		}, true},
	}
	for where, at := range places(b) {
		for _, way := range ways {
			b.Run(where+" "+way.name, func(b *testing.B) {
				w := wayRig{B: b, tmpfile: way.name == "new, O_TMPFILE and link", names: 1 << 62}
				w.open(at)
				defer unix.Close(w.dir)
				if way.old {
					w.names = 1000
					w.run(1000, func(dir int, tmp, name string, _ *int) error { return unix.Renameat(dir, tmp, dir, name) }, false)
				}
				b.ResetTimer()
				w.run(b.N, way.put, way.later)
			})
		}
	}
}

type wayRig struct {
	*testing.B
	dir     int
	tmpfile bool
	names   int
}

func (w *wayRig) must(err error) {
	if err != nil {
		w.Fatal(err)
	}
}

func (w *wayRig) open(at string) {
	name, err := os.MkdirTemp(at, "ways")
	w.must(err)
	w.dir, err = unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	w.must(err)
}

func (w *wayRig) run(n int, put func(int, string, string, *int) error, later bool) {
	var waits []string
	for i := range n {
		tmp := fmt.Sprintf(".sersync-tmp.%032x.%d", i, i)
		fd, err := w.create(tmp)
		w.must(err)
		_, err = unix.Write(fd, block)
		w.must(err)
		w.must(unix.Fchmod(fd, 0o644))
		w.must(node{fd: fd}.setMtime(someTime))
		w.must(put(w.dir, tmp, fmt.Sprint("f", i%w.names), &fd))
		w.must(unix.Close(fd))
		if later {
			waits = append(waits, tmp)
		}
		if i%1000 != 999 {
			continue
		}
		w.must(unix.Syncfs(w.dir))
		for _, tmp := range waits {
			w.must(unix.Unlinkat(w.dir, tmp, 0))
		}
		if len(waits) > 0 {
			w.must(unix.Syncfs(w.dir))
		}
		waits = nil
	}
}

func (w *wayRig) create(tmp string) (int, error) {
	if w.tmpfile {
		return unix.Openat(w.dir, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	}
	return unix.Openat(w.dir, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
}
