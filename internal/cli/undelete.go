package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/transport"
	"sersync/internal/undelete"
)

// undeleteFlags are the flags of undelete.
type undeleteFlags struct {
	source, target, date string
	list, force          bool
}

func (a *app) undelete() *cobra.Command {
	var f undeleteFlags
	c := &cobra.Command{
		Use:   "undelete CONFIG PATH...",
		Short: "bring back what was removed, from the trash of a target",
		Long: `undelete brings each PATH, one of this machine, back into its source, from the trash of a target that has one (trash: 30d): a file, or
a directory with what of it was removed on one day. Of several days that of the last removal counts, unless --date names one. It comes with mode,
owner and times as the target has them. What is there in its place stays, unless --force replaces it; a directory and something else never
replace each other. It needs no running sersync; one that runs sends what came back to all targets, as any change. The trash keeps it, too.

With --list it says what the trash holds at and below each PATH, or everywhere when there is none, and changes nothing.

It returns 1 when a PATH was in no trash or was left because something is there.`,
		Args: func(_ *cobra.Command, args []string) error {
			if f.list {
				return between(1, -1, "the configuration file and paths or nothing")(nil, args)
			}
			return between(2, -1, "the configuration file and at least one path")(nil, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, _, err := config.Load(args[0])
			if err != nil {
				return err
			}
			return a.undeletePaths(c.Context(), cfg, args[1:], f)
		},
	}
	c.Flags().StringVar(&f.source, "source", "", "only into this source, named as in status")
	c.Flags().StringVar(&f.target, "target", "", "only from this target, named as in status")
	c.Flags().StringVar(&f.date, "date", "", "as it was removed on this day, YYYY-MM-DD")
	c.Flags().BoolVar(&f.list, "list", false, "say what the trash holds")
	c.Flags().BoolVar(&f.force, "force", false, "replace what is there")
	return c
}

func (a *app) undeletePaths(ctx context.Context, cfg *config.Config, names []string, f undeleteFlags) error {
	if day, err := time.Parse(time.DateOnly, f.date); f.date != "" && (err != nil || transport.Day(day) != f.date) {
		return usage(fmt.Sprintf("%q is no day: write it as 2026-01-31", f.date))
	}
	pairs, err := f.pairs(cfg)
	if err != nil {
		return err
	}
	wanted, outside := locate(pairs, names)
	for _, name := range outside {
		fmt.Fprintf(a.out, "%s: lies in no source that has a trash\n", quote(name))
	}
	failed := len(outside)
	if f.list {
		failed += a.listTrash(ctx, pairs, wanted, len(names) == 0, f.date)
	} else {
		failed += a.bringBack(ctx, pairs, wanted, f)
	}
	if failed > 0 {
		return fail(exitError, "", "")
	}
	return nil
}

// pairs are the sources and targets that the flags name, as far as they have a trash. One that is named is asked whether or not
// the configuration wants one for it (any more).
func (f undeleteFlags) pairs(cfg *config.Config) ([]pair, error) {
	all, err := verifyFlags{source: f.source, target: f.target}.pairs(cfg)
	if err != nil || f.target != "" {
		return all, err
	}
	all = slices.DeleteFunc(all, func(p pair) bool { return p.target.Trash == 0 })
	if len(all) == 0 {
		return nil, fail(exitError, "no target has a trash", "write trash: 30d for a target, or name with --target one that had it")
	}
	return all, nil
}

// wantedPath is a path of a source that a person asks for.
type wantedPath struct {
	path   change.Path
	source string
	// days are those on which it was removed, for each target.
	days map[string][]string
}

// locate finds the sources that names lie in, and the names that lie in none.
func locate(pairs []pair, names []string) (wanted []*wantedPath, outside []string) {
	for _, name := range names {
		seen := map[string]bool{}
		for _, p := range pairs {
			if at, inside := p.source.Locate(name); inside && !seen[p.source.Name] {
				seen[p.source.Name] = true
				wanted = append(wanted, &wantedPath{path: at, source: p.source.Name, days: map[string][]string{}})
			}
		}
		if len(seen) == 0 {
			outside = append(outside, name)
		}
	}
	return wanted, outside
}

// askedOf are the paths to ask a pair for.
func askedOf(p pair, wanted []*wantedPath) []change.Path {
	var paths []change.Path
	for _, w := range wanted {
		if w.source == p.source.Name {
			paths = append(paths, w.path)
		}
	}
	return paths
}

// listTrash prints what each target holds and returns how many could not be asked.
func (a *app) listTrash(ctx context.Context, pairs []pair, wanted []*wantedPath, all bool, day string) (failed int) {
	for _, p := range pairs {
		under := askedOf(p, wanted)
		if len(under) == 0 && !all {
			continue
		}
		count := 0
		err := daemon.Removed(ctx, p.target, Version, day, under, func(r transport.Removed) error {
			if r.Dir {
				return nil // what is in it says so
			}
			if count++; count == 1 {
				fmt.Fprintf(a.out, "%s to %s\n", quote(p.source.Name), quote(p.target.URL()))
			}
			_, err := fmt.Fprintf(a.out, "  %s  %9s  %s\n", r.Day, size(r.Size), r.Path)
			return err
		})
		if err != nil {
			failed++
			a.trashError(p, "cannot be asked", err)
		} else if count == 0 {
			fmt.Fprintf(a.out, "%s to %s: nothing in the trash\n", quote(p.source.Name), quote(p.target.URL()))
		}
	}
	return failed
}

func (a *app) trashError(p pair, what string, err error) {
	fmt.Fprintf(a.out, "%s to %s: %s: %v\n", quote(p.source.Name), quote(p.target.URL()), what, err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.out, "  hint: %s\n", hint)
	}
}

