package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/mixed"
)

// built is what a source of the configuration became. Nothing of it is started.
type built struct {
	config  config.Source
	options replicate.Options
	source  *replicate.Source
}

// build makes components of sources. On an error nothing is left open.
func (d *Daemon) build(cfg *config.Config, sources []config.Source) (all []built, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
			all = nil
		}
	}()
	for _, s := range sources {
		options, err := d.sourceOptions(cfg, s)
		b := built{config: s, options: options}
		if err == nil {
			b.source, err = replicate.New(options)
		}
		all = append(all, b)
		if err != nil {
			return all, fmt.Errorf("build source %q: %w", s.Name, err)
		}
	}
	return all, nil
}

// closeAll closes what was built and never run.
func closeAll(all []built) {
	for _, b := range all {
		for _, t := range b.options.Targets {
			t.Transport.Close()
		}
	}
}

func (d *Daemon) sourceOptions(cfg *config.Config, s config.Source) (replicate.Options, error) {
	log := d.log.With("source", s.Name)
	rules, err := filter.New(cfg.RulesFor(s)...)
	if err != nil {
		return replicate.Options{}, err
	}
	rules.OnTimeout = func(rule string, p change.Path) {
		log.Warn("filter expression takes too long, what it is asked about is kept", "rule", rule, "path", p.String())
	}
	options := replicate.Options{
		Name:       s.Name,
		Path:       s.Path,
		StateDir:   d.stateDir,
		NewWatcher: newWatcher(s, log),
		Filter:     rules,
		Initial:    s.Initial,
		Fill:       s.Fill,
		SweepEvery: s.Sweep.Every,
		NoRemovals: !s.Delete,
		RemovalBudget: replicate.RemovalBudget{
			Off: s.RemovalBudget.Off, Paths: s.RemovalBudget.Paths, Percent: s.RemovalBudget.Percent, Most: s.RemovalBudget.Most,
		},
		Events:    replicate.Events(s.Events),
		CloseWait: s.CloseWait,
		QuietWait: s.QuietWait,
		OpenMax:   s.OpenMax,
		GapEvery:  s.GapEvery,
		Runs:      d.runs,
		OnBatch:   d.batch,
		Log:       d.log,
	}
	if s.Sweep.Schedule != "" {
		if options.SweepAt, err = config.ParseSchedule(s.Sweep.Schedule); err != nil {
			return options, fmt.Errorf("schedule sweeps at %q: %w", s.Sweep.Schedule, err)
		}
	}
	options.Verify = replicate.VerifyOptions{Every: s.Verify.Every, Content: s.Verify.Content, Rate: s.Verify.Rate}
	if s.Verify.Schedule != "" {
		if options.Verify.At, err = config.ParseSchedule(s.Verify.Schedule); err != nil {
			return options, fmt.Errorf("schedule verifications at %q: %w", s.Verify.Schedule, err)
		}
	}
	for _, t := range s.Targets {
		target, err := d.targetOptions(cfg, s, t, log)
		if err != nil {
			return options, fmt.Errorf("build target %q: %w", t.URL(), err)
		}
		options.Targets = append(options.Targets, target)
	}
	options.Hooks, err = hookOptions(s, log)
	return options, err
}

func newWatcher(s config.Source, log *slog.Logger) func(*scan.Root) (watch.Watcher, error) {
	opts := mixed.Options{Method: s.Watch, OneFileSystem: s.OneFileSystem, RaiseLimits: os.Geteuid() == 0, Log: log}
	if opts.Method == "auto" {
		opts.Method = ""
	}
	return func(root *scan.Root) (watch.Watcher, error) { return mixed.New(root, opts) }
}

func (d *Daemon) targetOptions(cfg *config.Config, s config.Source, t config.Target, log *slog.Logger) (replicate.TargetOptions, error) {
	there, err := NewTransport(t, TransportOptions{Sender: cfg.Name + " " + s.Name, Version: d.opts.Version, Log: log})
	if err != nil {
		return replicate.TargetOptions{}, err
	}
	pace := t.Pace
	if pace == 0 {
		pace = -1 // none; 0 would be the default
	}
	return replicate.TargetOptions{
		Name:         t.URL(),
		Transport:    there,
		Identity:     t.Identity() + fmt.Sprintf("%q", s.Sweep.Exclude),
		Pace:         pace,
		Quiet:        t.Quiet,
		Large:        t.Large,
		SweepExclude: slices.Clone(s.Sweep.Exclude),
		DeadAfter:    t.DeadAfter,
		TrashDays:    t.Trash,
		Settle:       max(2*t.Timeout, time.Minute),
	}, nil
}
