package apply

import (
	"bytes"
	"encoding/binary"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// entry is one of a directory. The kind is a DT_ of the kernel, DT_UNKNOWN on some file systems.
type entry struct {
	name string
	kind byte
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// entries reads an open directory from its start.
func entries(fd int, yield func(entry) error) error {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return err
	}
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	for {
		n, err := unix.Getdents(fd, buffer[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		for rest := buffer[:n]; len(rest) > 0; {
			var d unix.Dirent
			size := binary.NativeEndian.Uint16(rest[unsafe.Offsetof(d.Reclen):])
			name, _, _ := bytes.Cut(rest[unsafe.Offsetof(d.Name):size], []byte{0})
			e := entry{string(name), rest[unsafe.Offsetof(d.Type)]}
			rest = rest[size:]
			if e.name == "." || e.name == ".." {
				continue
			}
			if err := yield(e); err != nil {
				return err
			}
		}
	}
}
