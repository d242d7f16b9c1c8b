package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// How many files may be offered that the target has not answered yet. For each one it may hold a signature in memory, which grows
// with the size of the file, and open files.
const (
	offersMax = 128
	largeMax  = 4
)

// entryBytes is about what goes over for a file beside its path and its content.
const entryBytes = 48

// tries is how often a file is read that changes while it is.
const tries = 3

// batch is one batch on its way.
type batch struct {
	transport.Batch
	c *conn
	// day is that of the trash to which goes what the batch takes away.
	day   string
	looks *scan.Looks
	// parents are the directories above the paths that went along.
	parents map[change.Path]struct{}
	// small is for small files, out is for what goes over next.
	small buffers
	out   wire.Entry
	names names

	mu sync.Mutex
	// sent are the paths in the order in which they went over: the index in a Result or a Want.
	sent    []sent
	open    int   // guarded by mu: offers without an answer
	wanted  []int // guarded by mu: offers that the target wants, in order
	held    int   // guarded by mu: bytes of signatures
	news    chan struct{}
	report  transport.Report
	refused *transport.Error // guarded by mu
	done    chan struct{}
	over    bool // guarded by mu: done is closed
}

// sent is one path that went over.
type sent struct {
	path change.Path
	// bytes are what went over for its content.
	bytes int64
	// offer is that of a file without its content; nil for others.
	offer *offer
	// told and limited: something was said of it. failed: it is not there as it was sent.
	told, limited, failed bool
}

// offer is a file whose content goes over when the target wants it.
type offer struct {
	// stat is what it was when it was offered, at, a time of the clock, just before that, and tried how often it was.
	stat  change.Stat
	at    int64
	tried int
	// signature is what the target has of it; unheeded when there are too many.
	signature []byte
	unheeded  bool
	// waiting: there is no answer. asked: the target wants it.
	waiting, asked bool
}

// Apply implements transport.Transport.
func (t *Transport) Apply(ctx context.Context, b transport.Batch) (transport.Report, error) {
	if err := ctx.Err(); err != nil {
		return transport.Report{}, fmt.Errorf("%v: %w", b.Op, err)
	}
	return t.exchange(ctx, b, func(j *batch) error { return j.run(ctx, t.o.Durable) })
}

// exchange takes a connection for a batch, which do sends and waits for.
func (t *Transport) exchange(ctx context.Context, b transport.Batch, do func(*batch) error) (transport.Report, error) {
	if t.forgot() {
		// Whoever sends looks at once again at what was acked since then, and only then goes on.
		return transport.Report{}, &transport.Error{
			Kind: transport.Away, Err: errors.New("the connection ended before all that was acked was on the target's disk"),
		}
	}
	root, err := scan.RootOf(b.Root)
	if err != nil {
		return transport.Report{}, &transport.Error{Kind: transport.SourceGone, Err: err}
	}
	c, err := t.take(ctx)
	if err != nil {
		return transport.Report{}, err
	}
	j := &batch{
		Batch: b, c: c, day: t.day(), looks: root.Looks(), sent: make([]sent, 0, len(b.Paths)), parents: map[change.Path]struct{}{}, news: make(chan struct{}, 1), done: make(chan struct{}),
	}
	c.listen(j.take)
	stop := context.AfterFunc(ctx, func() { j.abandon() })
	err = do(j)
	stop()
	j.looks.Close()
	c.silence()
	if err != nil || j.refused != nil && j.refused.Lost {
		t.end(c)
	} else {
		t.give(c)
	}
	switch {
	case err != nil:
		return transport.Report{}, t.ended(ctx, c, err)
	case j.refused != nil:
		return transport.Report{}, t.told(j.refused)
	case ctx.Err() != nil:
		return transport.Report{}, &transport.Error{Kind: transport.Away, Err: fmt.Errorf("%v: %w", b.Op, ctx.Err())}
	}
	return j.report, nil
}

// endTime is how long a large file that is cancelled may take to come to a clean end.
const endTime = 2 * time.Second

