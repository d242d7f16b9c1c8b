package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// pathsFlags are the flags of commands about owed paths.
type pathsFlags struct {
	source, target string
	all, json      bool
}

func (f *pathsFlags) names(c *cobra.Command) {
	c.Flags().StringVar(&f.source, "source", "", "only those of this source, named as in status")
	c.Flags().StringVar(&f.target, "target", "", "only those of this target, named as in status")
}

func (f *pathsFlags) listing(c *cobra.Command) {
	f.names(c)
	c.Flags().BoolVar(&f.all, "all", false, fmt.Sprintf("list all paths, %d of each target at the most", replicate.PathsMax))
	c.Flags().BoolVar(&f.json, "json", false, "print it for programs; the form is documented and stable")
}

func (f *pathsFlags) request() httpd.PathsRequest {
	r := httpd.PathsRequest{Source: f.source, Target: f.target}
	if !f.all {
		r.Max = listMax
	}
	return r
}

func (a *app) failed() *cobra.Command {
	c := &cobra.Command{
		Use:   "failed",
		Short: "paths that could not be sent: those that are tried again, and dead letters",
		Args:  between(1, 1, "list, retry or clear"),
		RunE: func(_ *cobra.Command, args []string) error {
			return usage(fmt.Sprintf("there is no command %q", "failed "+args[0]))
		},
	}
	var listed, retried, cleared pathsFlags
	list := &cobra.Command{
		Use:   "list [CONFIG]",
		Short: "say which paths failed, since when, how often, and why",
		Args:  between(0, 1, "the configuration file or nothing"),
		RunE:  func(c *cobra.Command, args []string) error { return a.listFailed(c, args, listed) },
	}
	listed.listing(list)
	retry := &cobra.Command{
		Use:   "retry [CONFIG]",
		Short: "try now what failed, dead letters too",
		Args:  between(0, 1, "the configuration file or nothing"),
		RunE:  func(c *cobra.Command, args []string) error { return a.retryFailed(c, args, retried) },
	}
	retried.names(retry)
	clear := &cobra.Command{
		Use:   "clear [CONFIG]",
		Short: "forget dead letters: they do not matter, and are not tried again before they change",
		Args:  between(0, 1, "the configuration file or nothing"),
		RunE:  func(c *cobra.Command, args []string) error { return a.clearFailed(c, args, cleared) },
	}
	cleared.names(clear)
	c.AddCommand(list, retry, clear)
	return c
}

func (a *app) listFailed(c *cobra.Command, args []string, f pathsFlags) error {
	all, err := running(c.Context(), args)
	if err != nil {
		return err
	}
	var found []replicate.Paths
	for _, i := range all {
		paths, err := i.Failed(c.Context(), f.request())
		if err != nil {
			return err
		}
		found = append(found, paths.Targets...)
	}
	if f.json {
		return a.pathsJSON(found)
	}
	for _, t := range found {
		a.paths(t)
	}
	if len(found) == 0 {
		fmt.Fprintln(a.out, "nothing has failed")
	}
	return nil
}

// only is the instance to change something of: it must be clear which one.
func only(c *cobra.Command, args []string) (instance, error) {
	all, err := running(c.Context(), args)
	if err == nil && len(all) > 1 {
		err = usage("several sersync are running: name the CONFIG of one")
	}
	if err != nil {
		return instance{}, err
	}
	return all[0], nil
}

func (a *app) retryFailed(c *cobra.Command, args []string, f pathsFlags) error {
	i, err := only(c, args)
	if err != nil {
		return err
	}
	retried, err := i.Retry(c.Context(), f.request())
	if err != nil {
		return err
	}
	for _, t := range retried.Targets {
		fmt.Fprintf(a.out, "%s to %s: %s tried again now\n", quote(t.Source), quote(t.Target), plural(t.Count, "path"))
	}
	if len(retried.Targets) == 0 {
		fmt.Fprintln(a.out, "nothing has failed")
	}
	return nil
}

func (a *app) clearFailed(c *cobra.Command, args []string, f pathsFlags) error {
	i, err := only(c, args)
	if err != nil {
		return err
	}
	cleared, err := i.Clear(c.Context(), f.request())
	if err != nil {
		return err
	}
	for _, t := range cleared.Targets {
		fmt.Fprintf(a.out, "%s to %s: %s forgotten\n", quote(t.Source), quote(t.Target), plural(t.Count, "dead letter"))
		for _, p := range t.Paths {
			a.path(p)
		}
	}
	if len(cleared.Targets) == 0 {
		fmt.Fprintln(a.out, "there are no dead letters")
	}
	return nil
}

// paths shows the paths of a target.
func (a *app) paths(t replicate.Paths) {
	fmt.Fprintf(a.out, "%s to %s: %s\n", quote(t.Source), quote(t.Target), plural(t.Count, "path"))
	for _, p := range t.Paths {
		a.path(p)
	}
	if more := t.Count - len(t.Paths); more > 0 {
		fmt.Fprintf(a.out, "  … and %d more, with --all\n", more)
	}
}

func (a *app) path(p replicate.OwedPath) {
	fmt.Fprintf(a.out, "  %s: %s since %s", p.Path, p.State, clock(p.Since))
	if p.Tries > 0 {
		fmt.Fprintf(a.out, ", %s", tries(p.Tries))
	}
	if p.Next != nil {
		fmt.Fprintf(a.out, ", next in %s", age(max(0, time.Until(*p.Next)).Round(time.Second)))
	}
	if p.Error != "" {
		fmt.Fprintf(a.out, ": %s", p.Error)
	}
	fmt.Fprintln(a.out)
}

func tries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}

func (a *app) pathsJSON(targets []replicate.Paths) error {
	if targets == nil {
		targets = []replicate.Paths{}
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(httpd.Paths{Targets: targets})
}
