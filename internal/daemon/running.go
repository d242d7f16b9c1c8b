package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sersync/internal/config"
	"sersync/internal/httpd"
	"sersync/internal/journal"
	"sersync/internal/replicate"
)

// running is one source that runs.
type running struct {
	config config.Source
	source *replicate.Source
	// ending is closed when the source is told to end, by cancel.
	ending <-chan struct{}
	cancel context.CancelFunc
	// done is closed when Run has returned; err is what it returned.
	done chan struct{}
	err  error
}

// start starts sources and waits until all are up. On an error none is left running.
func (d *Daemon) start(ctx context.Context, all []built) ([]*running, error) {
	var started []*running
	for _, b := range all {
		started = append(started, d.startOne(ctx, b))
	}
	for _, r := range started {
		var err error
		select {
		case <-r.source.Ready():
			continue
		case <-r.done:
			err = r.err
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		stopAll(started)
		return nil, advised(fmt.Errorf("start source %q: %w", r.config.Name, err))
	}
	return started, nil
}

// advised is an error of a start with what a person can do about it.
func advised(err error) error {
	if errors.Is(err, journal.ErrInUse) {
		return &Error{Err: err, Advice: "another sersync replicates a source of this name with the same state directory ('sersync status' shows all that run): " +
			"put both targets into one configuration, or give each configuration a 'state_dir' of its own"}
	}
	return err
}

func (d *Daemon) startOne(ctx context.Context, b built) *running {
	// A source ends by its own cancel, so that the daemon decides in which order things end.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{config: b.config, source: b.source, ending: own.Done(), cancel: cancel, done: make(chan struct{})}
	go func() {
		r.err = b.source.Run(own)
		close(r.done)
		if own.Err() != nil {
			return
		}
		// Nobody told it to end: the daemon cannot go on as it was asked to.
		select {
		case d.ended <- r:
		case <-own.Done():
		}
	}()
	return r
}

// stopAll ends sources, all at the same time, and returns when all have ended.
func stopAll(all []*running) {
	for _, r := range all {
		r.cancel()
	}
	for _, r := range all {
		<-r.done
	}
}

// target is the target of the source that has this name.
func (r *running) target(name string) (config.Target, bool) {
	i := slices.IndexFunc(r.config.Targets, func(t config.Target) bool { return t.URL() == name })
	if i < 0 {
		return config.Target{}, false
	}
	return r.config.Targets[i], true
}

// has reports whether the source has a target of this name.
func (r *running) has(target string) bool {
	_, ok := r.target(target)
	return ok
}

// wait returns when all that was changed before the call is acked by the targets. It ends
// with an error once the source is told to end: what is owed then may stay so.
func (r *running) wait(ctx context.Context, targets ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := r.source.Wait(ctx, targets...)
	select {
	case <-r.ending:
		return &httpd.Error{Kind: httpd.Stopping, Text: fmt.Sprintf("source %q is not replicated any more", r.config.Name)}
	default:
		return err
	}
}
