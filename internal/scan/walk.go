package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// chunk is how many entries of a directory are looked at in one step. Events wait meanwhile.
const chunk = 256

// Walk is one look at everything below a directory.
type Walk struct {
	Observer *Observer
	// Cover is called with each directory before it is read, so that nothing falls between. It says
	// fs.ErrNotExist when the directory is somewhere else by now, and ErrNotEntered when nothing below it is to be looked at.
	Cover func(fd int, p change.Path) error
	// Since is when the reason for the walk came up; the marks carry it.
	Since time.Time
	// Prime fills an index that does not know everything yet: what is new to it is a row and no mark, unless
	// it changed after Since.
	Prime bool
	// Done is called for each directory that was looked at: with nil when it was read to its end, or is none
	// any more; otherwise nothing is concluded of what is missing in it.
	Done func(p change.Path, err error)
	// under is where it began.
	under change.Path
}

// Now is what the kernel would stamp on a file that is changed now: it is behind the clock by up to a tick.
func Now() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return time.Now().Add(-time.Second)
	}
	return time.Unix(ts.Unix())
}

// Run walks the tree below p, and looks at p itself. It returns an error only when ctx ends.
func (w *Walk) Run(ctx context.Context, p change.Path) error {
	w.under = p
	for stack := []change.Path{p}; len(stack) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := stack[len(stack)-1]
		if p != dir && w.Prime && w.moved(dir) {
			whole := *w
			whole.Prime = false
			stack = stack[:len(stack)-1]
			if err := whole.Run(ctx, dir); err != nil {
				return err
			}
			continue
		}
		below, err := w.dir(ctx, dir)
		stack = append(stack[:len(stack)-1], below...)
		if err == nil || ctx.Err() == nil {
			w.Done(dir, err)
		}
	}
	return nil
}

// moved reports whether the directory p, which the walk has just found, may have been moved here since the walk began:
// what is below it kept its times, and nobody saw it come. A move changes ctime alone.
func (w *Walk) moved(p change.Path) bool {
	st := w.Observer.index.Stat(p)
	since := w.Since.UnixNano()
	return st.IsDir() && st.Ctime >= since && st.Mtime < since
}

// dir looks at one directory and returns the directories in it.
func (w *Walk) dir(ctx context.Context, p change.Path) ([]change.Path, error) {
	f, err := w.Observer.root.OpenDir(p)
	if NotThere(err) {
		return nil, w.gone(p)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !w.Observer.Keeps(p, true) {
		return nil, nil
	}
	covered := w.Cover(int(f.Fd()), p)
	if errors.Is(covered, fs.ErrNotExist) {
		return nil, w.gone(p)
	}
	// What happens from here on to the directory itself is told of.
	if err := w.self(f, p); err != nil || errors.Is(covered, ErrNotEntered) {
		return nil, err
	}
	// A directory that cannot be watched for another reason is read all the same; the watcher keeps the gap.
	// What came after the index was asked is not taken for missing.
	missing := map[string]struct{}{}
	for _, name := range w.Observer.index.Names(p) {
		missing[name] = struct{}{}
	}
	var below []change.Path
	var failed error
	for {
		names, err := f.Readdirnames(chunk)
		for _, name := range names {
			delete(missing, name)
		}
		dirs, unsure := w.Observer.entries(w, int(f.Fd()), p, names)
		below = append(below, dirs...)
		if unsure != nil {
			failed = unsure
		}
		if err == io.EOF {
			break
		}
		if NotThere(err) {
			return nil, w.gone(p)
		}
		if err != nil {
			return below, fmt.Errorf("list directory %q: %w", string(p), err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if failed == nil {
		w.missing(p, missing)
	}
	return below, failed
}

// gone looks at a directory that went, or is something else by now. That is no error.
func (w *Walk) gone(p change.Path) error {
	w.Observer.Observe([]Happened{{Path: p, Dir: true, Went: true, Since: w.Since}})
	return nil
}

// self looks at the directory that is open as f.
func (w *Walk) self(f *os.File, p change.Path) error {
	o := w.Observer
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %q: %w", string(p), err)
	}
	l := newLook()
	w.found(&l, Seen{At: p, Stat: change.StatOf(&st)})
	l.walks = nil
	o.record(l)
	return nil
}

// found takes one entry of a walk.
func (w *Walk) found(l *look, seen Seen) {
	o := w.Observer
	// What changed after Since did so while nobody watched yet.
	if w.Prime && seen.Stat.Ctime < w.Since.UnixNano() && !o.index.Stat(seen.At).Exists() {
		if o.keeps(seen.At, seen.Stat, change.Stat{}, false) {
			l.findings = append(l.findings, Finding{Path: seen.At, Stat: seen.Stat})
		}
		return
	}
	o.found(l, seen, Happened{Since: w.Since, under: &w.under}, false)
}

// entries looks at the entries names of the directory that is open as fd, and returns the directories among them.
// An error says that it is not known what one of them is.
func (o *Observer) entries(w *Walk, fd int, dir change.Path, names []string) (dirs []change.Path, unsure error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := newLook()
	for _, name := range names {
		p := dir.Join(name)
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if !errors.Is(err, unix.ENOENT) {
				unsure = fmt.Errorf("look at %q: %w", string(p), err)
				l.findings = append(l.findings, Finding{Path: p, Unsure: true, Mark: true, Since: w.Since})
			}
			continue
		}
		seen := Seen{At: p, Stat: change.StatOf(&st)}
		if seen.Stat.IsDir() && o.keeps(p, seen.Stat, change.Stat{}, true) {
			dirs = append(dirs, p)
		}
		w.found(&l, seen)
	}
	l.walks = nil
	o.record(l)
	return dirs, unsure
}

// missing looks again at what the index knows in a directory and the listing did not show.
func (w *Walk) missing(dir change.Path, names map[string]struct{}) {
	var gone []Happened
	for name := range names {
		gone = append(gone, Happened{Path: dir.Join(name), Went: true, Since: w.Since})
	}
	if len(gone) > 0 {
		w.Observer.Observe(gone)
	}
}
