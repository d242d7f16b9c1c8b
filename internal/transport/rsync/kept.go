package rsync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/confine"
	"sersync/internal/filter"
	"sersync/internal/transport"
)

var _ transport.Keeper = (*Transport)(nil)

const trashRoot = change.Path(filter.TrashName)

// What of the user's options holds for the way back as well. What changes attributes on the way to the target cannot be
// undone, and what leaves files out is no matter of undelete.
var (
	backLetters = "HAXz46"
	backWords   = pattern(`^--(hard-links|acls|xattrs|numeric-ids|compress|remote-option=.*|rsync-path=.*|address=.*|protocol=.*|max-alloc=.*)$`)
)

// backParams are the options of a run that reads from the target.
func (o *Options) backParams() []string {
	args := []string{"-a"}
	for i := 0; i < len(o.Params); i++ {
		p := o.Params[i]
		switch {
		case backWords().MatchString(p), strings.HasPrefix(p, "-M") && len(p) > 2:
			args = append(args, p)
		case len(p) > 1 && p[0] == '-' && p[1] != '-':
			for _, letter := range p[1:] {
				if strings.ContainsRune(backLetters, letter) {
					args = append(args, "-"+string(letter))
				}
			}
		}
	}
	return args
}

// backArgs are the arguments of a run that reads a list of paths of the target to its working directory.
func (o *Options) backArgs(old bool, more ...string) []string {
	args := append(o.backParams(), outFormat, "--timeout="+seconds(o.Timeout), "--recursive", "--from0", "--files-from=-",
		"--ignore-missing-args", "--exclude="+partialDir)
	if !old {
		args = append(args, "--modify-window=-1")
	}
	args = append(append(args, more...), o.connection()...)
	from := *o
	if o.daemon() {
		from.Dir = ""
	}
	return append(args, from.destination(), "./")
}

// backList is a list of paths below dir of the target, for backArgs. What is before "/./" is left out of the names here.
// An rsync 3.5.0 that is a daemon without chroot finds no file below a directory that the address names, so the list does.
func (o *Options) backList(dir change.Path, paths []change.Path) []byte {
	if o.daemon() {
		dir = change.Path(path.Join(strings.TrimLeft(o.Dir, "/"), string(dir)))
	}
	var list []byte
	for _, p := range paths {
		list = append(list, "./"+path.Clean(string(dir))+"/./"+string(p)+"\x00"...)
	}
	return list
}

// inEmpty calls do with a directory that is empty, and a spawner for it.
func (t *Transport) inEmpty(ctx context.Context, do func(s *spawner) error) error {
	name, err := os.MkdirTemp("", "sersync-")
	if err != nil {
		return fmt.Errorf("make an empty directory: %w", err)
	}
	defer os.Remove(name)
	dir, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open an empty directory: %w", err)
	}
	defer dir.Close()
	return t.in(ctx, dir, confine.Read, do)
}

// in calls do with a spawner for a directory that is not the source.
func (t *Transport) in(ctx context.Context, dir *os.File, access uint64, do func(s *spawner) error) error {
	key, err := t.key(dir)
	if err != nil {
		return err
	}
	s, err := newSpawner(&t.o, dir, key, access)
	if err != nil {
		return err
	}
	defer func() {
		s.release()
		s.close()
		s.wait()
	}()
	if err := t.learnHere(ctx, s); err != nil {
		return err
	}
	return do(s)
}

// entries tells yield what is at and below paths of the target.
func (t *Transport) entries(ctx context.Context, s *spawner, paths []change.Path, yield func(item) error, more ...string) error {
	r, err := s.startRun(&t.o, trashList, t.o.backArgs(t.old(), append(more, "--dry-run", "--no-implied-dirs")...))
	if err != nil {
		return startError(err)
	}
	e := r.finish(ctx, t.o.backList(change.Root, paths), t.limits(), func(line []byte) error {
		if it, ok := parseItem(line); ok && it.path.Valid() {
			if err := yield(it); err != nil {
				return errYield{err}
			}
		}
		return nil
	})
	var stop errYield
	if errors.As(e.cause, &stop) {
		return stop.error
	}
	if e.cause == nil && e.code == exitPartial && onlyMissing(e.stderr) {
		return nil
	}
	if err := sweepError(e); err != nil {
		return fmt.Errorf("read the trash: %w", err)
	}
	return nil
}

// onlyMissing reports whether paths that are not there are all that rsync complains of: it is silent of those whose
// directory is there, and not of those that have a file above them.
func onlyMissing(stderr string) bool {
	for line := range strings.SplitSeq(stderr, "\n") {
		missing := senderStats().MatchString(line) && (errnoOf(line) == unix.ENOTDIR || errnoOf(line) == unix.ENOENT)
		if line != "" && !missing && !summary().MatchString(line) {
			return false
		}
	}
	return true
}

// onlyDays leaves out what the days hold.
const onlyDays = "--exclude=/" + filter.TrashName + "/*/*"

// days are the days that the trash has a directory for, and only what has the name of a day counts. A trash that is a
// symlink has none.
func (t *Transport) days(ctx context.Context, s *spawner) ([]string, error) {
	var days []string
	err := t.entries(ctx, s, []change.Path{trashRoot}, func(it item) error {
		if it.path.Parent() == trashRoot && it.dir {
			if _, ok := dayOf(it.path.Name()); ok {
				days = append(days, it.path.Name())
			}
		}
		return nil
	}, onlyDays)
	slices.Sort(days)
	return days, err
}

