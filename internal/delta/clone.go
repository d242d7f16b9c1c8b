package delta

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// minClone is the least range that is worth a call.
const minClone = 64 << 10

// cloner has the new file share the blocks of a base, where the file system can (xfs, btrfs): nothing is written then, and
// no room taken. Where it cannot, reading and writing takes less time than copy_file_range, as the sum needs the bytes
// anyway: 0.56 s for a GiB against 0.66 on ext4, 0.8 against 0.86 on tmpfs.
type cloner struct {
	// out is nil if it is known not to work.
	out *os.File
}

// split says how many of n bytes at offset of the base to read first, and how many to clone after them, for the file at at.
func (c *cloner) split(base io.ReaderAt, offset, at, n int64) (before, cloned int64) {
	if _, ok := base.(*os.File); !ok || c.out == nil || (offset-at)%page != 0 {
		return n, 0
	}
	before = (page - at%page) % page
	cloned = (n - before) / page * page
	if cloned < minClone {
		return n, 0
	}
	return before, cloned
}

// clone reports whether the new file shares these n bytes of the base from now on. An error is not told: the bytes are
// written then, and it comes again if it matters.
func (c *cloner) clone(base io.ReaderAt, offset, at, n int64) bool {
	from := base.(*os.File)
	err := unix.IoctlFileCloneRange(int(c.out.Fd()), &unix.FileCloneRange{
		Src_fd: int64(from.Fd()), Src_offset: uint64(offset), Src_length: uint64(n), Dest_offset: uint64(at),
	})
	if err != nil {
		c.out = nil
	}
	return err == nil
}
