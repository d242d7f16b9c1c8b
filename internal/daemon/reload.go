package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sersync/internal/config"
)

// plan is what a new configuration changes.
type plan struct {
	// same are the sources that nothing changes for; kept are sources that go on with other options.
	same []*running
	kept map[string]*running
	// changed and added are sources of the new configuration; gone are those it has no more.
	changed, added []config.Source
	gone           []*running
}

func (d *Daemon) plan(cfg *config.Config) plan {
	p := plan{kept: map[string]*running{}}
	old := map[string]*running{}
	for _, r := range d.running() {
		old[key(r.config)] = r
	}
	for _, s := range cfg.Sources {
		r := old[key(s)]
		delete(old, key(s))
		switch {
		case r == nil:
			p.added = append(p.added, s)
		case fingerprint(d.config, r.config) == fingerprint(cfg, s):
			p.same = append(p.same, r)
		default:
			p.kept[key(s)] = r
			p.changed = append(p.changed, s)
		}
	}
	for _, r := range old {
		p.gone = append(p.gone, r)
	}
	return p
}

// key says which source of a new configuration is which of the old one.
func key(s config.Source) string { return s.Name + "\x00" + s.Path }

// fingerprint changes when anything of the source, of its targets or of its hooks changes.
func fingerprint(cfg *config.Config, s config.Source) string {
	// Identity leaves out where rules stand; those that follow the source's own stand nowhere.
	f := s.Identity() + fmt.Sprint(cfg.RulesFor(s)[len(s.Rules):])
	for _, t := range s.Targets {
		f += "\x00" + t.Identity()
		for _, h := range t.Hooks {
			f += "\x00" + h.Identity()
		}
	}
	for _, h := range s.Hooks {
		f += "\x00" + h.Identity()
	}
	return f
}

// reload reads the configuration and takes it over: everything new is built, locked and up before
// anything old is touched, so that an error leaves all as it was.
func (d *Daemon) reload(ctx context.Context) error {
	cfg, problems, err := d.opts.Load()
	if err != nil {
		return err
	}
	if err := d.sameWatching(cfg); err != nil {
		return err
	}
	d.keepFixed(cfg)
	p := d.plan(cfg)
	added, err := d.build(cfg, p.added)
	if err != nil {
		return err
	}
	changed, err := d.build(cfg, p.changed)
	if err != nil {
		closeAll(added)
		return err
	}
	wanted := pairs(cfg)
	locked, err := d.lockPairs(wanted)
	if err != nil {
		closeAll(added)
		closeAll(changed)
		return err
	}
	started, err := d.start(ctx, added)
	if err != nil {
		closeAll(changed)
		d.release(locked)
		return err
	}
	d.say(problems)
	err = d.swap(cfg, p, changed, started)
	d.moveMetrics(cfg.Metrics.Listen)
	d.setLogLevel(cfg.Log.Level)
	d.releaseBut(wanted)
	return err
}

// sameWatching refuses what would need another watcher: the tree would have to be looked at anew, as by a restart.
func (d *Daemon) sameWatching(cfg *config.Config) error {
	old := map[string]config.Source{}
	for _, r := range d.running() {
		old[key(r.config)] = r.config
	}
	for _, s := range cfg.Sources {
		if was, known := old[key(s)]; known && (was.Watch != s.Watch || was.OneFileSystem != s.OneFileSystem) {
			return fmt.Errorf("reload source %q: watch or one_file_system changed: restart sersync for that", s.Name)
		}
	}
	return nil
}

// keepFixed keeps what only a restart can change, and says so.
func (d *Daemon) keepFixed(cfg *config.Config) {
	if cfg.Log.File == "" {
		cfg.Log.File = d.config.Log.File
	}
	level := cfg.Log.Level
	cfg.Log.Level = d.config.Log.Level
	old := d.config
	var differs []string
	for name, same := range map[string]bool{
		"name": cfg.Name == old.Name, "runs": cfg.Runs == old.Runs, "state directory": cfg.StateDir == old.StateDir,
		"socket": cfg.Socket == old.Socket, "pid file": cfg.PidFile == old.PidFile, "log": cfg.Log == old.Log,
	} {
		if !same {
			differs = append(differs, name)
		}
	}
	if len(differs) > 0 {
		slices.Sort(differs)
		d.log.Warn("a restart is needed for some of what changed", "changed", differs)
	}
	cfg.Name, cfg.Runs, cfg.StateDir, cfg.Socket, cfg.PidFile, cfg.Log = old.Name, old.Runs, old.StateDir, old.Socket, old.PidFile, old.Log
	cfg.Log.Level = level
}

// swap puts the new in the place of the old.
func (d *Daemon) swap(cfg *config.Config, p plan, changed []built, started []*running) error {
	var errs []error
	now := append(p.same, started...)
	for _, b := range changed {
		r := p.kept[key(b.config)]
		if err := r.source.Reload(b.options); err != nil {
			errs = append(errs, fmt.Errorf("reload source %q: %w", b.config.Name, err))
		}
		now = append(now, &running{config: b.config, source: r.source, ending: r.ending, cancel: r.cancel, done: r.done})
	}
	d.mu.Lock()
	d.config, d.sources = cfg, now
	d.mu.Unlock()
	stopAll(p.gone)
	return errors.Join(errs...)
}
