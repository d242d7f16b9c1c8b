package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/httpd"
	"sersync/internal/transport"
)

// Exit codes of diff, as diff(1) has them. A configuration that is missing or malformed is exitConfig here as well.
const (
	exitDiffers = 1
	exitTrouble = 2
)

// diffFlags are the flags of diff.
type diffFlags struct {
	source, target string
	json           bool
}

func (a *app) diff() *cobra.Command {
	var f diffFlags
	c := &cobra.Command{
		Use:   "diff CONFIG",
		Short: "say in what each target differs from its source; changes nothing",
		Long: `diff compares each target with its source, by a dry run and through the filter of the source: what is missing
there, what is extra, what is different. It needs no running sersync and changes nothing. What is extra counts only where
removals reach the targets. What is on its way differs, too: with a running sersync, wait first.

It returns 0 when all are equal, 1 when any differs, 2 when one could not be compared, 255 when the file is missing or
malformed.

With --json each line is an object: source, target, path (quoted where it holds anything but plain text), kind ("missing", "extra"
or "different"), dir, and size in bytes of a file that is to be sent. The last line of each target has differences (how many) and error
(missing when there was none) in place of them.`,
		Args: between(1, 1, "the configuration file"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, _, err := config.Load(args[0])
			if err != nil {
				return asDiff(err)
			}
			return a.diffAll(c.Context(), cfg, f)
		},
	}
	c.Flags().StringVar(&f.source, "source", "", "only this source, named as in status")
	c.Flags().StringVar(&f.target, "target", "", "only this target, named as in status")
	c.Flags().BoolVar(&f.json, "json", false, "print it for programs, an object a line")
	return c
}

// asDiff is an error with the exit code of diff(1), unless the file is no configuration at all.
func asDiff(err error) error {
	var syntax *config.SyntaxError
	if errors.As(err, &syntax) {
		return err
	}
	return fail(exitTrouble, err.Error(), hintOf(err))
}

// diffAll compares all targets that the flags name, one after the other.
func (a *app) diffAll(ctx context.Context, cfg *config.Config, f diffFlags) error {
	pairs, err := f.pairs(cfg)
	if err != nil {
		return asDiff(err)
	}
	out := bufio.NewWriter(a.out)
	defer out.Flush()
	different, failed := 0, 0
	for _, p := range pairs {
		d := diffPrinter{out: out, json: json.NewEncoder(out), asJSON: f.json, pair: p}
		err := daemon.Compare(ctx, cfg, p.source, p.target, d.difference)
		if err != nil {
			failed++
		} else if d.count > 0 {
			different++
		}
		if err := d.end(err); err != nil {
			return asDiff(fmt.Errorf("print differences: %w", err))
		}
	}
	switch {
	case failed > 0:
		return fail(exitTrouble, plural(failed, "target")+" could not be compared", "")
	case different > 0:
		return fail(exitDiffers, "", "")
	}
	return nil
}

// pair is a source and one of its targets.
type pair struct {
	source config.Source
	target config.Target
}

// pairs are those that the flags name.
func (f diffFlags) pairs(cfg *config.Config) ([]pair, error) {
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

// diffPrinter prints the differences of one pair as they come.
type diffPrinter struct {
	out    *bufio.Writer
	json   *json.Encoder
	asJSON bool
	pair   pair
	count  int
}

// diffLine is a line of --json.
type diffLine struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Path   string `json:"path,omitempty"`
	Kind   string `json:"kind,omitempty"`
	Dir    bool   `json:"dir,omitempty"`
	Size   int64  `json:"size,omitempty"`
	// Differences is there in the last line of a target, as Error is when there was one.
	Differences *int   `json:"differences,omitempty"`
	Error       string `json:"error,omitempty"`
}

func kindOf(d transport.Difference) string {
	switch {
	case d.Extra:
		return "extra"
	case d.Missing:
		return "missing"
	}
	return "different"
}

func (p *diffPrinter) difference(d transport.Difference) error {
	p.count++
	if p.asJSON {
		return p.json.Encode(diffLine{
			Source: p.pair.source.Name, Target: p.pair.target.URL(),
			Path: d.Path.String(), Kind: kindOf(d), Dir: d.Dir, Size: d.Size,
		})
	}
	if p.count == 1 {
		fmt.Fprintf(p.out, "%s to %s\n", quote(p.pair.source.Name), quote(p.pair.target.URL()))
	}
	what := ""
	if d.Dir {
		what = " (directory)"
	}
	_, err := fmt.Fprintf(p.out, "  %-9s  %s%s\n", kindOf(d), d.Path, what)
	return err
}

// end says what the comparison came to.
func (p *diffPrinter) end(failed error) error {
	if p.asJSON {
		line := diffLine{Source: p.pair.source.Name, Target: p.pair.target.URL(), Differences: &p.count}
		if failed != nil {
			line.Error = failed.Error()
		}
		return errors.Join(p.json.Encode(line), p.out.Flush())
	}
	name := quote(p.pair.source.Name) + " to " + quote(p.pair.target.URL())
	switch {
	case failed != nil:
		fmt.Fprintf(p.out, "%s: cannot be compared: %v\n", name, failed)
		if hint := hintOf(failed); hint != "" {
			fmt.Fprintf(p.out, "  hint: %s\n", hint)
		}
	case p.count == 0:
		fmt.Fprintf(p.out, "%s: equal\n", name)
	default:
		fmt.Fprintf(p.out, "%s: %s\n", name, plural(p.count, "difference"))
	}
	return p.out.Flush()
}
