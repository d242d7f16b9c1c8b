package delta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// zero reports whether p is nothing but zeros. Nearly always its first word tells.
func zero(p []byte) bool {
	if len(p) >= 8 && binary.LittleEndian.Uint64(p) != 0 {
		return false
	}
	// p is zeros if it starts with one and is the same moved by one.
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// holeEnd is where the hole ends that a file of this size has at offset; offset itself if there is none, or if it cannot
// be known. The file's own position moves by it, which no reading here goes by.
func holeEnd(file io.ReaderAt, offset, size int64) int64 {
	f, ok := file.(*os.File)
	if !ok {
		return offset
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return offset
	}
	end := offset
	_ = conn.Control(func(fd uintptr) {
		data, err := unix.Seek(int(fd), offset, unix.SEEK_DATA)
		switch {
		case err == unix.ENXIO: // nothing but a hole, up to the end
			end = size
		case err == nil:
			end = max(offset, min(data, size))
		}
	})
	return end
}

// punch makes a hole where the file has something.
func punch(file Output, offset, n int64) error {
	f, ok := file.(*os.File)
	if !ok {
		return fmt.Errorf("make hole: %w", errors.ErrUnsupported)
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n); err != nil {
		return fmt.Errorf("make hole in %q: %w", f.Name(), err)
	}
	return nil
}
