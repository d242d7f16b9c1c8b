package daemon

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// api answers for a daemon.
type api struct{ d *Daemon }

func (a api) Status() httpd.Status {
	d := a.d
	d.mu.Lock()
	status := httpd.Status{
		Version: d.opts.Version, PID: os.Getpid(), Started: d.started,
		ReloadError: d.reloadError, Sources: []replicate.Status{},
	}
	if d.config.File != "" {
		status.Config = d.title()
	}
	if !d.reloaded.IsZero() {
		at := d.reloaded
		status.Reloaded = &at
	}
	sources := d.sources
	d.mu.Unlock()
	for _, r := range sources {
		status.Sources = append(status.Sources, r.source.Status())
	}
	return status
}

func (a api) Wait(ctx context.Context, target string) error {
	var asked []func() error
	var known []string
	for _, r := range a.d.running() {
		for _, t := range r.config.Targets {
			known = append(known, t.URL())
		}
		switch {
		case target == "":
			asked = append(asked, func() error { return r.wait(ctx) })
		case r.has(target):
			asked = append(asked, func() error { return r.wait(ctx, target) })
		}
	}
	if len(asked) == 0 {
		return httpd.UnknownName("target", target, known)
	}
	errs := make([]error, len(asked))
	var waits sync.WaitGroup
	for i, wait := range asked {
		waits.Go(func() { errs[i] = wait() })
	}
	waits.Wait()
	return errors.Join(errs...)
}

func (a api) Sweep(sel httpd.Selection) ([]httpd.Pair, error) {
	return a.control(sel, (*replicate.Source).Sweep)
}

func (a api) Pause(sel httpd.Selection) ([]httpd.Pair, error) {
	return a.control(sel, (*replicate.Source).Pause)
}

func (a api) Resume(sel httpd.Selection) ([]httpd.Pair, error) {
	return a.control(sel, (*replicate.Source).Resume)
}

// control does something with the selected targets, and says which those are.
func (a api) control(sel httpd.Selection, do func(*replicate.Source, ...string) error) ([]httpd.Pair, error) {
	selected := []httpd.Pair{}
	var sources, targets []string
	for _, r := range a.d.running() {
		sources = append(sources, r.config.Name)
		if sel.Source != "" && sel.Source != r.config.Name {
			continue
		}
		var names []string
		for _, t := range r.config.Targets {
			targets = append(targets, t.URL())
			if sel.Target == "" || sel.Target == t.URL() {
				names = append(names, t.URL())
				selected = append(selected, httpd.Pair{Source: r.config.Name, Target: t.URL()})
			}
		}
		if len(names) == 0 {
			continue // without a name it would be all
		}
		if err := do(r.source, names...); err != nil {
			return nil, err
		}
	}
	switch {
	case sel.Source != "" && !slices.Contains(sources, sel.Source):
		return nil, httpd.UnknownName("source", sel.Source, sources)
	case len(selected) == 0:
		return nil, httpd.UnknownName("target", sel.Target, targets)
	}
	return selected, nil
}

func (a api) Approve(source string) ([]httpd.Released, error) {
	released := []httpd.Released{}
	var known []string
	for _, r := range a.d.running() {
		known = append(known, r.config.Name)
		if source != "" && source != r.config.Name {
			continue
		}
		brake := r.source.Status().Brake
		if brake == nil {
			continue
		}
		r.source.Approve()
		released = append(released, httpd.Released{Source: r.config.Name, Held: brake.Held})
	}
	if source != "" && !slices.Contains(known, source) {
		return nil, httpd.UnknownName("source", source, known)
	}
	return released, nil
}
