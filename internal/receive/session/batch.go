package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"unsafe"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// batchMax bounds the paths of one batch, with the directories above them.
const batchMax = 1 << 20

// batch is one batch that comes in.
type batch struct {
	c *conn
	*wire.Begin
	// index is the number of the next path.
	index int
	// wanted are the files that were asked for, in order.
	wanted []wanted
	// dirs are the directories that get their attributes at the end: what is put into them changes their times.
	dirs []directory
	// moves are done at the end, together.
	moves []move
	// refusal is why nothing more is done.
	refusal *wire.Refused
	// awaited: the sender waits for what becomes of the path at hand, as it has offered it.
	awaited bool
	// changed: something here may be another one now; noted: whoever syncs knows.
	changed, noted bool
	bytes          int64
	// held is about how much memory is kept of what came in.
	held int
}

type directory struct {
	entry wire.Entry
	index int // -1 for one that is no path of the batch
	made  bool
}

type move struct {
	index int
	wire.Move
}

func newBatch(c *conn, m *wire.Begin) *batch { return &batch{c: c, Begin: m} }

// run takes the batch to its end. An error is one of the connection; there is nothing to go on with then.
func (b *batch) run(ctx context.Context) error {
	defer b.forget()
	// What a batch without an end has done is found as it should be by the next one, and is not on the disk either.
	defer b.note()
	if err := b.ready(); err != nil {
		return err
	}
	b.Keep = b.Keep || b.c.s.o.RefuseRemovals
	for {
		m, err := b.c.read()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wire.Alive:
		case *wire.Entry:
			err = b.entry(ctx, m)
		case *wire.Remove:
			err = b.remove(m)
		case *wire.Move:
			err = b.move(m)
		case *wire.Content, *wire.ContentEnd:
			err = b.content(ctx, m)
		case *wire.End:
			return b.end(ctx)
		default:
			err = fmt.Errorf("%T in a batch: %w", m, wire.ErrFrame)
		}
		if err != nil {
			return err
		}
	}
}

func (b *batch) removes() bool { return b.Op == transport.Remove || b.Op == transport.RemoveExact }

// forbids is why a sender may not change anything, or not remove anything; nil when it may.
func forbids(c *conn, removal bool) *wire.Refused {
	switch {
	case c.who.ReadOnly != "":
		return &wire.Refused{Kind: transport.ReadOnly, Text: "the module is read only", Hint: c.who.ReadOnly}
	case c.s.o.RefuseRemovals && removal:
		return &wire.Refused{
			Kind: transport.RemovalsRefused, Text: "the module refuses removals",
			Hint: "take delete out of its refuse options, or switch delete off here",
		}
	}
	return nil
}

// old is what becomes of what makes way.
func (b *batch) old() apply.Old { return apply.Old{Keep: b.Keep, Day: b.Day} }

// ready refuses the batch when nothing can be done at all.
func (b *batch) ready() error {
	if m := forbids(b.c, b.removes()); m != nil {
		return b.refuse(m)
	}
	if err := b.c.s.tree.Check(); err != nil {
		return b.refuse(refused(err))
	}
	return nil
}

// heldMax bounds what is kept of a batch until its end, in bytes.
const heldMax = 64 << 20

// hold counts what is kept of an entry.
func (b *batch) hold(m *wire.Entry) error {
	b.held += sizeOf(m)
	if b.held > heldMax {
		return fmt.Errorf("a batch of more than can be kept: %w", wire.ErrFrame)
	}
	return nil
}

// sizeOf is about how much memory an entry takes.
func sizeOf(m *wire.Entry) int {
	n := int(unsafe.Sizeof(*m)) + len(m.Path) + len(m.Link)
	for _, x := range m.Xattrs {
		n += int(unsafe.Sizeof(x)) + len(x.Name) + len(x.Value)
	}
	return n
}

// forget lets go of the files that were asked for.
func (b *batch) forget() {
	for i := range b.wanted {
		b.wanted[i].close()
	}
	b.wanted = nil
}

// refuse says why nothing more of the batch is done. What was done is said all the same: it is harmless to do it again.
func (b *batch) refuse(m *wire.Refused) error {
	b.refusal = m
	b.forget()
	return b.c.say(m)
}

// next is the number of a path.
func (b *batch) next() (int, error) {
	if b.index >= batchMax {
		return 0, fmt.Errorf("a batch of more than %d paths: %w", batchMax, wire.ErrFrame)
	}
	b.index++
	return b.index - 1, nil
}

