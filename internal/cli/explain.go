package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
)

func (a *app) explained() *cobra.Command {
	return &cobra.Command{
		Use:   "explain CONFIG PATH...",
		Short: "say which rule keeps or drops a path",
		Long: `explain says for each PATH, one of this machine, whether it is replicated, and which rule of the configuration decides that.
A path that does not exist is explained as a file and as a directory; with a slash at its end as a directory. It returns 1 when a path lies in no
source.`,
		Args: between(2, -1, "the configuration file and at least one path"),
		RunE: func(_ *cobra.Command, args []string) error { return a.explainPaths(args[0], args[1:]) },
	}
}

func (a *app) explainPaths(file string, names []string) error {
	cfg, _, err := config.Load(file)
	if err != nil {
		return err
	}
	filters := make([]*filter.Filter, len(cfg.Sources))
	for n, s := range cfg.Sources {
		if filters[n], err = filter.New(cfg.RulesFor(s)...); err != nil {
			return fmt.Errorf("explain source %q: %w", s.Name, err)
		}
	}
	outside := 0
	for _, name := range names {
		known := false
		for n, s := range cfg.Sources {
			if p, inside := s.Locate(name); inside {
				known = true
				for _, line := range reasons(filters[n], p, name) {
					fmt.Fprintf(a.out, "%s, in source %s: %s\n", quote(name), quote(s.Name), line)
				}
			}
		}
		if !known {
			outside++
			fmt.Fprintf(a.out, "%s: lies in no source; they are %s\n", quote(name), sourcePaths(cfg))
		}
	}
	if outside > 0 {
		return fail(exitError, "", "")
	}
	return nil
}

func sourcePaths(cfg *config.Config) string {
	var paths []string
	for _, s := range cfg.Sources {
		paths = append(paths, quote(s.Path))
	}
	return strings.Join(paths, ", ")
}

// reasons says what becomes of p: one line, or two where it may be a file or a directory.
func reasons(f *filter.Filter, p change.Path, name string) []string {
	if p == change.Root {
		return []string{"kept: it is the source itself"}
	}
	for dir := p.Parent(); dir != change.Root; dir = dir.Parent() {
		if v := f.Verdict(dir, filter.Dir); !v.Keep && f.Verdict(dir.Parent(), filter.Dir).Keep {
			return []string{fmt.Sprintf("dropped with the directory %s, by %s", dir, v.Rule)}
		}
	}
	info, err := os.Lstat(filepath.Clean(name))
	switch {
	case err == nil && info.IsDir(), err != nil && strings.HasSuffix(name, "/"):
		return []string{"a directory, " + reason(f.Verdict(p, filter.Dir))}
	case err == nil:
		return []string{"a file, " + reason(f.Verdict(p, filter.File))}
	}
	return []string{
		"does not exist; a file would be " + reason(f.Verdict(p, filter.File)),
		"does not exist; a directory would be " + reason(f.Verdict(p, filter.Dir)),
	}
}

func reason(v filter.Verdict) string {
	switch {
	case !v.Keep:
		return "dropped by " + v.Rule
	case v.Rule != "":
		return "kept by " + v.Rule
	}
	return "kept: no rule drops it"
}
