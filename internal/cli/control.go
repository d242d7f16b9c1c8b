package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
)

func (a *app) sweep() *cobra.Command {
	var wait bool
	var timeout time.Duration
	c, sel := selecting(&cobra.Command{
		Use:   "sweep [CONFIG]",
		Short: "compare targets with their source now, and send what differs",
		Long: `sweep has targets compared with their source, all of them unless some are named, as -r does at the start. It returns at
once; with --wait when the comparison is over and what it found is on the targets.`,
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if timeout < 0 || timeout > 0 && !wait {
			return usage("--timeout belongs to --wait, and cannot be negative")
		}
		selected, err := a.control(c.Context(), args, *sel, (*httpd.Client).Sweep, "is compared")
		if err != nil || !wait {
			return err
		}
		return a.waitSwept(c.Context(), args, *sel, selected, timeout)
	}
	c.Flags().BoolVar(&wait, "wait", false, "return when what it found is on the targets")
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait no longer than this, as 30s or 5m (default: for ever)")
	return c
}

func (a *app) pause() *cobra.Command {
	c, sel := selecting(&cobra.Command{
		Use:   "pause [CONFIG]",
		Short: "send nothing to targets any more, once what is in flight is done",
		Long: `pause sends nothing to targets any more, to all unless some are named, once what is in flight is done: their state is
"pausing" before that, then "paused". What changes is kept for them. It lasts until resume or a restart.`,
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		_, err := a.control(c.Context(), args, *sel, (*httpd.Client).Pause, "is paused")
		return err
	}
	return c
}

func (a *app) resume() *cobra.Command {
	c, sel := selecting(&cobra.Command{
		Use:   "resume [CONFIG]",
		Short: "go on with targets that are paused",
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		_, err := a.control(c.Context(), args, *sel, (*httpd.Client).Resume, "goes on")
		return err
	}
	return c
}

// selecting is a command that is told which targets it is about.
func selecting(c *cobra.Command) (*cobra.Command, *httpd.Selection) {
	var sel httpd.Selection
	c.Args = between(0, 1, "the configuration file or nothing")
	c.Flags().StringVar(&sel.Source, "source", "", "only the targets of this source, named as in status")
	c.Flags().StringVar(&sel.Target, "target", "", "only this target, named as in status")
	return c, &sel
}

// control asks the one sersync that is meant, and says which targets it was about.
func (a *app) control(ctx context.Context, args []string, sel httpd.Selection,
	ask func(*httpd.Client, context.Context, httpd.Selection) (httpd.Selected, error), done string,
) (httpd.Selected, error) {
	all, err := running(ctx, args)
	if err != nil {
		return httpd.Selected{}, err
	}
	if len(all) > 1 {
		return httpd.Selected{}, usage("several sersync are running: name the CONFIG of one")
	}
	selected, err := ask(all[0].Client, ctx, sel)
	for _, t := range selected.Targets {
		fmt.Fprintf(a.out, "%s: %s %s\n", quote(t.Source), quote(t.Target), done)
	}
	return selected, err
}

// waitSwept waits for the targets, each of which has all that was owed to it before.
func (a *app) waitSwept(ctx context.Context, args []string, sel httpd.Selection, selected httpd.Selected, timeout time.Duration) error {
	if sel == (httpd.Selection{}) {
		return a.waitFor(ctx, args, "", timeout)
	}
	deadline := time.Now().Add(timeout)
	for _, t := range selected.Targets {
		left := timeout
		if timeout > 0 {
			left = max(time.Until(deadline), time.Millisecond)
		}
		if err := a.waitFor(ctx, args, t.Target, left); err != nil {
			return err
		}
	}
	return nil
}