func (b *batch) entry(ctx context.Context, m *wire.Entry) error {
	if b.Op > transport.UpdateLargeContent || m.Parent && !m.Attr.IsDir() {
		return fmt.Errorf("an update that must not be: %w", wire.ErrFrame)
	}
	m.Attr.Mode = b.c.s.o.Chmod.Apply(m.Attr.Mode)
	b.awaited = m.Attr.IsRegular() && !m.Inline
	index := -1
	if !m.Parent {
		var err error
		if index, err = b.next(); err != nil {
			return err
		}
	}
	switch {
	case b.refusal != nil:
		return nil
	case inTrash(m.Path):
		return b.failed(index, errTrash)
	case b.c.s.excluded(m.Path, m.Attr.IsDir()):
		return b.failed(index, errExcluded)
	case m.Attr.IsDir():
		return b.directory(m, index)
	case m.Attr.IsRegular():
		return b.file(ctx, m, index)
	}
	if b.c.s.o.Munge && m.Attr.Link != "" {
		m.Attr.Link = Munged + m.Attr.Link
	}
	done, err := b.c.s.tree.Put(m.Path, attrOf(m), b.old())
	return b.outcome(index, false, done, err)
}

// errExcluded and errTrash are told of a path that the module does not take.
var (
	errExcluded = errors.New("the module excludes it: exclude it at the source as well")
	errTrash    = errors.New("the name " + filter.TrashName + " is for what was removed here")
)

func attrOf(m *wire.Entry) apply.Attr {
	a := apply.Attr{
		Mode: m.Attr.Mode, UID: m.Attr.UID, GID: m.Attr.GID, Rdev: m.Attr.Rdev, Size: m.Attr.Size, Mtime: m.Attr.Mtime, Link: m.Attr.Link,
		HasXattrs: m.HasXattrs,
	}
	for _, x := range m.Xattrs {
		a.Xattrs = append(a.Xattrs, apply.Xattr{Name: x.Name, Value: string(x.Value)})
	}
	return a
}

// directory makes a directory. Its attributes follow at the end.
func (b *batch) directory(m *wire.Entry, index int) error {
	if err := b.hold(m); err != nil {
		return err
	}
	st, err := b.c.s.tree.LookToPut(m.Path)
	var done apply.Done
	if err == nil && !st.IsDir() {
		done, err = b.c.s.tree.Put(m.Path, attrOf(m), b.old())
	}
	if err != nil {
		return b.outcome(index, false, done, err)
	}
	b.changed = b.changed || done.Changed
	b.dirs = append(b.dirs, directory{entry: *m, index: index, made: done.Changed})
	return nil
}

// byContent reports whether what is equal in size and time is compared by content.
func (b *batch) byContent() bool {
	return b.Op == transport.UpdateContent || b.Op == transport.UpdateLargeContent
}

// file puts a regular file, or asks for its content.
func (b *batch) file(ctx context.Context, m *wire.Entry, index int) error {
	tree := b.c.s.tree
	a := attrOf(m)
	st, err := tree.LookToPut(m.Path)
	if err != nil {
		return b.outcome(index, false, apply.Done{}, err)
	}
	if m.Link != change.Root && !b.c.s.excluded(m.Link, false) && !inTrash(m.Link) {
		if done, linked := tree.Link(m.Path, m.Link, a, b.old()); linked {
			return b.linked(m, index, done)
		}
	}
	bare := a
	bare.HasXattrs = false // whoever puts it looks at them
	differs, err := tree.Same(m.Path, st, bare)
	same := differs&(apply.Type|apply.Content|apply.Mtime) == 0
	if err == nil && same && b.byContent() && m.Inline {
		same, err = b.equal(m)
	}
	switch {
	case err != nil:
		return b.outcome(index, false, apply.Done{}, err)
	case same && (m.Inline || !b.byContent()):
		done, err := tree.Put(m.Path, a, b.old())
		if err == nil && !done.Changed && !m.Inline && len(done.Limits) == 0 {
			return b.result(&wire.Result{Index: index})
		}
		return b.outcome(index, false, done, err)
	case !m.Inline:
		return b.want(ctx, m, index, st)
	}
	done, err := b.write(m, a)
	b.bytes += int64(len(m.Content))
	return b.outcome(index, true, done, err)
}

// linked tells of a file that is another name of one that was there.
func (b *batch) linked(m *wire.Entry, index int, done apply.Done) error {
	if b.large() {
		if err := b.c.s.tree.DropPartial(m.Path); err != nil {
			return b.outcome(index, false, done, err)
		}
	}
	if !done.Changed {
		return b.c.put(&wire.Result{Index: index})
	}
	return b.outcome(index, false, done, nil)
}

// equal reports whether the target has the content that came along.
func (b *batch) equal(m *wire.Entry) (bool, error) {
	f, err := b.c.s.tree.OpenOld(m.Path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	old := make([]byte, len(m.Content)+1)
	n, err := io.ReadFull(f, old)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return false, err
	}
	return bytes.Equal(old[:n], m.Content), nil
}

// write puts a small file.
func (b *batch) write(m *wire.Entry, a apply.Attr) (apply.Done, error) {
	f, err := b.c.s.tree.Create(m.Path, a, b.old())
	if err != nil {
		return apply.Done{}, err
	}
	if _, err := f.Write(m.Content); err != nil {
		f.Discard()
		return apply.Done{}, err
	}
	return f.Place()
}

