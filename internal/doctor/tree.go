package doctor

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
)

// tree is what a walk of a source counted: what the filter keeps.
type tree struct {
	dirs, paths int
	// closed are the directories that could not be read, the first of them, and closedCount all.
	closed      []closedDir
	closedCount int
}

type closedDir struct {
	path change.Path
	err  error
}

// listMax is how many of a kind are named.
const listMax = 20

// count walks a source. An error says that ctx ended it.
func count(ctx context.Context, root *scan.Root, rules *filter.Filter) (tree, error) {
	var t tree
	for stack := []change.Path{change.Root}; len(stack) > 0; {
		dir := stack[len(stack)-1]
		below, err := t.dir(ctx, root, rules, dir)
		stack = append(stack[:len(stack)-1], below...)
		switch {
		case ctx.Err() != nil:
			return t, ctx.Err()
		case err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP):
			t.closedCount++
			if len(t.closed) < listMax {
				t.closed = append(t.closed, closedDir{dir, err})
			}
		}
	}
	return t, nil
}

// dir counts the entries of one directory and returns the directories among them.
func (t *tree) dir(ctx context.Context, root *scan.Root, rules *filter.Filter, dir change.Path) (below []change.Path, err error) {
	t.dirs++
	t.paths++
	f, err := root.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for ctx.Err() == nil {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			p := dir.Join(name)
			var st unix.Stat_t
			if unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // it went
			}
			isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
			switch {
			case isDir && rules.Verdict(p, filter.Dir).Keep:
				below = append(below, p)
			case !isDir && rules.Verdict(p, filter.File).Keep:
				t.paths++
			}
		}
		if err == io.EOF {
			return below, nil
		}
		if err != nil {
			return below, err
		}
	}
	return below, ctx.Err()
}
