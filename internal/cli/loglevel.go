package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
)

func (a *app) logLevel() *cobra.Command {
	return &cobra.Command{
		Use:   "log-level debug|info|warn|error [CONFIG]",
		Short: "change what a running sersync logs",
		Long: `log-level changes from which level on a running sersync logs, until it is changed again, the configuration
is reloaded, or sersync is started anew. Without CONFIG there must be one sersync running.`,
		Args:      between(1, 2, "a level, and the configuration file or nothing"),
		ValidArgs: httpd.LogLevels(),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(httpd.LogLevels(), args[0]) {
				return usage(fmt.Sprintf("there is no log level %q, there are %s", args[0], strings.Join(httpd.LogLevels(), ", ")))
			}
			all, err := running(c.Context(), args[1:])
			if err != nil {
				return err
			}
			if len(all) > 1 {
				return usage("several sersync are running: name the CONFIG of one")
			}
			changed, err := all[0].LogLevel(c.Context(), httpd.LogLevelRequest{Level: args[0]})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s: log level %s, it was %s\n", quote(all[0].name()), changed.Level, changed.Was)
			return nil
		},
	}
}
