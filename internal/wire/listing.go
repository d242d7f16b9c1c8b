package wire

import (
	"cmp"
	"io"
	"os"
	"slices"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"sersync/internal/perm"
)

// Canon leaves of an entry what both sides can have alike: what the target cannot store, and what says nothing, is zero.
func (f Facts) Canon(a Attr) Attr {
	if !f.Owners {
		a.UID, a.GID = 0, 0
	}
	a.Mtime -= mod(a.Mtime, f.Granularity)
	switch {
	case a.Type() == unix.S_IFLNK:
		a.Mode = unix.S_IFLNK | 0o777
	case !f.SetID && !a.IsDir():
		a.Mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return a
}

// SumXattrs is the hash of extended attributes, as far as the target keeps them; zero for none.
func (f Facts) SumXattrs(all []Xattr) Sum {
	var names []string
	values := make(map[string][]byte)
	for _, x := range all {
		if f.keeps(x.Name) {
			names = append(names, x.Name)
			values[x.Name] = x.Value
		}
	}
	if len(names) == 0 {
		return Sum{}
	}
	slices.Sort(names)
	var b []byte
	for _, name := range names {
		b = appendText(appendText(b, name), perm.BareXattr(name, string(values[name])))
	}
	return SumBytes(b)
}

func (f Facts) keeps(name string) bool {
	switch {
	case f.Fake:
		return !perm.Faked(name)
	case name == perm.Capability:
		return f.SetID
	}
	return true
}

// mod is what is above the next lower multiple, before 1970 too.
func mod(n, of int64) int64 { return ((n % of) + of) % of }

// SumOf is the hash of a listing, which it sorts. Two listings with the same one are the same as far as the target can store them.
func (f Facts) SumOf(entries []Listed) Sum {
	slices.SortFunc(entries, func(a, b Listed) int { return cmp.Compare(a.Name, b.Name) })
	var b []byte
	for _, l := range entries {
		l.Attr = f.Canon(l.Attr)
		b = l.encode(b)
	}
	return SumBytes(b)
}

// SumBytes is the hash of content.
func SumBytes(b []byte) Sum {
	full := blake3.Sum256(b)
	return Sum(full[:SumSize])
}

// SumChunk is how much SumFile reads at a time, in bytes.
const SumChunk = 1 << 20

// SumFile is the hash of the content of a regular file in a directory that is open. Of what is none by now it is that of nothing.
// pace is called with how much was read each time, SumChunk at the most, and may wait.
func SumFile(dir int, name string, pace func(n int) error) (sum Sum, err error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return sum, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return sum, err
	}
	h := blake3.New()
	buf := make([]byte, min(SumChunk, info.Size()+1)) // most files are small
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err := pace(n); err != nil {
			return sum, err
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, err
		}
	}
	copy(sum[:], h.Sum(nil))
	return sum, nil
}