// dayOf is the day that a name stands for.
func dayOf(name string) (time.Time, bool) {
	day, err := time.ParseInLocation(time.DateOnly, name, time.Local)
	return day, err == nil && transport.Day(day) == name
}

// Removed implements transport.Keeper.
func (t *Transport) Removed(ctx context.Context, day string, under []change.Path, yield func(transport.Removed) error) error {
	if len(under) == 0 {
		under = []change.Path{change.Root}
	}
	return t.inEmpty(ctx, func(s *spawner) error {
		days, err := t.days(ctx, s)
		if err != nil {
			return err
		}
		var paths []change.Path
		for _, d := range days {
			for _, p := range under {
				if day == "" || day == d {
					paths = append(paths, below(d, p))
				}
			}
		}
		if len(paths) == 0 {
			return nil
		}
		return t.entries(ctx, s, paths, func(it item) error {
			d, p, ok := splitDay(it.path)
			if !ok {
				return nil
			}
			return yield(transport.Removed{Day: d, Path: p, Dir: it.dir, Size: it.size()})
		})
	})
}

// below is where a path of a day is on the target.
func below(day string, p change.Path) change.Path {
	dir := trashRoot.Join(day)
	if p == change.Root {
		return dir
	}
	return dir.Join(string(p))
}

// splitDay takes a path in the trash apart.
func splitDay(p change.Path) (day string, rest change.Path, ok bool) {
	name, ok := strings.CutPrefix(string(p), filter.TrashName+"/")
	if !ok {
		return "", "", false
	}
	day, name, ok = strings.Cut(name, "/")
	return day, change.Path(name), ok
}

// size is that of a regular file.
func (it item) size() int64 {
	if !it.sent {
		return 0
	}
	return it.length
}

// Fetch implements transport.Keeper.
func (t *Transport) Fetch(ctx context.Context, into *os.File, day string, paths []change.Path) (transport.Report, error) {
	var report transport.Report
	err := t.in(ctx, into, confine.Write, func(s *spawner) error {
		if s.confined != nil {
			if err := ours(into); err != nil {
				return fmt.Errorf("%w (%w)", err, s.confined)
			}
		}
		if err := t.checkAbove(ctx, s, day, paths); err != nil {
			return err
		}
		r, err := s.startRun(&t.o, trashFetch, t.o.backArgs(t.old()))
		if err != nil {
			return startError(err)
		}
		c := newClassifier(&t.o, s.rootName(), trashFetch, paths)
		e := r.finish(ctx, t.o.backList(below(day, change.Root), paths), t.limits(), func(line []byte) error {
			c.output(line)
			return nil
		})
		if e.cause == nil && e.code == exitVanished {
			return &transport.Error{Kind: transport.Broken, Err: e.err()}
		}
		return c.verdict(e, 0, &report)
	})
	return report, err
}

// checkAbove reports an error when something above one of the paths is no directory in the trash. rsync follows a symlink there, on
// both sides: what it leads to was never removed.
func (t *Transport) checkAbove(ctx context.Context, s *spawner, day string, paths []change.Path) error {
	dirs := map[change.Path]bool{}
	for _, p := range paths {
		for above := p.Parent(); above != change.Root; above = above.Parent() {
			dirs[below(day, above)] = false
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	above := slices.Sorted(maps.Keys(dirs))
	err := t.entries(ctx, s, above, func(it item) error {
		dirs[it.path] = it.dir
		return nil
	}, "--no-recursive", "--dirs")
	if err != nil {
		return err
	}
	for _, p := range above {
		if !dirs[p] {
			return fmt.Errorf("%s is no directory in the trash", p)
		}
	}
	return nil
}

// ours reports an error when somebody else could put another directory in the place of dir: a child that is not confined
// goes there by its name.
func ours(dir *os.File) error {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil {
		return fmt.Errorf("look at %q: %w", dir.Name(), err)
	}
	for ; ; name = path.Dir(name) {
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return fmt.Errorf("look at %q: %w", name, err)
		}
		others := st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0
		if others || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("rsync cannot be confined, and %q can be changed by others", name)
		}
		if name == "/" {
			return nil
		}
	}
}

// Expire implements transport.Keeper. The removals are those of a run without a trash, by name.
func (t *Transport) Expire(ctx context.Context, before time.Time) ([]string, error) {
	var old []string
	err := t.inEmpty(ctx, func(s *spawner) error {
		days, err := t.days(ctx, s)
		if err != nil {
			return err
		}
		limit := transport.Day(before)
		var paths []change.Path
		for _, day := range days {
			if day < limit {
				old, paths = append(old, day), append(paths, below(day, change.Root))
			}
		}
		if len(paths) == 0 {
			return nil
		}
		if err := t.removeThere(ctx, s, paths); err != nil {
			return fmt.Errorf("empty the trash: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return old, nil
}

// removeThere removes paths with all that is below them, whether the source has them or not: s is that of an empty directory.
func (t *Transport) removeThere(ctx context.Context, s *spawner, paths []change.Path) error {
	r, err := s.startRun(&t.o, remove, t.o.args(remove, t.old()))
	if err != nil {
		return startError(err)
	}
	c := newClassifier(&t.o, s.rootName(), remove, paths)
	e := r.finish(ctx, listOf(remove, paths), t.limits(), func(line []byte) error {
		c.output(line)
		return nil
	})
	var report transport.Report
	if err := c.verdict(e, t.settle(), &report); err != nil {
		return err
	}
	if len(report.Failed) > 0 {
		return report.Failed[0].Err
	}
	return nil
}
