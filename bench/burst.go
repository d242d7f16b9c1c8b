package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The burst of the first row.
const (
	burstDirs  = 100
	burstFiles = 2000
	// burstLimit bounds the wait for the slowest: 2.5.4 takes about 30 s.
	burstLimit = 2 * time.Minute
)

// measureBurst measures how long 2,000 new files take, from the first write until the target is identical. The
// competitors take turns.
func measureBurst(ctx context.Context, b *bench) error {
	rounds := 5
	if b.short {
		rounds = 1
	}
	bare := peer{name: "bare"}
	took := make(map[string][]time.Duration)
	failed := make(map[string]bool)
	for round := range rounds {
		for _, p := range append(b.competitors(), bare) {
			if failed[p.name] || p.slow && round >= 3 || p.isolated && round >= 1 {
				continue
			}
			d, err := b.burst(ctx, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				failed[p.name] = true
				b.table.fail(fmt.Errorf("%s: %w", p.name, err))
				continue
			}
			progress("burst of %s: %v", p.name, d)
			took[p.name] = append(took[p.name], d)
		}
	}
	b.burstFigures(took)
	return nil
}

// burstFigures puts the medians into the table.
func (b *bench) burstFigures(took map[string][]time.Duration) {
	bare := median(took["bare"])
	b.table.info("write + one bare rsync run", seconds(bare), "s", rounds(took["bare"]))
	for _, name := range []string{"native", "lsyncd", "lsyncd-default", "2.5.4"} {
		if len(took[name]) > 0 {
			b.table.info(name, seconds(median(took[name])), "s", rounds(took[name]))
		}
	}
	if len(took["sersync"]) == 0 {
		return
	}
	sersync := median(took["sersync"])
	b.table.info("sersync", seconds(sersync), "s", rounds(took["sersync"]))
	b.table.atMost("sersync against write + bare run", ratio(sersync, bare), 1.5, "times", "")
	if len(took["lsyncd-default"]) > 0 {
		b.table.atLeast("lsyncd-default against sersync", ratio(median(took["lsyncd-default"]), sersync), 3, "times", "")
	}
	if len(took["lsyncd"]) > 0 {
		b.table.info("lsyncd with NODELAY against sersync", ratio(median(took["lsyncd"]), sersync), "times", "")
	}
	if len(took["2.5.4"]) > 0 {
		b.table.atLeast("2.5.4 against sersync", ratio(median(took["2.5.4"]), sersync), 100, "times", "")
	}
}

// rounds is the note that says what a median comes from.
func rounds(took []time.Duration) string {
	return fmt.Sprintf("median of %d, %.2f to %.2f", len(took), seconds(percentile(took, 0)), seconds(percentile(took, 100)))
}

// ratio is how many times the one duration is the other; 0 when that one was not measured.
func ratio(a, b time.Duration) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// burst measures one competitor once.
func (b *bench) burst(ctx context.Context, p peer) (took time.Duration, err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, p.name, 1)
	if err != nil {
		return 0, err
	}
	c := newContent()
	if err := site.prepare(burstDirs, 0, c); err != nil {
		return 0, fmt.Errorf("prepare the burst: %w", err)
	}
	if err := site.up(ctx, p); err != nil {
		return 0, err
	}
	began := time.Now()
	written, err := writeBurst(site.source, burstFiles, c)
	if err != nil {
		return 0, err
	}
	if p.command == nil {
		run, err := startProcess(bareTree(site), filepath.Join(site.dir, "bare.out"))
		if err != nil {
			return 0, err
		}
		stage.onClose(run.stop)
	}
	at, err := site.identical(ctx, 0, written, burstLimit)
	return at.Sub(began), err
}

// writeBurst writes the files and returns their names in the order of writing.
func writeBurst(source string, files int, c *content) ([]string, error) {
	var names []string
	for i := range files {
		names = append(names, filepath.Join(dirName(i%burstDirs), fmt.Sprintf("n%04d", i)))
	}
	return names, writeAll(source, names, c)
}

// writeAll writes the named files, whether they are there or not.
func writeAll(source string, names []string, c *content) error {
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(source, name), c.next(blockSize), 0o644); err != nil {
			return fmt.Errorf("write the burst: %w", err)
		}
	}
	return nil
}

// identical returns when a target was first seen to hold all that was written and to be identical with the source.
// Each poll looks at one file that is still missing, so that looking does not disturb; the exact comparison comes after.
func (s *site) identical(ctx context.Context, target int, written []string, limit time.Duration) (time.Time, error) {
	return s.settled(ctx, target, written, nil, limit)
}

// settled is identical that looks whether what was removed is gone, too, before it compares.
func (s *site) settled(ctx context.Context, target int, written, removed []string, limit time.Duration) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	for {
		at, err := s.arrived(ctx, target, written, removed)
		if err != nil {
			return at, err
		}
		written, removed = nil, nil
		if err := compareTrees(s.source, s.targets[target]); err == nil || !errors.Is(err, errDiffers) {
			return at, err
		}
		if err := s.wait(ctx, 2*time.Millisecond); err != nil {
			return at, err
		}
	}
}

// arrived returns when a target was first seen to hold all that was written, and nothing of what was removed.
func (s *site) arrived(ctx context.Context, target int, written, removed []string) (time.Time, error) {
	for {
		at := time.Now()
		for len(written) > 0 && sameStat(filepath.Join(s.source, written[0]), filepath.Join(s.targets[target], written[0])) {
			written = written[1:]
		}
		for len(removed) > 0 && gone(filepath.Join(s.targets[target], removed[0])) {
			removed = removed[1:]
		}
		if len(written)+len(removed) == 0 {
			return at, nil
		}
		if err := s.wait(ctx, 2*time.Millisecond); err != nil {
			return at, fmt.Errorf("%d files are missing, %d are still there: %w", len(written), len(removed), err)
		}
	}
}
