package native

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// above brings the directories above a path, and then it with all that is below.
func (f *fetching) above(ctx context.Context, p change.Path) error {
	var dirs []level
	for i := range len(p) {
		if p[i] != '/' {
			continue
		}
		e, missing, err := f.ask(ctx, at(f.day, p[:i]))
		switch {
		case err != nil:
			return err
		case missing != nil || !e.Attr.IsDir():
			return &transport.Error{Kind: transport.Broken, Err: fmt.Errorf("%s is no directory in the trash", p[:i])}
		}
		dirs = append(dirs, level{path: p[:i], entry: e})
	}
	for _, d := range dirs {
		f.make(d.path)
	}
	err := f.all(ctx, p)
	for _, d := range slices.Backward(dirs) {
		f.put(d.path, d.entry)
	}
	return err
}

// level is a directory that is being brought.
type level struct {
	path  change.Path
	entry *wire.Entry // nil for the day itself
	// todo are the directories in it.
	todo []change.Path
}

// all brings a path with all that is below it: of each directory first what is none, and then directory by directory, so that what is known of the tree
// is the way to where it is.
func (f *fetching) all(ctx context.Context, p change.Path) error {
	var way []level
	if p == change.Root {
		way = append(way, level{path: p})
	} else {
		dirs, err := f.these(ctx, []change.Path{p})
		if err != nil || len(dirs) == 0 {
			return err
		}
		way = dirs
	}
	if err := f.enter(ctx, &way[0]); err != nil {
		return err
	}
	for len(way) > 0 {
		top := &way[len(way)-1]
		if len(top.todo) == 0 {
			if top.entry != nil {
				f.put(top.path, top.entry) // what came into it changed its time
			}
			way = way[:len(way)-1]
			continue
		}
		next := top.todo[len(top.todo)-1]
		top.todo = top.todo[:len(top.todo)-1]
		f.names--
		dirs, err := f.these(ctx, []change.Path{next})
		if err != nil {
			return err
		}
		for i := range dirs {
			if err := f.enter(ctx, &dirs[i]); err != nil {
				return err
			}
			way = append(way, dirs[i])
		}
	}
	return nil
}

// enter lists a directory, and brings what is in it but for its directories.
func (f *fetching) enter(ctx context.Context, l *level) error {
	list, err := f.list(ctx, at(f.day, l.path))
	if err != nil {
		return err
	}
	var others []change.Path
	for _, e := range list {
		if e.Attr.IsDir() {
			l.todo = append(l.todo, l.path.Join(e.Name))
		} else {
			others = append(others, l.path.Join(e.Name))
		}
	}
	f.names += len(l.todo)
	_, err = f.these(ctx, others)
	return err
}

// these brings paths, and says which are directories.
func (f *fetching) these(ctx context.Context, paths []change.Path) (dirs []level, err error) {
	asked := 0
	for i, p := range paths {
		for ; asked < len(paths) && asked-i < aheadMax; asked++ {
			if err := f.c.put(&wire.Fetch{Path: at(f.day, paths[asked]), Content: true}); err != nil {
				return nil, err
			}
		}
		e, missing, err := f.entry(ctx, at(f.day, p))
		switch {
		case err != nil:
			return nil, err
		case missing != nil:
			f.failed(p, missing)
			continue
		case e.Attr.IsDir():
			f.make(p)
			dirs = append(dirs, level{path: p, entry: e})
		case !e.Attr.IsRegular():
			f.put(p, e)
		}
		if err := f.content(ctx, p, e); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// content takes the content that follows an entry, which only that of a regular file has.
func (f *fetching) content(ctx context.Context, p change.Path, e *wire.Entry) error {
	var file *apply.File
	var wrong error // with this path alone
	if e.Attr.IsRegular() {
		if file, wrong = f.into.Create(p, attrOf(e), apply.Old{}); wrong == nil {
			defer file.Discard()
		}
	}
	left := e.Attr.Size
	for {
		op, err := f.trash.content(ctx)
		switch {
		case errors.As(err, new(errUnread)):
			f.failed(p, err)
			return nil
		case err != nil:
			return err
		case op == nil:
			f.placed(p, e, file, wrong)
			return nil
		case op.Length+int64(len(op.Data)) > left:
			return fmt.Errorf("more content than %q has: %w", string(p), wire.ErrFrame)
		case wrong != nil:
			continue
		}
		left -= op.Length + int64(len(op.Data))
		if op.Kind == delta.Hole {
			file.Hole(op.Length)
		} else {
			_, wrong = file.Write(op.Data)
		}
	}
}

// placed gives a regular file its place.
func (f *fetching) placed(p change.Path, e *wire.Entry, file *apply.File, wrong error) {
	if !e.Attr.IsRegular() {
		return
	}
	var done apply.Done
	if wrong == nil {
		done, wrong = file.Place()
	}
	f.outcome(p, done, wrong)
	if wrong == nil {
		f.report.Files++
		f.report.Bytes += e.Attr.Size
	}
}

// make makes a directory that can be written to.
func (f *fetching) make(p change.Path) {
	if _, err := f.into.Put(p, apply.Attr{Mode: unix.S_IFDIR | 0o700}, apply.Old{}); err != nil {
		f.failed(p, err)
	}
}

// put puts what is no regular file.
func (f *fetching) put(p change.Path, e *wire.Entry) {
	done, err := f.into.Put(p, attrOf(e), apply.Old{})
	f.outcome(p, done, err)
}

func (f *fetching) outcome(p change.Path, done apply.Done, err error) {
	if err != nil {
		f.failed(p, err)
	}
	for _, l := range done.Limits {
		f.report.Limits = append(f.report.Limits, transport.Failure{Path: p, Err: l})
	}
}

// failed tells of the first paths that could not be brought.
func (f *fetching) failed(p change.Path, err error) {
	if len(f.report.Failed) < failedMax {
		f.report.Failed = append(f.report.Failed, transport.Failure{Path: p, Err: err})
	}
}

// failedMax bounds the paths that are told of.
const failedMax = 1000

func attrOf(e *wire.Entry) apply.Attr {
	a := apply.Attr{
		Mode: e.Attr.Mode, UID: e.Attr.UID, GID: e.Attr.GID, Rdev: e.Attr.Rdev, Size: e.Attr.Size, Mtime: e.Attr.Mtime, Link: e.Attr.Link,
		HasXattrs: e.HasXattrs,
	}
	for _, x := range e.Xattrs {
		a.Xattrs = append(a.Xattrs, apply.Xattr{Name: x.Name, Value: string(x.Value)})
	}
	return a
}
