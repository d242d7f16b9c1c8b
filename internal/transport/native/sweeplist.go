package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// list is what the source has in a directory, and the directory itself. It says whether extended attributes are part of it.
func (w *sweep) list(ctx context.Context, p change.Path) (all []wire.Listed, xattrs bool, err error) {
	dir, err := w.root.OpenDir(p)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, false, err
	}
	xattrs = w.xattrs && hasXattrs(int(dir.Fd()))
	itself := wire.Listed{Attr: w.attrOf(&st)}
	if xattrs {
		w.sumXattrs(int(dir.Fd()), &itself)
	}
	all = []wire.Listed{itself}
	for {
		names, end := dir.Readdirnames(256)
		for _, name := range names {
			l, err := w.entry(ctx, dir, p, name)
			switch {
			case err == errLeft:
				continue
			case err != nil:
				return nil, false, err
			}
			if xattrs && (l.Attr.IsDir() || l.Attr.IsRegular()) {
				w.sumXattrs(int(dir.Fd()), &l)
			}
			all = append(all, l)
		}
		if end == io.EOF {
			return all, xattrs, nil
		}
		if end != nil {
			return nil, false, end
		}
	}
}

// errLeft: it is not compared.
var errLeft = errors.New("it is gone, or left out")

// entry is one entry of a directory at p.
func (w *sweep) entry(ctx context.Context, dir *os.File, p change.Path, name string) (l wire.Listed, err error) {
	at := p.Join(name)
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
		return l, errLeft
	} else if err != nil {
		return l, err
	}
	l = wire.Listed{Name: name, Attr: w.attrOf(&st)}
	if w.left(at, l.Attr.IsDir()) {
		return l, errLeft
	}
	if l.Attr.Type() == unix.S_IFLNK {
		if l.Attr.Link, err = w.looks.Readlink(at); err != nil {
			return l, errLeft
		}
	}
	if w.Content && l.Attr.IsRegular() {
		l.Sum, err = wire.SumFile(int(dir.Fd()), name, func(n int) error { return w.pace(ctx, n) })
		switch {
		case scan.NotThere(err):
			return l, errLeft
		case err != nil && ctx.Err() != nil:
			return l, err
		case err != nil:
			w.cannotRead(at, err)
		}
	}
	return l, nil
}

// attrOf is what a path is to be like on the target.
func (w *sweep) attrOf(st *unix.Stat_t) wire.Attr {
	a := wire.AttrOf(change.StatOf(st))
	a.Mode = w.c.facts.Chmod.Apply(a.Mode)
	return a
}

// cannotRead keeps that the content of a file is not known.
func (w *sweep) cannotRead(p change.Path, err error) {
	w.cannotCompare(fmt.Errorf("compare %q by content: %w", string(p), err))
	w.unread[p] = struct{}{}
}

// cannotCompare keeps that something is not known. All else is compared, and then the comparison fails.
func (w *sweep) cannotCompare(err error) {
	if w.unknown == nil {
		w.unknown = &transport.Error{Kind: transport.Broken, Err: err}
	}
}

// pace waits while content is read faster than it may be, and tells the target now and then that we are there.
func (w *sweep) pace(ctx context.Context, n int) error {
	if err := w.bound.WaitN(ctx, n); err != nil {
		return err
	}
	if time.Since(w.spoke) < aliveEvery {
		return nil
	}
	w.spoke = time.Now()
	return errors.Join(w.c.w.Write(&wire.Alive{}), w.c.w.Flush())
}

// left reports whether a path is left out of the comparison.
func (w *sweep) left(p change.Path, dir bool) bool {
	kind := filter.File
	if dir {
		kind = filter.Dir
	}
	return !w.exclude.Verdict(p, kind).Keep
}

// hasXattrs reports whether the file system of a directory that is open has extended attributes.
func hasXattrs(dir int) bool {
	_, err := unix.Flistxattr(dir, nil)
	return !errors.Is(err, unix.EOPNOTSUPP)
}

// sumXattrs adds the hash of the extended attributes that would be sent of an entry of an open directory, or of the directory.
func (w *sweep) sumXattrs(dir int, l *wire.Listed) {
	fd := dir
	if l.Name != "" {
		var err error
		if fd, err = unix.Openat(dir, l.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			l.Unreadable = true
			return
		}
		defer unix.Close(fd)
	}
	all, err := readXattrs(fd)
	if err != nil {
		l.Unreadable = true // none of them is sent either
		return
	}
	l.Xattrs = w.c.facts.SumXattrs(all)
}