// bringBack brings back what is wanted, and returns how much of it could not be.
func (a *app) bringBack(ctx context.Context, pairs []pair, wanted []*wantedPath, f undeleteFlags) (failed int) {
	for _, p := range pairs {
		if under := askedOf(p, wanted); len(under) > 0 {
			if err := findDays(ctx, p, wanted, under, f.date); err != nil {
				a.trashError(p, "cannot be asked", err)
			}
		}
	}
	for _, w := range wanted {
		p, day, found := w.newest(pairs)
		if !found {
			failed++
			fmt.Fprintf(a.out, "%s: %s is in no trash\n", quote(w.source), w.path)
			continue
		}
		left, err := a.bringBackOne(ctx, p, w, day, f.force)
		failed += left
		if err != nil {
			failed++
			a.trashError(p, "cannot be brought back", err)
		}
		if others := w.others(day); len(others) > 0 {
			fmt.Fprintf(a.out, "  removed on other days, too: %s; --date brings that back\n", strings.Join(others, ", "))
		}
	}
	return failed
}

// findDays notes on which days the wanted paths of a pair were removed.
func findDays(ctx context.Context, p pair, wanted []*wantedPath, under []change.Path, day string) error {
	target := p.target.URL()
	return daemon.Removed(ctx, p.target, Version, day, under, func(r transport.Removed) error {
		for _, w := range wanted {
			held := r.Path == w.path || r.Path.Below(w.path)
			if held && w.source == p.source.Name && !slices.Contains(w.days[target], r.Day) {
				w.days[target] = append(w.days[target], r.Day)
			}
		}
		return nil
	})
}

// newest is the last day of all targets, and of several targets the first that has it.
func (w *wantedPath) newest(pairs []pair) (from pair, day string, found bool) {
	for _, p := range pairs {
		if p.source.Name != w.source {
			continue
		}
		for _, d := range w.days[p.target.URL()] {
			if d > day {
				from, day, found = p, d, true
			}
		}
	}
	return from, day, found
}

// others are all days but one.
func (w *wantedPath) others(day string) []string {
	var others []string
	for _, days := range w.days {
		others = append(others, days...)
	}
	slices.Sort(others)
	return slices.DeleteFunc(slices.Compact(others), func(d string) bool { return d == day })
}

// bringBackOne brings back one path, says what became of it, and returns how much was left.
func (a *app) bringBackOne(ctx context.Context, p pair, w *wantedPath, day string, force bool) (left int, err error) {
	err = daemon.Undelete(ctx, p.source, p.target, Version, day, w.path, force, func(at change.Path, o undelete.Outcome) {
		if o == undelete.Kept || o == undelete.Blocked {
			left++
		}
		fmt.Fprintf(a.out, "%s: %s %s\n", quote(p.source.Name), at, map[undelete.Outcome]string{
			undelete.Back:     "is back, as it was removed on " + day + ", from " + quote(p.target.URL()),
			undelete.Replaced: "is replaced by what was removed on " + day + ", from " + quote(p.target.URL()),
			undelete.Kept:     "is there, and was left as it is; --force replaces it",
			undelete.Blocked:  "is there and only one of the two is a directory: it was left as it is",
		}[o])
	})
	return left, err
}
