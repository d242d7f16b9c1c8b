package daemon

import (
	"context"
	"fmt"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/transport"
)

// Compare tells yield in what a target differs from its source, as a sweep would find it: through the filter of the
// source, and without what the target has too much where nothing is ever removed. It changes nothing. An error of yield
// ends it and is returned.
func Compare(ctx context.Context, cfg *config.Config, s config.Source, t config.Target, yield func(transport.Difference) error) error {
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
	sweep := transport.Sweep{Root: root.File(), Under: []change.Path{change.Root}, Extras: s.Delete, Exclude: s.Sweep.Exclude}
	return there.Sweep(ctx, sweep, func(d transport.Difference) error {
		kind := filter.File
		if d.Dir {
			kind = filter.Dir
		}
		if !d.Path.Valid() || !rules.Verdict(d.Path, kind).Keep {
			return nil
		}
		return yield(d)
	})
}
