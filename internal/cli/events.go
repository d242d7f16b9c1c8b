package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
)

func (a *app) events() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "events [CONFIG]",
		Short: "show what a running sersync sends and removes, as it happens",
		Long: `events shows one line for each batch from now on, until it is interrupted: what was sent or removed, where,
how long it took, or why it failed. A reader that is too slow holds nothing up: it is told how many lines it missed. It returns 3
when no sersync is running. Without CONFIG it shows every running sersync of this user.`,
		Args: between(0, 1, "the configuration file or nothing"),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := running(c.Context(), args)
			if err != nil {
				return err
			}
			show := showEvent(newConsole(a.out))
			if asJSON {
				lines := json.NewEncoder(a.out)
				show = func(e httpd.Event) error { return lines.Encode(e) }
			}
			return a.follow(c.Context(), all, show)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line; the form is documented and stable")
	return c
}

// follow shows the events of all instances until ctx ends, or the last instance does.
func (a *app) follow(ctx context.Context, all []instance, show func(httpd.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	errs := make([]error, len(all))
	var streams sync.WaitGroup
	for n, i := range all {
		streams.Go(func() {
			begun := func() {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(a.err, "what %s does from now on; Ctrl-C ends this\n", quote(i.name()))
			}
			err := i.Events(ctx, begun, func(e httpd.Event) error {
				mu.Lock()
				defer mu.Unlock()
				if err := show(e); err != nil {
					return fmt.Errorf("show event: %w", err)
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				errs[n] = err
			}
		})
	}
	streams.Wait()
	return errors.Join(errs...)
}

// showEvent shows events to a person.
func showEvent(c *console) func(httpd.Event) error {
	return func(e httpd.Event) error {
		colour, text := eventLine(e, quote)
		if e.Source != "" {
			text = quote(e.Source) + ": " + text
		}
		c.line(e.Time.Local(), colour, text)
		return nil
	}
}

// eventLine is an event for a person, without its source. name shows the name of a target.
func eventLine(e httpd.Event, name func(string) string) (colour, text string) {
	if e.Dropped > 0 {
		return yellow, plural(e.Dropped, "line") + " not shown: this reader is too slow"
	}
	did, to := "sent", "to"
	if strings.HasPrefix(e.Op, "remove") {
		did, to = "removed", "from"
	}
	amount := plural(e.Paths, "path")
	if 0 < e.Failed && e.Failed < e.Paths {
		amount = fmt.Sprintf("%d of %s", e.Paths-e.Failed, amount)
	}
	if e.Bytes > 0 {
		amount += " (" + size(e.Bytes) + ")"
	}
	names := strings.Join(e.Names, ", ")
	if e.Paths > len(e.Names) {
		names += ", …"
	}
	colour = green
	if e.Failed > 0 {
		colour = yellow
	}
	if e.Error != "" || e.Failed >= e.Paths && e.Failed > 0 {
		colour, did = red, "not "+did
	}
	text = fmt.Sprintf("%s %s %s %s in %s: %s", did, amount, to, name(e.Target), age(time.Duration(e.Took*float64(time.Second))), names)
	if e.Failed > 0 {
		text += fmt.Sprintf("; %d failed: %s", e.Failed, quote(e.Failure))
	}
	if e.Error != "" {
		text += ": " + quote(e.Error)
	}
	return colour, text
}