// abandon ends a batch that nobody wants any more.
func (b *batch) abandon() {
	if b.large() {
		time.AfterFunc(endTime, func() {
			select {
			case <-b.done:
			default:
				b.c.nc.Close()
			}
		})
		return
	}
	b.c.nc.Close()
}

func (b *batch) large() bool {
	return b.Op == transport.UpdateLarge || b.Op == transport.UpdateLargeContent
}

func (b *batch) removes() bool { return b.Op == transport.Remove || b.Op == transport.RemoveExact }

// run sends a batch and waits for its end.
func (b *batch) run(ctx context.Context, durable bool) error {
	b.c.begin()
	err := b.c.put(&wire.Begin{Op: b.Op, Keep: b.Keep, Durable: durable, Day: b.day})
	if err != nil {
		return err
	}
	if b.removes() {
		err = b.removals()
	} else {
		err = b.updates(ctx)
	}
	if err != nil {
		return err
	}
	if err := b.c.say(&wire.End{}); err != nil {
		return err
	}
	_, err = await(context.WithoutCancel(ctx), b.c, b.done)
	return err
}

func (b *batch) removals() error {
	paths := b.Paths
	if b.Op == transport.RemoveExact {
		// Children before their parents.
		paths = slices.SortedFunc(slices.Values(paths), func(x, y change.Path) int { return -comparePaths(x, y) })
	}
	for _, p := range paths {
		b.mu.Lock()
		b.sent = append(b.sent, sent{path: p})
		b.mu.Unlock()
		if err := b.c.put(&wire.Remove{Path: p}); err != nil {
			return err
		}
	}
	return nil
}

// comparePaths orders paths so that a directory stands before all that is below it.
func comparePaths(x, y change.Path) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (b *batch) updates(ctx context.Context) error {
	most := offersMax
	if b.large() {
		most = largeMax
	}
	for _, i := range b.inOrder() {
		p, seen := b.Paths[i], transport.Seen{}
		if b.Seen != nil {
			seen = b.Seen[i]
		}
		if err := b.above(p); err != nil {
			return err
		}
		if err := b.path(p, seen); err != nil {
			return err
		}
		if err := b.serve(ctx, most); err != nil || b.stopped(ctx) {
			return err
		}
	}
	if err := b.serve(ctx, 1); err != nil {
		return err
	}
	return b.others(ctx, most)
}

// inOrder are the indexes of the paths, so that a directory stands before all that is below it.
func (b *batch) inOrder() []int {
	order := make([]int, len(b.Paths))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return comparePaths(b.Paths[i], b.Paths[j]) })
	return order
}

// path sends a path. Where the sender saw a small file, it is not looked at once more.
func (b *batch) path(p change.Path, seen transport.Seen) error {
	if !seen.Stat.IsRegular() || seen.Stat.Size > wire.MaxInline || b.shared(seen.Stat) {
		return b.entry(p, seen.Link, 0)
	}
	b.out = wire.Entry{Path: p}
	e := &b.out
	if read := b.Reads.Get(p, seen); read != nil && b.Op == transport.Update {
		e.Attr, e.Inline, e.Content = wire.AttrOf(read.Stat), true, read.Content
		e.HasXattrs, e.Xattrs = read.HasXattrs, read.Xattrs
		return b.put(e, sent{path: p})
	}
	began := b.Reads.Begin()
	st, err := b.inline(e, p, seen.Stat)
	if err != nil {
		return b.entry(p, change.Root, 0)
	}
	b.Reads.Put(p, began, transport.Read{Seq: b.Seq, Stat: st, Content: e.Content, HasXattrs: e.HasXattrs, Xattrs: e.Xattrs})
	return b.put(e, sent{path: p})
}

// put sends an entry.
func (b *batch) put(e *wire.Entry, s sent) error {
	s.bytes = entryBytes + int64(len(s.path)+len(e.Content))
	b.mu.Lock()
	b.sent = append(b.sent, s)
	if s.offer != nil {
		b.open++
	}
	b.mu.Unlock()
	return b.c.put(e)
}

// stopped reports whether nobody wants the rest.
func (b *batch) stopped(ctx context.Context) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused != nil || ctx.Err() != nil
}

