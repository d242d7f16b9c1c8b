package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// File is new content on its way to its place. It ends with Place, Keep or Discard, whatever they return; Keep and Discard afterwards do nothing. It
// is for one goroutine.
type File struct {
	t   *Tree
	d   *dir
	p   change.Path
	a   Attr
	old Old
	tmp string
	fd  int
	// given: it belongs to whom it is to belong to.
	given bool
	// at is where Write goes on; end is the furthest that was written, or left out as a hole.
	at, end, size int64
}

// Create begins new content of the regular file p.
func (t *Tree) Create(p change.Path, a Attr, old Old) (*File, error) {
	f := &File{t: t, p: p, a: a, old: old}
	create := func(d *dir, name string) error {
		tmp := t.temp(name)
		fd, err := unix.Openat(d.fd, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		f.d, f.tmp, f.fd = d, tmp, fd
		f.given = t.give(fd, owner{a.UID, a.GID})
		t.dirs.hold(d)
		return nil
	}
	err := t.bound()
	if err == nil {
		err = t.roomy(func() error { return t.within(p, create) })
	}
	if err != nil {
		return nil, t.fail("create", p, err)
	}
	return f, nil
}

// Write writes where the last Write or Hole ended.
func (f *File) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.at)
	f.at += int64(n)
	return n, err
}

// WriteAt does not move where Write goes on.
func (f *File) WriteAt(b []byte, at int64) (n int, err error) {
	for n < len(b) {
		var k int
		err = f.t.roomy(func() (err error) {
			k, err = unix.Pwrite(f.fd, b[n:], at+int64(n))
			return err
		})
		n += max(k, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			err = f.t.fail("write", f.p, err)
			break
		}
	}
	f.reached(at+int64(n), true)
	return n, err
}

func (f *File) reached(end int64, written bool) {
	f.end = max(f.end, end)
	if written {
		f.size = max(f.size, end)
	}
}

// Hole goes on n bytes further. What is between reads as zeros and takes no space.
func (f *File) Hole(n int64) {
	f.at += n
	f.reached(f.at, false)
}

// Place gives the content its attributes and its place. It has to be as long as its attributes say.
func (f *File) Place() (Done, error) {
	defer f.Discard()
	if f.end != f.a.Size {
		return Done{}, f.t.fail("place", f.p, fmt.Errorf("%w: %d bytes of %d", ErrContent, f.end, f.a.Size))
	}
	var done Done
	err := f.t.roomy(func() (err error) {
		done, err = f.dress()
		return err
	})
	if err == nil && !f.t.still(f.d) {
		err = unix.ENOENT
	}
	if err == nil {
		err = f.close() // a network file system may find here that there is no room
	}
	if err == nil {
		err = f.t.roomy(func() error { return f.t.place(f.d, f.tmp, f.p, f.old) })
	}
	if err != nil {
		return Done{}, f.t.fail("place", f.p, err)
	}
	f.tmp = ""
	done.Changed = true
	return done, nil
}

func (f *File) dress() (Done, error) {
	if err := f.stretch(); err != nil {
		return Done{}, err
	}
	return f.t.dressNew(node{fd: f.fd, files: f.t.o.OpenFiles}, f.d, f.p, &f.a, f.given)
}

// stretch makes a hole of what is at the end.
func (f *File) stretch() error {
	if f.size >= f.end {
		return nil
	}
	f.size = f.end
	return unix.Ftruncate(f.fd, f.end)
}

// Keep keeps what there is of a large file for the next try: see Tree.Partial.
func (f *File) Keep() error {
	if f.d == nil {
		return nil
	}
	defer f.Discard()
	err := f.stretch()
	if err == nil {
		err = f.close()
	}
	if err == nil {
		err = f.keepPart()
	}
	if err != nil {
		return f.t.fail("keep the part of", f.p, err)
	}
	f.tmp = ""
	return nil
}

func (f *File) keepPart() error {
	if err := unix.Mkdirat(f.d.fd, filter.PartialName, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return f.t.within(partial(f.p), func(d *dir, name string) error {
		err := unix.Renameat(f.d.fd, f.tmp, d.fd, name)
		if errors.Is(err, unix.EISDIR) {
			if err = removeTree(d.fd, name); err == nil {
				err = unix.Renameat(f.d.fd, f.tmp, d.fd, name)
			}
		}
		return err
	})
}

// Discard removes what was written.
func (f *File) Discard() {
	_ = f.close()
	if f.d == nil {
		return
	}
	if f.tmp != "" {
		_ = unix.Unlinkat(f.d.fd, f.tmp, 0)
	}
	f.t.leave(f.d)
	f.d = nil
}

func (f *File) close() error {
	if f.fd < 0 {
		return nil
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return err
}
