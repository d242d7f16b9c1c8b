package session

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/filter"
	"sersync/internal/wire"
)

const hintTrash = "let " + filter.TrashName + " be a directory there that the user of the module may write, or leave out \"trash\" for this target"

// at is where the directory is that a question is about.
func (q *comparison) at(p change.Path) (change.Path, error) {
	switch {
	case !q.trash && inTrash(p):
		return p, unix.ENOENT
	case !q.trash:
		return p, nil
	case p == change.Root:
		return filter.TrashName, nil
	}
	return change.Path(filter.TrashName).Join(string(p)), nil
}

// hidden reports whether a path is not shown: what the module excludes, in the trash as well, below the day.
func (q *comparison) hidden(p change.Path, dir bool) bool {
	if q.trash {
		_, rest, _ := strings.Cut(string(p), "/")
		p = change.Path(rest)
	}
	return q.c.s.excluded(p, dir)
}

// fetch shows what the trash has at a path.
func (q *comparison) fetch(ctx context.Context, m *wire.Fetch) error {
	at, err := q.at(m.Path)
	if err != nil {
		return err
	}
	tree := q.c.s.tree
	a, err := tree.Describe(at)
	switch {
	case apply.KindOf(err) == apply.NoParent, err == nil && q.unseen(m.Path, a):
		return q.put(&wire.Result{Outcome: wire.Same})
	case err != nil:
		return q.put(&wire.Result{Outcome: wire.Failed, Text: cut(err.Error())})
	}
	e := &wire.Entry{Path: m.Path, Attr: wire.Attr{Mode: a.Mode, UID: a.UID, GID: a.GID, Rdev: a.Rdev, Size: a.Size, Mtime: a.Mtime, Link: a.Link}}
	for _, x := range a.Xattrs {
		e.Xattrs = append(e.Xattrs, wire.Xattr{Name: x.Name, Value: []byte(x.Value)})
	}
	e.HasXattrs = a.HasXattrs && fits(e.Xattrs)
	if q.c.s.o.Munge {
		e.Attr.Link = strings.TrimPrefix(e.Attr.Link, Munged)
	}
	if !m.Content || !e.Attr.IsRegular() {
		return q.putAll(e, &wire.ContentEnd{Whole: true})
	}
	if q.c.s.o.WriteOnly {
		return q.put(&wire.Result{Outcome: wire.Failed, Text: "the module is write only: take that out of its configuration to bring something back"})
	}
	f, err := tree.OpenOld(at)
	if err != nil {
		return q.put(&wire.Result{Outcome: wire.Failed, Text: cut(err.Error())})
	}
	defer f.Close()
	if err := q.put(e); err != nil {
		return err
	}
	return q.send(ctx, f, e.Attr.Size)
}

// unseen reports whether a path in the trash is ours, or excluded.
func (q *comparison) unseen(p change.Path, a apply.Attr) bool {
	for at := p; at != change.Root; at = at.Parent() {
		if apply.Reserved(at.Name()) {
			return true
		}
	}
	return q.hidden(p, a.Mode&unix.S_IFMT == unix.S_IFDIR)
}

// xattrsMax bounds the extended attributes that are shown of one path, in bytes: they go over in one frame.
const xattrsMax = 512 << 10

func fits(all []wire.Xattr) bool {
	size := 0
	for _, x := range all {
		size += len(x.Name) + len(x.Value)
	}
	return size <= xattrsMax && len(all) <= wire.MaxXattrs
}

func (q *comparison) putAll(all ...wire.Message) error {
	for _, m := range all {
		if err := q.put(m); err != nil {
			return err
		}
	}
	return nil
}

// zeros are what is sent as a hole.
var zeros [wire.MaxData]byte

// send sends so many bytes of a file. Nothing in the trash changes.
func (q *comparison) send(ctx context.Context, f *os.File, size int64) error {
	buf := make([]byte, min(size, wire.MaxData))
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(f, buf[:min(size-at, int64(len(buf)))])
		if err != nil {
			return q.put(&wire.Result{Outcome: wire.Failed, Text: cut(fmt.Sprintf("read %q: %v", f.Name(), err))})
		}
		op := delta.Op{Kind: delta.Data, Data: buf[:n]}
		if bytes.Equal(buf[:n], zeros[:n]) {
			op = delta.Op{Kind: delta.Hole, Length: int64(n)}
		}
		if err := q.put(&wire.Content{Op: op}); err != nil {
			return err
		}
		at += int64(n)
	}
	return q.put(&wire.ContentEnd{Whole: true})
}

// expire removes a day for good.
func (q *comparison) expire(ctx context.Context, m *wire.Expire) error {
	if why := forbids(q.c, true); why != nil {
		return q.put(&wire.Result{Outcome: wire.Failed, Text: cut(why.Text + ": " + why.Hint)})
	}
	if err := q.c.s.tree.Expire(ctx, m.Day); err != nil {
		return q.put(&wire.Result{Outcome: wire.Failed, Text: cut(err.Error())})
	}
	return q.put(&wire.Result{Outcome: wire.Changed})
}
