package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// statusEvery is how often a supervisor is told of what has changed.
const statusEvery = 10 * time.Second

// tell tells the supervisor that the daemon is up, and how it is from then on, until the returned function is called.
func (d *Daemon) tell() (stop func()) {
	sv := d.opts.Supervisor
	if sv == nil {
		return func() {}
	}
	said := d.summary()
	sv.Ready(said)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		every := statusEvery
		if sv.watchdog > 0 {
			// Two rounds may fail before it is believed.
			every = min(every, sv.watchdog/4)
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			said = d.round(ctx, every, said)
		}
	}()
	return func() { cancel(); <-done }
}

// round gives a sign of life when there is life, within patience, and says what is not said yet.
func (d *Daemon) round(ctx context.Context, patience time.Duration, said string) string {
	asking, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no answer"))
	defer cancel()
	now := ""
	if err := d.answers(asking); err != nil {
		now = err.Error()
	} else {
		// Before the sign: it takes every lock there is.
		now = d.summary()
		d.opts.Supervisor.Alive()
	}
	if ctx.Err() == nil && now != said {
		d.opts.Supervisor.Status(now)
	}
	return now
}

// answers returns nil when the main loop and every source answer.
func (d *Daemon) answers(ctx context.Context) error {
	select {
	case d.alive <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("ask the main loop: %w", context.Cause(ctx))
	}
	for _, r := range d.running() {
		if err := r.source.Alive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// summary is one line on all sources, for a person.
func (d *Daemon) summary() string {
	status := api{d}.Status()
	targets, waiting, trouble, braked := 0, 0, 0, 0
	var oldest time.Duration
	for _, s := range status.Sources {
		if s.Brake != nil || s.State == "root-gone" {
			braked++
		}
		for _, t := range s.Targets {
			targets++
			waiting += t.Waiting
			oldest = max(oldest, time.Duration(t.Lag*float64(time.Second)))
			if !slices.Contains([]string{"idle", "sending", "pausing", "paused"}, t.State) {
				trouble++
			}
		}
	}
	parts := []string{fmt.Sprintf("sources: %d, targets: %d", len(status.Sources), targets)}
	if waiting > 0 {
		parts = append(parts, fmt.Sprintf("paths that wait: %d, the oldest for %v", waiting, oldest.Round(time.Second)))
	}
	if trouble > 0 {
		parts = append(parts, fmt.Sprintf("targets in trouble: %d", trouble))
	}
	if braked > 0 {
		parts = append(parts, fmt.Sprintf("sources whose removals are held: %d", braked))
	}
	if status.ReloadError != "" {
		// The first line alone: the protocol has one line a value.
		first, _, _ := strings.Cut(status.ReloadError, "\n")
		parts = append(parts, "configuration not reloaded: "+first)
	}
	return strings.Join(parts, "; ")
}