// above sends the directories above p that were not sent yet.
func (b *batch) above(p change.Path) error {
	if p == change.Root {
		return nil
	}
	dir := p.Parent()
	if _, ok := b.parents[dir]; ok {
		return nil
	}
	if err := b.above(dir); err != nil {
		return err
	}
	b.parents[dir] = struct{}{}
	seen, err := b.looks.Look(dir)
	if err != nil || seen.At != dir || !seen.Stat.IsDir() {
		return nil // what is below it is looked at by itself
	}
	return b.c.put(&wire.Entry{Path: dir, Attr: wire.AttrOf(seen.Stat), Parent: true})
}

// entry sends a path as it is now. What is missing is left as it is over there. there is another name of it that the target has, if one is known.
func (b *batch) entry(p, there change.Path, tried int) error {
	at := clock()
	seen, err := b.looks.Look(p)
	switch {
	case err != nil:
		b.fail(p, err)
		return nil
	case seen.At != p || !seen.Stat.Exists():
		return nil
	}
	b.out = wire.Entry{Path: p, Attr: wire.AttrOf(seen.Stat)}
	e, s := &b.out, sent{path: p}
	if b.shared(seen.Stat) {
		var later bool
		if e.Link, later = b.link(p, there, seen.Stat); later {
			return nil
		}
	}
	switch {
	case seen.Stat.IsRegular() && seen.Stat.Size <= wire.MaxInline && e.Link == change.Root && !b.mustAnswer(seen.Stat):
		_, err = b.inline(e, p, seen.Stat)
	case seen.Stat.IsRegular():
		s.offer = &offer{stat: seen.Stat, at: at, tried: tried, waiting: true}
		err = b.xattrsAt(e, p)
	case seen.Stat.IsDir():
		err = b.xattrsAt(e, p)
	case e.Attr.Type() == unix.S_IFLNK:
		e.Attr.Link, err = b.looks.Readlink(p)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EINVAL), errors.Is(err, errOther):
		return nil // it went, or is something else: whoever did that is told of by an event
	case err != nil:
		b.fail(p, fmt.Errorf("read %q: %w", string(p), err))
		return nil
	}
	if b.shared(seen.Stat) {
		b.named(p, seen.Stat)
	}
	b.Reads.Drop(p)
	return b.put(e, s)
}

// errOther: there is something else by now.
var errOther = errors.New("it is something else by now")

// inline reads a small file, of which somebody saw what it is, into an entry, and says what it is.
func (b *batch) inline(e *wire.Entry, p change.Path, seen change.Stat) (change.Stat, error) {
	for range tries {
		st, err := b.read(e, p, seen)
		if !errors.Is(err, errMoves) {
			return st, err
		}
	}
	return change.Stat{}, errMoves
}

func (b *batch) read(e *wire.Entry, p change.Path, seen change.Stat) (st change.Stat, err error) {
	fd, err := b.looks.OpenUnseen(p)
	if err != nil {
		return st, err
	}
	defer unix.Close(fd)
	if e.Content, st, err = b.small.read(fd, seen); err != nil {
		return st, err
	}
	if err := b.xattrs(e, fd); err != nil {
		return st, err
	}
	e.Attr, e.Inline = wire.AttrOf(st), true
	return st, nil
}

// fail says that a path could not be read.
func (b *batch) fail(p change.Path, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.report.Failed = append(b.report.Failed, transport.Failure{Path: p, Retry: true, Err: err})
}

// serve sends what the target wants, until fewer offers than most are without an answer.
func (b *batch) serve(ctx context.Context, most int) error {
	for {
		b.mu.Lock()
		next, waiting, stop := -1, b.open >= most, b.over
		if len(b.wanted) > 0 {
			next = b.wanted[0]
			b.wanted = b.wanted[1:]
		}
		b.mu.Unlock()
		switch {
		case stop:
			return nil
		case next >= 0:
			if err := b.content(ctx, next); err != nil {
				return err
			}
			continue
		case !waiting:
			return nil
		}
		if err := b.c.flush(); err != nil {
			return err
		}
		if _, err := await(context.WithoutCancel(ctx), b.c, b.news); err != nil {
			return err
		}
	}
}
