package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/httpd"
	"sersync/internal/transport"
)

// Exit codes of verify, as diff(1) has them. A configuration that is missing or malformed is exitConfig here as well.
const (
	exitDiffers = 1
	exitTrouble = 2
)

// verifyFlags are the flags of verify.
type verifyFlags struct {
	source, target        string
	content, repair, json bool
}

func (a *app) verify() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:     "verify [CONFIG]",
		Aliases: []string{"diff"},
		Short:   "say in what each target differs from its source",
		Long: `verify compares each target with its source, through the filter of the source: what is missing there, what is
extra, what is different. It needs no running sersync and changes nothing. What is extra counts only where removals reach the
targets. Where a sersync is running with the configuration, what differs is looked at twice, and what that is about to
send or to remove is shown as "on its way" and does not count. Without CONFIG it is that of the sersync that is running.

With --content all files are read on both sides: what differs though size and time are equal is found, too.

With --repair the running sersync is told what differs, and sends and removes it as always: through its filter and its brakes, and
not before what is fresh. "sersync wait" says when that is done.

It returns 0 when all are equal, 1 when any differs, repaired or not, 2 when one could not be compared, 3 when there is no CONFIG and
no sersync is running, 255 when the file is missing or malformed.

With --json each line is an object: source, target, path (quoted where it holds anything but plain text), kind ("missing", "extra"
or "different"), dir, size in bytes of a file that is to be sent, and on_its_way. The last line of each target has differences (how many
that are not on their way) and error (missing when there was none) in place of them.

"diff" is its old name.`,
		Args: between(0, 1, "the configuration file or nothing"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, there, err := verifiable(c.Context(), args)
			if err != nil {
				return err
			}
			return a.verifyAll(c.Context(), cfg, there, f)
		},
	}
	c.Flags().StringVar(&f.source, "source", "", "only this source, named as in status")
	c.Flags().StringVar(&f.target, "target", "", "only this target, named as in status")
	c.Flags().BoolVar(&f.content, "content", false, "read all files, and compare what they hold")
	c.Flags().BoolVar(&f.repair, "repair", false, "have the running sersync repair what differs")
	c.Flags().BoolVar(&f.json, "json", false, "print it for programs, an object a line")
	return c
}

// verifiable is the configuration that is meant, and the sersync that runs with it; nil when none does.
func verifiable(ctx context.Context, args []string) (*config.Config, *instance, error) {
	all, err := running(ctx, args)
	switch {
	case len(args) == 0 && err != nil:
		return nil, nil, err
	case len(args) == 0 && len(all) > 1:
		return nil, nil, usage("several sersync are running: name the CONFIG of one")
	case len(args) == 0 && all[0].status.Config == "":
		return nil, nil, usage("the sersync that is running has no configuration: name the CONFIG")
	case err != nil && codeOf(err) != exitNotRunning:
		return nil, nil, asTrouble(err)
	}
	var there *instance
	if len(all) > 0 {
		there, args = &all[0], []string{all[0].status.Config}
	}
	cfg, _, err := config.Load(args[0])
	if err != nil {
		return nil, nil, asTrouble(err)
	}
	return cfg, there, nil
}

// asTrouble is an error with the exit code of diff(1), unless the file is no configuration at all.
func asTrouble(err error) error {
	var syntax *config.SyntaxError
	if errors.As(err, &syntax) {
		return err
	}
	return fail(exitTrouble, err.Error(), hintOf(err))
}

// verifyAll compares all targets that the flags name, one after the other. there may be nil.
func (a *app) verifyAll(ctx context.Context, cfg *config.Config, there *instance, f verifyFlags) error {
	pairs, err := f.pairs(cfg)
	if err != nil {
		return asTrouble(err)
	}
	out := bufio.NewWriter(a.out)
	defer out.Flush()
	different, failed := 0, 0
	for _, p := range pairs {
		d := differences{out: out, json: json.NewEncoder(out), asJSON: f.json, pair: p, keep: f.repair && there != nil}
		o := daemon.CompareOptions{Content: f.content, OnItsWay: there.onItsWay(p)}
		err := daemon.Compare(ctx, cfg, p.source, p.target, o, d.found)
		d.compared = err == nil
		if d.compared && len(d.kept) > 0 {
			d.repairing, err = there.repair(ctx, p, f.content, d.kept)
		}
		if err != nil {
			failed++
		} else if d.count > 0 {
			different++
		}
		if err := d.end(err); err != nil {
			return asTrouble(fmt.Errorf("print differences: %w", err))
		}
	}
	switch {
	case failed > 0:
		return fail(exitTrouble, plural(failed, "target")+" could not be compared or repaired", "")
	case different > 0 && f.repair && there == nil:
		return fail(exitDiffers, "nothing is repaired, as no sersync is running with this configuration",
			"start it with: sersync run CONFIG -d, and run this again")
	case different > 0:
		return fail(exitDiffers, "", "")
	}
	return nil
}

// onItsWay asks about paths of a target. It is nil where nobody runs. One that does not know the target, as it has an older
// configuration, sends nothing there.
func (i *instance) onItsWay(p pair) func(context.Context, []change.Path) ([]bool, error) {
	if i == nil {
		return nil
	}
	return func(ctx context.Context, paths []change.Path) ([]bool, error) {
		way, err := i.OnItsWay(ctx, p.source.Name, p.target.URL(), paths)
		var e *httpd.Error
		if errors.As(err, &e) && e.Kind == httpd.Unknown {
			return make([]bool, len(paths)), nil
		}
		return way, err
	}
}

// repair has differences of a target repaired, and says how many that are.
func (i *instance) repair(ctx context.Context, p pair, content bool, all []transport.Difference) (int, error) {
	owed, err := i.Repair(ctx, p.source.Name, p.target.URL(), content, all)
	if err != nil {
		return 0, fmt.Errorf("have %s repaired: %w", plural(len(all), "difference"), err)
	}
	return owed.Paths, nil
}

// pair is a source and one of its targets.
type pair struct {
	source config.Source
	target config.Target
}

// pairs are those that the flags name.
func (f verifyFlags) pairs(cfg *config.Config) ([]pair, error) {
	var pairs []pair
	var sources, targets []string
	for _, s := range cfg.Sources {
		sources = append(sources, s.Name)
		if f.source != "" && f.source != s.Name {
			continue
		}
		for _, t := range s.Targets {
			targets = append(targets, t.URL())
			if f.target == "" || f.target == t.URL() {
				pairs = append(pairs, pair{s, t})
			}
		}
	}
	switch {
	case !slices.Contains(sources, f.source) && f.source != "":
		return nil, httpd.UnknownName("source", f.source, sources)
	case len(pairs) == 0:
		return nil, httpd.UnknownName("target", f.target, targets)
	}
	return pairs, nil
}
