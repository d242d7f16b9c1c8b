package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/exports"
)

// sources looks at each source, and adds up what they need.
func (e *examination) sources(ctx context.Context) []Part {
	var mountErr, fstabErr error
	e.mounts, mountErr = e.readMounts()
	e.fstab, fstabErr = readFstab(e.Fstab)
	e.need.sources, e.need.targets = len(e.Config.Sources), e.targetCount()
	var parts []Part
	for _, s := range e.Config.Sources {
		p := Part{Kind: "source", Name: s.Name}
		if mountErr != nil {
			p.add(Warning, "mounts", "mount /proc", "what is mounted below is not known: %v", mountErr)
		}
		// A container has none, and needs none.
		if fstabErr != nil && !errors.Is(fstabErr, fs.ErrNotExist) {
			p.add(Warning, "fstab", "let this user read "+e.Fstab, "what should be mounted is not known: %v", fstabErr)
		}
		e.source(ctx, &p, s)
		parts = append(parts, p)
	}
	return parts
}

func (e *examination) source(ctx context.Context, p *Part, s config.Source) {
	for _, problem := range e.Problems {
		if about(problem, s) {
			p.problem("root", problem)
		}
	}
	real, err := filepath.EvalSymlinks(s.Path)
	if err != nil {
		e.shouldBeMounted(p, s, s.Path, nil)
		return
	}
	root, err := scan.OpenRoot(s.Path)
	if err != nil {
		if len(p.Findings) == 0 {
			p.add(Problem, "root", "let this user read the directory, or run as root", "%v", err)
		}
		e.shouldBeMounted(p, s, real, nil)
		return
	}
	defer root.Close()
	rules, err := filter.New(e.Config.RulesFor(s)...)
	if err != nil {
		p.add(Problem, "rules", "mend the expression", "%v", err)
		return
	}
	e.root(p, s, real)
	e.mounted(p, s, real, rules)
	e.shouldBeMounted(p, s, real, rules)
	status := e.statusOf(s)
	e.exported(p, s, real, status)
	if status != nil {
		e.watched(p, s, status)
	} else {
		e.walk(ctx, p, root, rules)
	}
}

// root is the directory itself.
func (e *examination) root(p *Part, s config.Source, real string) {
	on := "a file system that is not known"
	mount := e.mounts.of(real)
	if mount != nil {
		on = fmt.Sprintf("%s, mounted from %s at %s", mount.FSType, quote(mount.Source), quote(mount.Mountpoint))
	}
	p.ok("root", "%s can be read, and is on %s", quote(s.Path), on)
	if real != s.Path {
		p.add(Note, "symlink", "", "%s is reached by a symlink and is %s: if the symlink ever leads elsewhere, removals are held", quote(s.Path), quote(real))
	}
	if mount != nil && !seesAll(mount.FSType) {
		p.blind(quote(s.Path), mount.FSType)
	}
}

// blind says that changes may be missed.
func (p *Part) blind(what, fsType string) {
	p.add(Warning, "blind", "run sersync on the machine that has the disk, or compare regularly: sweep, or <crontab>",
		"%s is on %s: what is changed elsewhere than through this mount is not noticed", what, fsType)
}

// mounted looks at the file systems below the root that are replicated with it.
func (e *examination) mounted(p *Part, s config.Source, real string, rules *filter.Filter) {
	for _, mount := range e.mounts.below(real) {
		path := change.Path(mount.Mountpoint[len(real)+1:])
		if !path.Valid() || !rules.Verdict(path, filter.Dir).Keep {
			continue
		}
		if !seesAll(mount.FSType) {
			p.blind(path.String(), mount.FSType)
		} else {
			p.add(Note, "mount", "", "%s is another file system, %s from %s: if it goes or another one comes, removals are held", path, mount.FSType, quote(mount.Source))
		}
	}
}

