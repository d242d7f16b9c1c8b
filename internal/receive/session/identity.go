package session

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"sersync/internal/delta"
)

// identity follows whether a new file is the old one, which then stays in its place.
type identity struct {
	old  *os.File // nil when it is not
	base int      // the number of old among the bases
	at   int64
	buf  []byte
}

// add is for each operation, in order.
func (s *identity) add(op delta.Op) {
	if s.old == nil {
		return
	}
	same := true
	switch op.Kind {
	case delta.Copy:
		same = op.Base == s.base && op.Offset == s.at
	case delta.Data:
		same = s.holds(op.Data)
	case delta.Hole:
		same = s.empty(s.at, s.at+op.Length)
	}
	s.at += op.Length + int64(len(op.Data))
	if !same {
		s.old = nil
	}
}

// read reads from the old file; less at its end, or when it cannot be read.
func (s *identity) read(at int64, n int) []byte {
	if s.buf == nil {
		s.buf = make([]byte, delta.MaxData)
	}
	n, _ = s.old.ReadAt(s.buf[:n], at)
	return s.buf[:n]
}

func (s *identity) holds(p []byte) bool { return bytes.Equal(s.read(s.at, len(p)), p) }

// empty reports whether the old file has nothing but zeros from a place up to another one.
func (s *identity) empty(from, to int64) bool {
	for from < to {
		data, err := unix.Seek(int(s.old.Fd()), from, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO):
			return true // that it is long enough is known
		case err == nil && data >= to:
			return true
		case err == nil:
			from = max(from, data)
		}
		n := int(min(to-from, delta.MaxData))
		p := s.read(from, n)
		if len(p) < n || len(bytes.Trim(p, "\x00")) > 0 {
			return false
		}
		from += int64(n)
	}
	return true
}
