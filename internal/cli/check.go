package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/filter"
	"sersync/internal/transport"
	"sersync/internal/watch/exports"
)

func (a *app) check() *cobra.Command {
	var offline bool
	var patience time.Duration
	c := &cobra.Command{
		Use:   "check CONFIG",
		Short: "say what is wrong with a configuration, and what it does",
		Long: `check reads a configuration and says everything that is wrong with it, each with its line and remedy; then
what would be watched and sent where; then it asks each target, changing nothing, whether it can be reached and what it cannot store.
It returns 0 when sersync would start and every target answered, 1 when not, 255 when the file is missing or malformed.`,
		Args: between(1, 1, "the configuration file"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.checkConfig(c.Context(), args[0], offline, patience)
		},
	}
	c.Flags().BoolVar(&offline, "offline", false, "do not ask the targets")
	c.Flags().DurationVar(&patience, "timeout", 15*time.Second, "how long each target may take to answer")
	return c
}

func (a *app) checkConfig(ctx context.Context, file string, offline bool, patience time.Duration) error {
	cfg, problems, err := config.Load(file)
	var invalid *config.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		return err
	}
	errs := 0
	for _, p := range problems {
		fmt.Fprintln(a.out, p)
		if p.Severity == config.Error {
			errs++
		}
	}
	if err != nil {
		return fail(exitError, fmt.Sprintf("%s cannot be used: %s", quote(file), plural(errs, "error")), "mend what is listed above, then check again")
	}
	silent := 0
	for n, s := range cfg.Sources {
		if n > 0 || len(problems) > 0 {
			fmt.Fprintln(a.out)
		}
		a.explain(cfg, s)
		for _, t := range s.Targets {
			fmt.Fprintf(a.out, "  to %s%s\n", quote(t.URL()), details(t))
			a.explainHooks("    ", t.Hooks)
			if !offline && !a.askTarget(ctx, t, patience) {
				silent++
			}
		}
	}
	if silent > 0 {
		return fail(exitError, fmt.Sprintf("%s cannot be used as they are", plural(silent, "target")), "sersync would start all the same, and try them again until they can")
	}
	return nil
}

// explain says what would be done with a source.
func (a *app) explain(cfg *config.Config, s config.Source) {
	fmt.Fprintf(a.out, "source %s\n", quote(s.Name))
	fmt.Fprintf(a.out, "  watches %s and everything below%s\n", quote(s.Path), watchedBy(s))
	if exported(s) {
		fmt.Fprintln(a.out, "  is exported by the NFS server of this machine: what clients write is noticed at once by fanotify (CAP_SYS_ADMIN), by inotify not always")
	}
	a.explainSending(s)
	for _, r := range append(cfg.RulesFor(s), filter.BuiltIn()...) {
		fmt.Fprintf(a.out, "  rule %s\n", r)
	}
	a.explainHooks("  ", s.Hooks)
}

// explainVerify says when targets are verified in the background.
func (a *app) explainVerify(v config.Verify) {
	how := ""
	if v.Content {
		how = " by content"
	}
	if v.Content && v.Rate > 0 {
		how += fmt.Sprintf(", reading %s a second at the most where rsync is not what reads", size(uint64(v.Rate)))
	}
	if v.Every > 0 {
		fmt.Fprintf(a.out, "  verifies every target again %v after the end of the last time%s\n", v.Every, how)
	}
	if v.Schedule != "" {
		fmt.Fprintf(a.out, "  verifies every target at %q%s\n", v.Schedule, how)
	}
}

// explainSending says what is sent and removed, and when.
func (a *app) explainSending(s config.Source) {
	switch {
	case len(s.Targets) == 0:
		fmt.Fprintln(a.out, "  has no targets: its hooks are told of what changes")
		return
	case s.Initial:
		fmt.Fprintln(a.out, "  compares every target at the start")
	case s.Fill:
		fmt.Fprintln(a.out, "  sends everything to a target that is new, then what changed since the last stop and what changes")
	default:
		fmt.Fprintln(a.out, "  sends what changed since the last stop and what changes; -r or initial compares every target first")
	}
	if s.Sweep.Every > 0 {
		fmt.Fprintf(a.out, "  compares every target again %v after the end of the last comparison\n", s.Sweep.Every)
	}
	if s.Sweep.Schedule != "" {
		fmt.Fprintf(a.out, "  compares every target at %q\n", s.Sweep.Schedule)
	}
	a.explainVerify(s.Verify)
	switch b := s.RemovalBudget; {
	case !s.Delete:
		fmt.Fprintln(a.out, "  never removes anything on a target")
	case b.Off:
		fmt.Fprintln(a.out, "  removes on every target what goes, however much that is")
	default:
		fmt.Fprintf(a.out, "  holds removals when more than %d paths and %d %%, or %d %%, go within a minute\n", b.Paths, b.Percent, b.Most)
	}
}

// exported reports whether the NFS server of this machine exports the source, as far as this user may know.
func exported(s config.Source) bool {
	real, err := filepath.EvalSymlinks(s.Path)
	if err != nil {
		return false
	}
	dirs, err := exports.Read(exports.Tables())
	return err == nil && len(exports.Within(dirs, real)) > 0
}

// watchedBy says what is set of how a source is watched.
func watchedBy(s config.Source) string {
	by := ""
	if s.OneFileSystem {
		by = " on its file system"
	}
	switch s.Watch {
	case "fanotify", "inotify":
		by += ", by " + s.Watch
	case "poll":
		by += fmt.Sprintf(", by a look every %v", s.GapEvery)
	}
	return by
}

// details are what a target's URL does not say.
func details(t config.Target) string {
	parts := []string{""}
	if t.PasswordFile != "" {
		parts = append(parts, "password from "+quote(t.PasswordFile))
	}
	if t.SSHKey != "" {
		parts = append(parts, "key "+quote(t.SSHKey))
	}
	if t.Rsync() && len(t.Params) > 0 {
		parts = append(parts, "rsync "+strings.Join(t.Params, " "))
	}
	if t.Bandwidth > 0 {
		parts = append(parts, "at most "+size(t.Bandwidth)+" a second")
	}
	if t.Trash > 0 {
		parts = append(parts, "what goes is kept there for "+plural(t.Trash, "day")+" in "+filter.TrashName)
	}
	return strings.Join(parts, ", ")
}

// askTarget asks a target and says what came back. It reports whether the target can be used.
func (a *app) askTarget(ctx context.Context, t config.Target, patience time.Duration) bool {
	there, err := daemon.NewTransport(t, daemon.TransportOptions{Version: Version})
	if err != nil {
		fmt.Fprintf(a.out, "    cannot be used: %v\n", err)
		return false
	}
	defer there.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	facts, err := there.Check(ctx)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", patience)
		}
		a.targetError(err)
		return false
	}
	fmt.Fprintf(a.out, "    answers: %s\n", versions(facts))
	for _, limit := range facts.Limits {
		fmt.Fprintf(a.out, "    cannot store: %s\n", limit)
	}
	return true
}

func (a *app) targetError(err error) {
	fmt.Fprintf(a.out, "    cannot be used: %v\n", err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.out, "    hint: %s\n", hint)
	}
}

func versions(f transport.Facts) string {
	there := f.There
	if there == "" {
		there = "version unknown"
	}
	return "version " + f.Here + " here, " + there + " there"
}
