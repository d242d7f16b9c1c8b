package daemon

import (
	"context"
	"fmt"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/httpd"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/transport"
)

// CompareOptions say how Compare compares.
type CompareOptions struct {
	// Content compares what is equal in size and time by content, too.
	Content bool
	// OnItsWay asks who replicates; nil where nobody does.
	OnItsWay func(context.Context, []change.Path) ([]bool, error)
}

// Compare tells yield in what a target differs from its source, as a sweep would find it: through the filter of the
// source, and without what the target has too much where nothing is ever removed. It changes nothing. An error of yield
// ends it and is returned.
func Compare(ctx context.Context, cfg *config.Config, s config.Source, t config.Target, o CompareOptions, yield func(replicate.Found) error) error {
	rules, err := filter.New(cfg.RulesFor(s)...)
	if err != nil {
		return fmt.Errorf("compare source %q: %w", s.Name, err)
	}
	root, err := scan.OpenRoot(s.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	there, err := NewTransport(t, TransportOptions{})
	if err != nil {
		return fmt.Errorf("build target %q: %w", t.URL(), err)
	}
	defer there.Close()
	v := replicate.Verification{
		Root: root, Filter: rules, Transport: there, OnItsWay: o.OnItsWay,
		Sweep: transport.Sweep{Extras: s.Delete, Content: o.Content, Rate: s.Verify.Rate, Exclude: s.Sweep.Exclude},
	}
	return v.Run(ctx, yield)
}

func (a api) OnItsWay(ctx context.Context, source, target string, paths []change.Path) ([]bool, error) {
	r, err := a.pair(source, target)
	if err != nil {
		return nil, err
	}
	return r.source.OnItsWay(ctx, target, paths)
}

func (a api) Repair(ctx context.Context, source, target string, content bool, differences []transport.Difference) error {
	r, err := a.pair(source, target)
	if err != nil {
		return err
	}
	return r.source.Repair(ctx, target, content, differences)
}

// pair finds the source of one target.
func (a api) pair(source, target string) (*running, error) {
	var sources, targets []string
	for _, r := range a.d.running() {
		sources = append(sources, r.config.Name)
		if r.config.Name != source {
			continue
		}
		if r.has(target) {
			return r, nil
		}
		for _, t := range r.config.Targets {
			targets = append(targets, t.URL())
		}
		return nil, httpd.UnknownName("target", target, targets)
	}
	return nil, httpd.UnknownName("source", source, sources)
}
