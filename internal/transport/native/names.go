package native

import (
	"context"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// names are what a batch knows of files with several names. The first name of a file is sent as any other file. The others go when the target has
// answered all of the batch so far: by then it has the file, and gives it these names.
type names struct {
	// first is under which name a file was sent, and with which index.
	first map[change.Inode]first
	later []name
	// others: it is the turn of what waited.
	others bool
}

type first struct {
	path  change.Path
	index int
}

// name is a path that waits, and another name of its file that the target had before the batch, if one is known.
type name struct{ path, there change.Path }

// shared reports whether a file has names that the target is to know for names of one file.
func (b *batch) shared(st change.Stat) bool {
	return st.IsRegular() && st.Links > 1 && b.c.version >= wire.Links
}

// mustAnswer reports whether a file is offered even when it is small: only of offers the target says that they are right, and where size and time
// prove nothing no other name is linked to what is not. The size proves that there is nothing.
func (b *batch) mustAnswer(st change.Stat) bool {
	return b.shared(st) && st.Size > 0 && (b.Op == transport.UpdateContent || b.Op == transport.UpdateLargeContent)
}

// link is the name by which the target has p already, if one is known. later: p waits.
func (b *batch) link(p, there change.Path, st change.Stat) (to change.Path, later bool) {
	n := &b.names
	f, some := n.first[st.Inode()]
	switch {
	case some && f.path != p && !n.others:
		n.later = append(n.later, name{p, there})
		return change.Root, true
	case some && f.path != p && b.arrived(f.index):
		return f.path, false
	}
	return there, false
}

// named notes what goes over next.
func (b *batch) named(p change.Path, st change.Stat) {
	n := &b.names
	if f, some := n.first[st.Inode()]; some && f.path != p && b.arrived(f.index) {
		return
	}
	if n.first == nil {
		n.first = map[change.Inode]first{}
	}
	n.first[st.Inode()] = first{p, len(b.sent)}
}

// arrived reports whether nothing is known to be wrong with what was sent.
func (b *batch) arrived(index int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return index < len(b.sent) && !b.sent[index].failed
}

// others sends what waited.
func (b *batch) others(ctx context.Context, most int) error {
	b.names.others = true
	for _, n := range b.names.later {
		if err := b.entry(n.path, n.there, 0); err != nil {
			return err
		}
		if err := b.serve(ctx, most); err != nil || b.stopped(ctx) {
			return err
		}
	}
	return b.serve(ctx, 1)
}