// outcome tells what became of a path.
func (b *batch) outcome(index int, sent bool, done apply.Done, err error) error {
	if done.Changed || err != nil {
		b.changed = true
	}
	if err != nil {
		return b.failed(index, err)
	}
	m := &wire.Result{Index: index, Outcome: wire.Changed, Sent: sent}
	if index < 0 || !done.Changed && len(done.Limits) == 0 {
		return nil
	}
	if done.Changed || sent {
		if err := b.result(m); err != nil {
			return err
		}
	}
	if len(done.Limits) > 0 {
		return b.result(&wire.Result{Index: index, Outcome: wire.Limited, Text: cut(errors.Join(done.Limits...).Error())})
	}
	return nil
}

// failed tells of a path that failed, or of a target that does.
func (b *batch) failed(index int, err error) error {
	m := refused(err)
	if b.removes() && apply.KindOf(err) == apply.NoTrash {
		m.Kind, m.Hint = transport.RemovalsRefused, hintTrash
	}
	if m.Kind != transport.Broken {
		return b.refuse(m)
	}
	if index < 0 {
		return nil // what is below it fails for itself
	}
	if errors.Is(err, apply.ErrDevices) {
		// It is told, and nobody tries for ever.
		return b.result(&wire.Result{Index: index, Outcome: wire.Limited, Text: cut(err.Error())})
	}
	outcome := wire.Failed
	switch apply.KindOf(err) {
	case apply.InTheWay, apply.Never, apply.Forbidden:
		outcome = wire.Stuck
	}
	if err == errExcluded || err == errTrash {
		outcome = wire.Stuck
	}
	return b.result(&wire.Result{Index: index, Outcome: outcome, Text: cut(err.Error())})
}

// result says what became of a path, at the end of the batch unless that is awaited: each word wakes two processes and the sender.
func (b *batch) result(m *wire.Result) error {
	if b.awaited {
		return b.c.put(m)
	}
	return b.c.putLate(m)
}

func (b *batch) remove(m *wire.Remove) error {
	b.awaited = false
	index, err := b.next()
	switch {
	case err != nil:
		return err
	case b.Op != transport.Remove && b.Op != transport.RemoveExact || m.Path == change.Root:
		return fmt.Errorf("a removal that must not be: %w", wire.ErrFrame)
	case b.refusal != nil:
		return nil
	case inTrash(m.Path):
		return b.failed(index, errTrash)
	}
	done, err := b.c.s.remove(m.Path, b.Op == transport.RemoveExact, b.Day)
	return b.outcome(index, false, done, err)
}

func (b *batch) move(m *wire.Move) error {
	index, err := b.next()
	switch {
	case err != nil:
		return err
	case b.Op != transport.Update || m.From == change.Root || m.To == change.Root:
		return fmt.Errorf("a move that must not be: %w", wire.ErrFrame)
	case b.refusal != nil, inTrash(m.From), inTrash(m.To):
		return nil
	}
	for _, p := range append(m.Maybe, m.From+m.To) {
		if err := b.hold(&wire.Entry{Path: p}); err != nil {
			return err
		}
	}
	b.moves = append(b.moves, move{index, *m})
	return nil
}

// end finishes the batch and answers it.
func (b *batch) end(ctx context.Context) error {
	if len(b.wanted) > 0 {
		return fmt.Errorf("a batch ends, and %d files of it are missing: %w", len(b.wanted), wire.ErrFrame)
	}
	if b.refusal == nil {
		if err := errors.Join(b.placeMoves(), b.attributes()); err != nil {
			return err
		}
	}
	b.note()
	changed := b.c.s.sync.now()
	if b.refusal == nil && b.Durable {
		if err := b.c.s.sync.durably(ctx); err != nil {
			if err := b.refuse(refused(err)); err != nil {
				return err
			}
		}
	}
	b.c.ended(changed)
	if _, err := b.c.tell(b.c.s.sync.onDisk()); err != nil || b.refusal != nil {
		return err
	}
	return b.c.say(&wire.Done{})
}

// note tells whoever syncs that there is something to sync.
func (b *batch) note() {
	if b.changed && !b.noted {
		b.noted = true
		b.c.s.sync.note(b.bytes)
	}
}

// attributes gives the directories theirs, those below others first.
func (b *batch) attributes() error {
	slices.SortStableFunc(b.dirs, func(x, y directory) int {
		switch {
		case x.entry.Path > y.entry.Path:
			return -1
		case x.entry.Path < y.entry.Path:
			return 1
		}
		return 0
	})
	for i := range b.dirs {
		d := &b.dirs[i]
		done, err := b.c.s.tree.Put(d.entry.Path, attrOf(&d.entry), b.old())
		done.Changed = done.Changed || d.made
		if err := b.outcome(d.index, false, done, err); err != nil {
			return err
		}
		if b.refusal != nil {
			return nil
		}
	}
	return nil
}