// shouldBeMounted finds file systems of fstab that are not there: at the source, above it, or below it.
func (e *examination) shouldBeMounted(p *Part, s config.Source, real string, rules *filter.Filter) {
	for _, line := range e.fstab {
		if line.dir == "/" || e.mounts.at(line.dir) || len(e.mounts) == 0 {
			continue
		}
		remedy := "mount " + quote(line.dir)
		switch above := inside(line.dir, real); {
		case above && bare(real):
			p.add(Problem, "fstab", remedy, "%s is empty or missing, and %s, which %s names, is not mounted", quote(s.Path), quote(line.dir), e.Fstab)
		case above && line.auto():
			p.add(Warning, "fstab", remedy, "%s, which %s names, is not mounted: %s holds what lies below the place to mount it", quote(line.dir), e.Fstab, quote(s.Path))
		case !above && inside(real, line.dir) && line.auto():
			path := change.Path(line.dir[len(real)+1:])
			if rules == nil || path.Valid() && rules.Verdict(path, filter.Dir).Keep {
				p.add(Warning, "fstab", remedy, "%s, which %s names, is not mounted in the source", quote(line.dir), e.Fstab)
			}
		}
	}
}

// exported says what it takes to see all that the clients of the NFS server of this machine write.
func (e *examination) exported(p *Part, s config.Source, real string, status *replicate.Status) {
	const remedy = "run sersync as root or let it have CAP_SYS_ADMIN, and leave watch at auto, so that fanotify is used"
	dirs, err := exports.Read(e.Exports)
	by := s.Watch
	if status != nil {
		by = status.Watcher
	}
	switch {
	case err != nil:
		p.add(Warning, "exports", "let this user read it", "whether the NFS server of this machine exports it is not known: %v", err)
	case len(exports.Within(dirs, real)) == 0:
	case by == watch.Inotify:
		p.add(Warning, "exports", remedy, "it is exported by the NFS server of this machine, and inotify does not tell of all that clients write: it is looked at every %v", s.GapEvery)
	default:
		p.ok("exports", "it is exported by the NFS server of this machine: where it is watched by fanotify, all that clients write is noticed at once")
	}
}

// bare reports whether there is nothing in a directory, or no directory.
func bare(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	names, _ := f.Readdirnames(2)
	return len(names) == 0 || len(names) == 1 && names[0] == "lost+found"
}

// statusOf is what the daemon says of a source.
func (e *examination) statusOf(s config.Source) *replicate.Status {
	if e.Running == nil {
		return nil
	}
	i := slices.IndexFunc(e.Running.Sources, func(r replicate.Status) bool { return r.Name == s.Name && r.Path == s.Path })
	if i < 0 {
		return nil
	}
	return &e.Running.Sources[i]
}

// watched is what the daemon watches and does not.
func (e *examination) watched(p *Part, s config.Source, status *replicate.Status) {
	e.need.dirs += status.Watches + len(status.Gaps)
	e.need.paths += status.Indexed
	p.ok("watcher", "the daemon watches it by %s: %d watched, %s known", status.Watcher, status.Watches, plural(status.Indexed, "path"))
	for n, gap := range status.Gaps {
		if n == listMax {
			p.add(Problem, "gap", "see: sersync status", "%d more are not watched", len(status.Gaps)-n)
			break
		}
		p.add(Problem, "gap", fmt.Sprintf("end the reason that is named; until then the daemon looks at the directory every %v", s.GapEvery),
			"the directory %s is not watched since %s: %s", gap.Path, gap.Since.Local().Format(time.DateTime), gap.Reason)
	}
	if status.Overflows > 0 {
		p.add(Note, "overflows", set("fs.inotify.max_queued_events", 4*queueWant), "%d times the kernel's queue was full; each time the tree was looked at again", status.Overflows)
	}
}

// walk counts what a daemon would watch.
func (e *examination) walk(ctx context.Context, p *Part, root *scan.Root, rules *filter.Filter) {
	t, err := count(ctx, root, rules)
	e.need.dirs += t.dirs
	e.need.paths += t.paths
	if err != nil {
		p.add(Warning, "tree", "take more time", "not all of the tree was looked at: %v", err)
	}
	p.ok("tree", "%s, %s; no daemon watches them now", plural(t.paths, "path"), plural(t.dirs, "directory"))
	for _, d := range t.closed {
		p.add(Problem, "gap", "let this user read it, run as root, or exclude it", "the directory %s cannot be watched, nor what is below: %v", d.path, reason(d.err))
	}
	if more := t.closedCount - len(t.closed); more > 0 {
		p.add(Problem, "gap", "let this user read them, run as root, or exclude them", "%d more cannot be watched", more)
	}
}

// reason is the error of the system alone.
func reason(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
