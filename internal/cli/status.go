package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
)

func (a *app) status() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [CONFIG]",
		Short: "say what a running sersync does, and what is not there yet",
		Long: `status says for every source and target: its state, the age of the oldest change that is not
there yet (lag), how many paths and bytes wait, what was sent, what failed and why. It returns 3 when no sersync is running.
Without CONFIG it shows every running sersync of this user.`,
		Args: between(0, 1, "the configuration file or nothing"),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := running(c.Context(), args)
			if err != nil {
				return err
			}
			if asJSON {
				return a.statusJSON(all)
			}
			for n, i := range all {
				if n > 0 {
					fmt.Fprintln(a.out)
				}
				newPrinter(a.out).instance(i)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it for programs; the form is documented and stable")
	return c
}

// statusJSON has the same form for one instance as for many.
func (a *app) statusJSON(all []instance) error {
	answer := struct {
		Instances []httpd.Status `json:"instances"`
	}{}
	for _, i := range all {
		answer.Instances = append(answer.Instances, i.status)
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(answer)
}
