package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
)

func (a *app) wait() *cobra.Command {
	var target string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait [CONFIG]",
		Short: "return when all that was written before is on the targets",
		Long: `wait returns 0 when every change that was made before the call is on the targets:
a barrier for tests and deploy scripts. It returns 3 when no sersync is running, and 4 when the time is over.
Without CONFIG it waits for every running sersync of this user.`,
		Args: between(0, 1, "the configuration file or nothing"),
		RunE: func(c *cobra.Command, args []string) error {
			if timeout < 0 {
				return usage("--timeout cannot be negative")
			}
			return a.waitFor(c.Context(), args, target, timeout)
		},
	}
	c.Flags().StringVar(&target, "target", "", "wait for this target only, named as in status")
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait no longer than this, as 30s or 5m (default: for ever)")
	return c
}

func (a *app) waitFor(ctx context.Context, args []string, target string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	all, err := running(ctx, args)
	if err != nil {
		return err
	}
	found := false
	var unknown error
	for _, i := range all {
		req := httpd.WaitRequest{Target: target}
		if timeout > 0 {
			// Even when the time is over, an instance that has all there says so at once.
			req.Timeout = max(time.Until(deadline), time.Millisecond).Seconds()
		}
		_, err := i.Wait(ctx, req)
		var e *httpd.Error
		switch {
		case errors.As(err, &e) && e.Kind == httpd.Unknown:
			unknown = err
			continue
		case errors.As(err, &e) && e.Kind == httpd.Timeout:
			return fail(exitTimeout, fmt.Sprintf("not all is there after %v", timeout), a.missing(ctx, i, target))
		case err != nil:
			return err
		}
		found = true
	}
	if !found {
		return unknown
	}
	return nil
}

// missing says which targets do not have everything, for the person whose wait was in vain.
func (a *app) missing(ctx context.Context, i instance, target string) string {
	status, err := i.Status(ctx)
	if err != nil {
		return "sersync status says what is missing"
	}
	for _, s := range status.Sources {
		for _, t := range s.Targets {
			if t.Lag > 0 && (target == "" || target == t.Name) {
				if t.Held > 0 && s.Brake != nil {
					return fmt.Sprintf("%s is %s and lacks %s, %s held: %s; %s",
						quote(t.Name), t.State, plural(t.Waiting, "path"), plural(t.Held, "removal"), s.Brake.Reason, toApprove)
				}
				if t.Dead > 0 {
					return fmt.Sprintf("%s lacks %s that failed too often; see: sersync failed list", quote(t.Name), plural(t.Dead, "path"))
				}
				return fmt.Sprintf("%s is %s and lacks %s; see: sersync status", quote(t.Name), t.State, plural(t.Waiting, "path"))
			}
		}
	}
	return "see: sersync status"
}
