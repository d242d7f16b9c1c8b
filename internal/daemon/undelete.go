package daemon

import (
	"context"
	"errors"
	"fmt"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/undelete"
)

// Removed tells yield what the trash of a target holds: of one day, or of all when day is empty, at and below paths, or
// everywhere when there are none. version is that of this program.
func Removed(ctx context.Context, t config.Target, version, day string, under []change.Path, yield func(transport.Removed) error) error {
	there, err := keeper(t, version)
	if err != nil {
		return err
	}
	defer there.Close()
	return there.Removed(ctx, day, under, yield)
}

// Undelete brings a path back from a day of a target's trash into the source. tell is told what became of it, or of what is below
// it. The source is not replicated by it: that does who watches it.
func Undelete(ctx context.Context, s config.Source, t config.Target, version, day string, p change.Path, force bool, tell func(change.Path, undelete.Outcome)) (err error) {
	there, err := keeper(t, version)
	if err != nil {
		return err
	}
	defer there.Close()
	root, err := scan.OpenRoot(s.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	staging, err := undelete.Stage(root, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, staging.Close()) }()
	report, err := there.Fetch(ctx, staging.Dir(), day, []change.Path{p})
	if err != nil {
		return err
	}
	if len(report.Failed) > 0 {
		return fmt.Errorf("bring %s here: %w", p, report.Failed[0].Err)
	}
	return staging.PutBack(force, tell)
}

// keeper is the transport of a target that may have a trash. It may be switched off by now: what is in it is still there.
func keeper(t config.Target, version string) (transport.Keeper, error) {
	there, err := NewTransport(t, TransportOptions{Version: version})
	if err != nil {
		return nil, fmt.Errorf("build target %q: %w", t.URL(), err)
	}
	keeper, ok := there.(transport.Keeper)
	if !ok {
		return nil, errors.Join(fmt.Errorf("target %q cannot have a trash", t.URL()), there.Close())
	}
	return keeper, nil
}
