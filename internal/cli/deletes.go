package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// toApprove is what a person can do about removals that are held.
const toApprove = "if the source is as it should be: sersync deletes approve"

func (a *app) deletes() *cobra.Command {
	c := &cobra.Command{
		Use:   "deletes",
		Short: "removals that are held because the source looks broken",
		Args:  between(1, 1, "list or approve"),
		RunE: func(_ *cobra.Command, args []string) error {
			return usage(fmt.Sprintf("there is no command %q", "deletes "+args[0]))
		},
	}
	var listed pathsFlags
	list := &cobra.Command{
		Use:   "list [CONFIG]",
		Short: "say which removals are held, and why",
		Args:  between(0, 1, "the configuration file or nothing"),
		RunE:  func(c *cobra.Command, args []string) error { return a.listDeletes(c, args, listed) },
	}
	listed.listing(list)
	var source string
	approve := &cobra.Command{
		Use:   "approve [CONFIG]",
		Short: "release the removals that are held: the targets will lose what the source has lost",
		Args:  between(0, 1, "the configuration file or nothing"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.approveDeletes(c, args, source)
		},
	}
	approve.Flags().StringVar(&source, "source", "", "only those of this source, named as in status")
	c.AddCommand(list, approve)
	return c
}

func (a *app) listDeletes(c *cobra.Command, args []string, f pathsFlags) error {
	all, err := running(c.Context(), args)
	if err != nil {
		return err
	}
	any := false
	var held []replicate.Paths
	for _, i := range all {
		paths, err := i.Held(c.Context(), f.request())
		if err != nil {
			return err
		}
		held = append(held, paths.Targets...)
		for _, s := range i.status.Sources {
			if s.Brake == nil || f.json || f.source != "" && f.source != s.Name {
				continue
			}
			any = true
			fmt.Fprintf(a.out, "%s: %s held since %s: %s: %s\n",
				quote(s.Name), plural(s.Brake.Held, "removal"), clock(s.Brake.Since), s.Brake.Kind, s.Brake.Reason)
		}
	}
	if f.json {
		return a.pathsJSON(held)
	}
	for _, t := range held {
		a.paths(t)
	}
	if !any {
		fmt.Fprintln(a.out, "no removals are held")
	}
	return nil
}

func (a *app) approveDeletes(c *cobra.Command, args []string, source string) error {
	i, err := only(c, args)
	if err != nil {
		return err
	}
	approved, err := i.Approve(c.Context(), httpd.ApproveRequest{Source: source})
	if err != nil {
		return err
	}
	for _, r := range approved.Released {
		fmt.Fprintf(a.out, "%s: %s released\n", quote(r.Source), plural(r.Held, "removal"))
	}
	if len(approved.Released) == 0 {
		fmt.Fprintln(a.out, "no removals are held")
	}
	return nil
}
