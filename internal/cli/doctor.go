package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/doctor"
	"sersync/internal/httpd"
	"sersync/internal/transport"
	"sersync/internal/watch/exports"
)

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	file        string
	probe, json bool
}

func (a *app) doctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "say what is wrong with this machine, its limits, a configuration and its targets, with remedies",
		Long: `doctor looks deeply where check is quick: at rsync, landlock and the clock of this machine, the limits of the kernel against the
size of the sources, what is mounted and what is not, the state directory, password files, a daemon that runs (its brakes, its directories that are
not watched), and every target: whether its name resolves, it can be reached, its module is there, the login is accepted, it can be
written. Everything that is wrong is said with what to do about it.

With --probe it writes a small file with a name of its own (.sersync-probe-…) into each target and removes it again: so it knows
whether the target can be written, how far its clock is off, and whether times, modes and owners are stored. Nothing else is touched, but for the time of the
directory that the file was in.

Without -o it takes confxml.xml in this directory; when there is none, the configuration of the one sersync that runs; else it looks at the
machine alone.

It returns 0 when nothing must be done (there may be warnings), 1 when something must, 255 when the configuration is missing or malformed.

With --json it prints one object: problems, warnings (how many), and parts, a list of kind, name, and findings: check, level ("ok", "note",
"warning", "problem"), what, remedy.`,
		Args: between(0, 0, "none: the configuration is named by -o"),
		RunE: func(c *cobra.Command, _ []string) error { return a.examine(c.Context(), f) },
	}
	c.Flags().StringVarP(&f.file, "config", "o", "", "the configuration file")
	c.Flags().BoolVar(&f.probe, "probe", false, "write a file into each target and remove it again")
	c.Flags().BoolVar(&f.json, "json", false, "print it for programs; the form is documented and stable")
	return c
}

// statusWithin is how long a daemon may take to say how it is.
const statusWithin = 10 * time.Second

func (a *app) examine(ctx context.Context, f doctorFlags) error {
	o := doctor.Options{
		File: f.file, Probe: f.probe, Proc: "/proc", Fstab: "/etc/fstab", Exports: exports.Tables(),
		Open: func(t config.Target) (transport.Transport, error) {
			return daemon.NewTransport(t, daemon.TransportOptions{Version: Version})
		},
	}
	if o.File == "" {
		o.File = usualConfig(ctx)
	}
	var broken error
	if o.File != "" {
		if o.Config, o.Problems, broken = understood(o.File); broken != nil {
			o.Err = broken
		}
	}
	if o.Config != nil {
		o.Running, o.Silent = says(ctx, o.Config.Socket)
	}
	report := doctor.Examine(ctx, o)
	if err := a.printReport(report, f.json); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case broken != nil:
		return fail(codeOf(broken), "", "")
	case report.Problems > 0:
		return fail(exitError, "", "")
	}
	return nil
}

// usualConfig is the configuration when none is named; empty when there is no choice.
func usualConfig(ctx context.Context) string {
	if _, err := os.Stat(defaultConfig); err == nil {
		return defaultConfig
	}
	if all, err := running(ctx, nil); err == nil && len(all) == 1 {
		return all[0].status.Config
	}
	return ""
}

// understood reads a configuration as far as it can be understood. An error says that it is no configuration at all.
func understood(file string) (*config.Config, []config.Problem, error) {
	cfg, problems, err := config.Understand(file)
	var invalid *config.InvalidError
	if errors.As(err, &invalid) {
		err = nil // the problems are told
	}
	return cfg, problems, err
}

// says is what the daemon at the socket says of itself; nothing when there is none.
func says(ctx context.Context, socket string) (*httpd.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	status, err := httpd.NewClient(socket).Status(ctx)
	var e *httpd.Error
	switch {
	case errors.As(err, &e) && (e.Kind == httpd.NotRunning || e.Kind == httpd.Stopping):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &status, nil
}

func (a *app) printReport(r doctor.Report, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	p := newPrinter(a.out)
	colours := map[doctor.Level]string{doctor.OK: green, doctor.Warning: yellow, doctor.Problem: red}
	for _, part := range r.Parts {
		title := part.Kind
		if part.Name != "" {
			title += " " + quote(part.Name)
		}
		p.line("%s", p.paint(title, bold))
		for _, f := range part.Findings {
			p.line("  %s %s", p.paint(fmt.Sprintf("%-8s", f.Level), colours[f.Level]), f.What)
			if f.Remedy != "" {
				p.line("    remedy: %s", f.Remedy)
			}
		}
	}
	p.line("%s, %s", plural(r.Problems, "problem"), plural(r.Warnings, "warning"))
	return nil
}
