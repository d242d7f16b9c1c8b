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
	"sersync/internal/wire"
)

// comparison is one that a sender makes.
type comparison struct {
	c       *conn
	content bool
	// trash: it is about what the trash holds.
	trash bool
	// room is how many Listings the sender has room for, and waiting are its questions that came while there was none.
	room    int
	waiting []wire.Message
}

// run answers questions until the sender ends. An error is one of the connection.
func (q *comparison) run(ctx context.Context) error {
	q.room = wire.MaxListings
	for {
		over, err := q.take()
		for err == nil && len(q.waiting) > 0 {
			next := q.waiting[0]
			q.waiting = q.waiting[1:]
			err = q.answer(ctx, next)
		}
		if err != nil {
			return err
		}
		if over {
			return q.c.say(&wire.Done{})
		}
	}
}

// take reads a message, and reports whether it is the end.
func (q *comparison) take() (over bool, err error) {
	m, err := q.c.read()
	if err != nil {
		return false, err
	}
	switch m := m.(type) {
	case *wire.Alive:
	case *wire.Dir:
		q.waiting = append(q.waiting, m)
	case *wire.Fetch, *wire.Expire:
		if !q.trash {
			return false, fmt.Errorf("%T in a comparison: %w", m, wire.ErrFrame)
		}
		q.waiting = append(q.waiting, m)
	case *wire.More:
		q.room += m.Listings
	case *wire.End:
		over = true
	default:
		return false, fmt.Errorf("%T in a comparison: %w", m, wire.ErrFrame)
	}
	if len(q.waiting) > wire.MaxQuestions || q.room > wire.MaxListings {
		return false, fmt.Errorf("%d questions, and room for %d answers: %w", len(q.waiting), q.room, wire.ErrFrame)
	}
	return over, nil
}

// put sends an answer as soon as the sender has room for it.
func (q *comparison) put(m wire.Message) error {
	for q.room == 0 {
		over, err := q.take()
		if err == nil && over {
			err = fmt.Errorf("the end of a comparison before its answers: %w", wire.ErrFrame)
		}
		if err != nil {
			return err
		}
	}
	q.room--
	return q.c.put(m)
}

func (q *comparison) answer(ctx context.Context, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Fetch:
		return q.fetch(ctx, m)
	case *wire.Expire:
		return q.expire(ctx, m)
	case *wire.Dir:
		return q.answerDir(ctx, m)
	}
	return nil
}

func (q *comparison) answerDir(ctx context.Context, m *wire.Dir) error {
	all, err := q.list(ctx, m)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case apply.KindOf(err) == apply.NoParent:
		return q.put(&wire.Listing{Absent: true, Last: true})
	case err != nil:
		return q.put(&wire.Listing{Unknown: true, Last: true, Text: cut(err.Error())})
	}
	if sum := q.c.s.facts().SumOf(all); !m.All && sum == m.Sum {
		return q.put(&wire.Listing{Equal: true, Last: true})
	}
	for len(all) > wire.MaxListed {
		if err := q.put(&wire.Listing{Entries: all[:wire.MaxListed]}); err != nil {
			return err
		}
		all = all[wire.MaxListed:]
	}
	return q.put(&wire.Listing{Entries: all, Last: true})
}

// list is what is in a directory, and the directory itself.
func (q *comparison) list(ctx context.Context, m *wire.Dir) ([]wire.Listed, error) {
	at, err := q.at(m.Path)
	if err != nil {
		return nil, err
	}
	dir, err := q.c.s.tree.OpenDir(at)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	itself, err := q.entry(ctx, dir, "", m.Xattrs)
	if err != nil {
		return nil, err
	}
	all := []wire.Listed{itself}
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if apply.Reserved(name) {
				continue
			}
			l, err := q.entry(ctx, dir, name, m.Xattrs)
			switch {
			case errors.Is(err, unix.ENOENT) || err == nil && q.hidden(m.Path.Join(name), l.Attr.IsDir()):
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

// entry is one entry of a directory, or with an empty name the directory.
func (q *comparison) entry(ctx context.Context, dir *os.File, name string, xattrs bool) (l wire.Listed, err error) {
	tree, fd := q.c.s.tree, int(dir.Fd())
	st, err := tree.LookAt(fd, name)
	if err != nil {
		return l, err
	}
	l = wire.Listed{Name: name, Attr: wire.AttrOf(st)}
	switch {
	case l.Attr.Type() == unix.S_IFLNK:
		l.Attr.Link, err = tree.LinkAt(fd, name)
		if q.c.s.o.Munge {
			l.Attr.Link = strings.TrimPrefix(l.Attr.Link, Munged)
		}
		return l, err
	case q.content && l.Attr.IsRegular():
		if l.Sum, err = wire.SumFile(fd, name, func(int) error { return ctx.Err() }); err != nil {
			return l, err
		}
	}
	if xattrs && (l.Attr.IsDir() || l.Attr.IsRegular()) {
		err = q.xattrs(fd, &l)
	}
	return l, err
}

// xattrs adds the hash of extended attributes.
func (q *comparison) xattrs(dir int, l *wire.Listed) error {
	all, err := q.c.s.tree.XattrsAt(dir, l.Name, l.Attr.Mode)
	if errors.Is(err, os.ErrPermission) {
		l.Unreadable = true
		return nil
	}
	l.Xattrs = q.c.s.facts().SumXattrs(xattrsOf(all))
	return err
}

func xattrsOf(all []apply.Xattr) []wire.Xattr {
	var sent []wire.Xattr
	for _, x := range all {
		sent = append(sent, wire.Xattr{Name: x.Name, Value: []byte(x.Value)})
	}
	return sent
}
