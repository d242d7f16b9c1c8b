package rsync

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
)

const hintTrash = "let the target take --backup and --backup-dir (see \"refuse options\" of a daemon) and let " + filter.TrashName +
	" be a directory there that its user may write, or leave out \"trash\" for this target"

// trashOptions have rsync move what goes on the target, by rename, to the trash of the day. The directory is below
// that of the target, also with a daemon. rsync makes it, with the directories that the path was in; an empty directory it
// removes. What is in the trash under the same name, it replaces.
func trashOptions(now time.Time) []string {
	return []string{"--backup", "--backup-dir=" + filter.TrashName + "/" + transport.Day(now)}
}

// inTrash are messages about a path in the trash. Those about a quoted one may be about its attributes only: they are
// of no matter there.
var inTrash = pattern(`^rsync: (?:\[\w+\] )?(?:backup mkdir ` + regexp.QuoteMeta(filter.TrashName) +
	`/|[^"]*"(?:[^"]*/)?` + regexp.QuoteMeta(filter.TrashName) + `/)`)

// trashFailed reports whether a run ended because the trash could not be used.
func (e ending) trashFailed() bool {
	return (e.code == exitUnsupported || e.code == exitFileIO || e.code == exitUsage) &&
		(strings.Contains(e.stderr, "refuse --backup") || strings.Contains(e.stderr, "Failed to stat "+filter.TrashName) ||
			strings.Contains(e.stderr, "backup-dir is not a directory"))
}

// removalProbe asks whether the target takes removals as they are sent.
func (t *Transport) removalProbe() line {
	if t.o.Trash {
		return probeRemovals | trashing
	}
	return probeRemovals
}

// hintRefused is the remedy for a target that refuses removals without saying why.
func (t *Transport) hintRefused() string {
	if t.o.Trash {
		return hintRemoval + "; " + hintTrash
	}
	return hintRemoval
}

// onlyParts reports whether all paths are parts of large files: nothing that anybody would want back.
func onlyParts(paths []change.Path) bool {
	return !slices.ContainsFunc(paths, func(p change.Path) bool {
		return p.Name() != partialDir && p.Parent().Name() != partialDir
	})
}

// errInTheWay marks the failure of a path for which no way could be made on the target.
type errInTheWay struct{ error }

func (e errInTheWay) Unwrap() error { return e.error }

// updateSparing is an update of a target with a trash: what is there under the same name and is of another type
// goes to the trash. What a file merely overwrites does not, so that the trash holds what went and not each version, and rsync
// knows no such difference. So what is no file at the source is sent with --backup: nothing but its predecessor
// can go. Files are sent without --backup and --force; those that a directory is in the way of, a second time with both. The directories above
// files go along with them, so before that those are sent with --backup that may be something else there.
func (t *Transport) updateSparing(ctx context.Context, b transport.Batch, paths []change.Path, report *transport.Report) error {
	files, others := sortedByType(b, paths)
	l := t.lineOf(b)
	t.standing.gone(paths)
	above := t.standing.unsure(files)
	var sent transport.Report
	// Directories before what is in them.
	if err := t.updateTrashing(ctx, l, b, union(others, above), &sent); err != nil || len(files) == 0 {
		add(report, sent)
		return err
	}
	unmade := map[change.Path]bool{}
	for _, f := range sent.Failed {
		unmade[f.Path] = true
	}
	t.standing.stand(slices.DeleteFunc(above, func(p change.Path) bool { return unmade[p] }))
	asked := map[change.Path]bool{}
	for _, p := range others {
		asked[p] = true
	}
	sent.Failed = slices.DeleteFunc(sent.Failed, func(f transport.Failure) bool { return !asked[f.Path] })
	sent.Limits = slices.DeleteFunc(sent.Limits, func(f transport.Failure) bool { return !asked[f.Path] })
	sent.Changed = slices.DeleteFunc(sent.Changed, func(p change.Path) bool { return !asked[p] })
	add(report, sent)
	return t.updateFiles(ctx, l, b, files, unmade, report)
}

// updateFiles is an update of files. The directories above them are directories on the target, but for those in unmade, of which nobody knows:
// what arrives there without them proves that they are.
func (t *Transport) updateFiles(ctx context.Context, l line, b transport.Batch, files []change.Path, unmade map[change.Path]bool, report *transport.Report) error {
	var doubtful []change.Path
	for _, p := range files {
		if unmade[p.Parent()] {
			doubtful = append(doubtful, p)
		}
	}
	var sent transport.Report
	if len(doubtful) > 0 {
		if err := t.applyLine(ctx, l|keeping|bare, b, doubtful, &sent); err != nil {
			return err
		}
		failed := map[change.Path]bool{}
		for _, f := range sent.Failed {
			failed[f.Path] = true
		}
		files = slices.DeleteFunc(slices.Clone(files), func(p change.Path) bool { return failed[p] })
	}
	if len(files) > 0 {
		if err := t.applyLine(ctx, l|keeping, b, files, &sent); err != nil {
			return err
		}
	}
	var blocked []change.Path
	if !b.Keep {
		sent.Failed = slices.DeleteFunc(sent.Failed, func(f transport.Failure) bool {
			is := errors.As(f.Err, new(errInTheWay))
			if is {
				blocked = append(blocked, f.Path)
			}
			return is
		})
	}
	add(report, sent)
	return t.updateTrashing(ctx, l, b, blocked, report)
}

// add adds what became of some paths of a batch.
func add(to *transport.Report, r transport.Report) {
	to.Failed, to.Limits, to.Changed = append(to.Failed, r.Failed...), append(to.Limits, r.Limits...), append(to.Changed, r.Changed...)
	to.Files, to.Bytes = to.Files+r.Files, to.Bytes+r.Bytes
}

// union is all of both, each once.
func union(a, b []change.Path) []change.Path {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// updateTrashing is an update by which what goes is moved to the trash. A target that refuses that still gets
// everything else: the paths fail.
func (t *Transport) updateTrashing(ctx context.Context, l line, b transport.Batch, paths []change.Path, report *transport.Report) error {
	if len(paths) == 0 {
		return nil
	}
	err := t.applyLine(ctx, l|trashing, b, paths, report)
	var state *transport.Error
	if !errors.As(err, &state) || state.Kind != transport.RemovalsRefused {
		return err
	}
	for _, p := range paths {
		report.Failed = append(report.Failed, transport.Failure{Path: p, Retry: true, Err: state})
	}
	return nil
}

// sortedByType are the paths that are files at the source or missing, and the others.
func sortedByType(b transport.Batch, paths []change.Path) (files, others []change.Path) {
	for _, p := range paths {
		var st unix.Stat_t
		err := unix.Fstatat(int(b.Root.Fd()), string(p), &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			others = append(others, p)
		} else {
			files = append(files, p)
		}
	}
	return files, others
}
