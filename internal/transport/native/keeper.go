package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

var _ transport.Keeper = (*Transport)(nil)

// at is where a path of a day is in the trash.
func at(day string, p change.Path) change.Path {
	if p == change.Root {
		return change.Path(day)
	}
	return change.Path(day).Join(string(p))
}

// Removed implements transport.Keeper.
func (t *Transport) Removed(ctx context.Context, day string, under []change.Path, yield func(transport.Removed) error) error {
	if len(under) == 0 {
		under = []change.Path{change.Root}
	}
	return t.inTrash(ctx, func(w *trash) error {
		days, err := w.days(ctx)
		if err != nil {
			return err
		}
		for _, d := range days {
			for _, p := range under {
				if day != "" && day != d {
					continue
				}
				if err := w.tell(ctx, d, p, yield); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// tell tells of a path of a day and what is below it.
func (w *trash) tell(ctx context.Context, day string, p change.Path, yield func(transport.Removed) error) error {
	if p != change.Root {
		e, missing, err := w.ask(ctx, at(day, p))
		if err != nil || missing != nil {
			return err
		}
		if err := told(yield, day, p, e.Attr); err != nil || !e.Attr.IsDir() {
			return err
		}
	}
	todo := []change.Path{p}
	defer func(before int) { w.names = before }(w.names)
	for len(todo) > 0 {
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		w.names = len(todo)
		all, err := w.list(ctx, at(day, dir))
		if err != nil {
			return err
		}
		for _, l := range all {
			if err := told(yield, day, dir.Join(l.Name), l.Attr); err != nil {
				return err
			}
			if l.Attr.IsDir() {
				todo = append(todo, dir.Join(l.Name))
			}
		}
	}
	return nil
}

func told(yield func(transport.Removed) error, day string, p change.Path, a wire.Attr) error {
	r := transport.Removed{Day: day, Path: p, Dir: a.IsDir()}
	if a.IsRegular() {
		r.Size = a.Size
	}
	if err := yield(r); err != nil {
		return errYield{err}
	}
	return nil
}

// Expire implements transport.Keeper.
func (t *Transport) Expire(ctx context.Context, before time.Time) ([]string, error) {
	var old []string
	err := t.inTrash(ctx, func(w *trash) error {
		days, err := w.days(ctx)
		if err != nil {
			return err
		}
		for _, day := range days {
			if day >= transport.Day(before) {
				continue
			}
			if err := w.c.put(&wire.Expire{Day: day}); err != nil {
				return err
			}
			m, err := w.next(ctx)
			if err != nil {
				return err
			}
			r, ok := m.(*wire.Result)
			switch {
			case !ok:
				return fmt.Errorf("%T as an answer about a day: %w", m, wire.ErrFrame)
			case r.Outcome != wire.Changed:
				return &transport.Error{
					Kind: transport.Broken, Err: fmt.Errorf("empty the trash: %s", printable(r.Text)),
					Hint: "remove what is too old in " + filter.TrashName + " there by hand",
				}
			}
			old = append(old, day)
		}
		return nil
	})
	return old, err
}

// trashLimit is what keeps a target from having a trash, in a sentence; empty when nothing is known.
func (t *Transport) trashLimit(ctx context.Context) (string, error) {
	unusable := ""
	err := t.inTrash(ctx, func(w *trash) error {
		e, missing, err := w.ask(ctx, change.Root)
		if err == nil && (missing != nil && missing != errMissing || e != nil && !e.Attr.IsDir()) {
			unusable = "removals are refused there: let " + filter.TrashName + " be a directory that the user of the module may write, or leave out \"trash\" for this target"
		}
		return err
	})
	return unusable, err
}

// fetching is what is brought back into a directory.
type fetching struct {
	*trash
	day    string
	into   *apply.Tree
	report *transport.Report
}

// Fetch implements transport.Keeper. What comes is put there by the code of a target: it stays below the directory.
func (t *Transport) Fetch(ctx context.Context, into *os.File, day string, paths []change.Path) (transport.Report, error) {
	var report transport.Report
	root := os.Geteuid() == 0
	tree, err := apply.Open(fmt.Sprintf("/proc/self/fd/%d", into.Fd()), apply.Options{Owners: root, Devices: root, SetID: true})
	if err != nil {
		return report, err
	}
	err = t.inTrash(ctx, func(w *trash) error {
		f := fetching{trash: w, day: day, into: tree, report: &report}
		for _, p := range paths {
			if err := f.above(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	return report, errors.Join(err, tree.Close())
}
