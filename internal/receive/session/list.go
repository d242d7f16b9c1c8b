package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/wire"
)

// comparison is one that a sender makes.
type comparison struct {
	c       *conn
	content bool
}

// run answers questions until the sender ends. An error is one of the connection.
func (q *comparison) run(ctx context.Context) error {
	for {
		m, err := q.c.read()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wire.Alive:
		case *wire.Dir:
			err = q.answer(ctx, m)
		case *wire.End:
			return q.c.say(&wire.Done{})
		default:
			err = fmt.Errorf("%T in a comparison: %w", m, wire.ErrFrame)
		}
		if err != nil {
			return err
		}
	}
}

// piece is how many entries go in one message at the most; each has some 300 bytes at the worst, beside what a symlink holds.
const piece = 128

func (q *comparison) answer(ctx context.Context, m *wire.Dir) error {
	all, err := q.list(ctx, m.Path)
	switch {
	case apply.KindOf(err) == apply.NoParent:
		return q.c.put(&wire.Listing{Absent: true, Last: true})
	case err != nil:
		return q.c.put(&wire.Listing{Unknown: true, Last: true, Text: cut(err.Error())})
	}
	if sum := q.c.s.facts().SumOf(all); !m.All && sum == m.Sum {
		return q.c.put(&wire.Listing{Equal: true, Last: true})
	}
	for len(all) > piece {
		if err := q.c.put(&wire.Listing{Entries: all[:piece]}); err != nil {
			return err
		}
		all = all[piece:]
	}
	return q.c.put(&wire.Listing{Entries: all, Last: true})
}

// list is what is in a directory, and the directory itself.
func (q *comparison) list(ctx context.Context, p change.Path) ([]wire.Listed, error) {
	dir, err := q.c.s.tree.OpenDir(p)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, err
	}
	all := []wire.Listed{{Attr: wire.AttrOf(change.StatOf(&st))}}
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if apply.Reserved(name) {
				continue
			}
			l, err := q.entry(ctx, dir, name)
			switch {
			case errors.Is(err, unix.ENOENT) || err == nil && q.c.s.excluded(p.Join(name), l.Attr.IsDir()):
				continue
			case err != nil:
				return nil, err
			}
			all = append(all, l)
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (q *comparison) entry(ctx context.Context, dir *os.File, name string) (l wire.Listed, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return l, err
	}
	l = wire.Listed{Name: name, Attr: wire.AttrOf(change.StatOf(&st))}
	switch {
	case l.Attr.Type() == unix.S_IFLNK:
		buf := make([]byte, wire.MaxLink)
		n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
		if err != nil {
			return l, err
		}
		l.Attr.Link = string(buf[:n])
		if q.c.s.o.Munge {
			l.Attr.Link = strings.TrimPrefix(l.Attr.Link, Munged)
		}
	case q.content && l.Attr.IsRegular():
		l.Sum, err = wire.SumFile(int(dir.Fd()), name, func(int) error { return ctx.Err() })
	}
	return l, err
}
