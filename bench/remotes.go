package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// measureRemotes measures what further remotes cost the source, and what bad ones do to good ones.
func measureRemotes(ctx context.Context, b *bench) error {
	if !b.takesPart("sersync") {
		return nil
	}
	if err := b.measureCost(ctx); err != nil {
		return err
	}
	return b.measureIsolation(ctx)
}

// measureCost compares the CPU time of the source for 1, 2 and 4 remotes with that of a bare run of the same files.
func (b *bench) measureCost(ctx context.Context) error {
	rounds := 3
	if b.short {
		rounds = 1
	}
	counts := []int{bareByTree, bareByName, 1, 2, 4}
	used := make(map[int][]time.Duration)
	for range rounds {
		for _, n := range counts {
			cpu, err := b.burstCPU(ctx, b.sersyncPeer(), n, burstFiles)
			if err != nil {
				return fmt.Errorf("burst to %d remotes: %w", n, err)
			}
			progress("source CPU for %d remotes: %v", n, cpu)
			used[n] = append(used[n], cpu)
		}
	}
	bare, byName := median(used[bareByTree]), median(used[bareByName])
	b.table.info("burst, source CPU: bare run over the tree", ms(bare), "ms", fmt.Sprintf("median of %d", rounds))
	b.table.info("burst, source CPU: bare run that is given the files by name", ms(byName), "ms", "")
	for _, n := range counts[2:] {
		b.table.info(fmt.Sprintf("burst, source CPU: sersync, %d remotes", n), ms(median(used[n])), "ms", "")
	}
	further := (median(used[4]) - median(used[1])) / 3
	b.table.atMost("each further remote against a bare run by name", ratio(further, byName), 1.1, "times", "")
	b.table.atMost("each further remote against a bare run over the tree", ratio(further, bare), 1.1, "times", "")
	return nil
}

// Numbers of remotes that stand for a bare run to one remote, once the burst is written.
const (
	bareByTree = 0
	bareByName = -1
)

// burstCPU is the CPU time of the source for one burst to a number of remotes; for bareByTree and bareByName it is that of such a run.
func (b *bench) burstCPU(ctx context.Context, p peer, remotes, files int) (used time.Duration, err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, "remotes", max(remotes, 1))
	if err != nil {
		return 0, err
	}
	c := newContent()
	if err := site.prepare(burstDirs, 0, c); err != nil {
		return 0, fmt.Errorf("prepare the burst: %w", err)
	}
	if remotes <= 0 {
		return site.bareCPU(ctx, c, remotes == bareByName)
	}
	if err := site.up(ctx, p); err != nil {
		return 0, err
	}
	before, err := site.sourceCPU.used()
	if err != nil {
		return 0, err
	}
	written, err := writeBurst(site.source, files, c)
	if err != nil {
		return 0, err
	}
	for i := range site.targets {
		if _, err := site.identical(ctx, i, written, burstLimit); err != nil {
			return 0, err
		}
	}
	// What is done after the last file arrived is part of the price.
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return 0, err
	}
	after, err := site.sourceCPU.used()
	return after - before, err
}

// bareCPU is the CPU time of the client of one bare run over a burst.
func (s *site) bareCPU(ctx context.Context, c *content, byName bool) (time.Duration, error) {
	if err := s.startBare(ctx); err != nil {
		return 0, err
	}
	written, err := writeBurst(s.source, burstFiles, c)
	if err != nil {
		return 0, err
	}
	cmd := bareTree(s)
	if byName {
		cmd = bareNames(s, written)
	}
	run, err := startProcess(cmd, filepath.Join(s.dir, "bare.out"))
	if err != nil {
		return 0, err
	}
	s.stage.onClose(run.stop)
	select {
	case <-run.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if run.err != nil {
		return 0, fmt.Errorf("run rsync: %w: %s", run.err, run.tail())
	}
	return run.cmd.ProcessState.UserTime() + run.cmd.ProcessState.SystemTime(), nil
}

// measureIsolation compares single changes on two healthy remotes with and without a dead and a hanging one beside
// them.
func (b *bench) measureIsolation(ctx context.Context) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	dead, err := freePort()
	if err != nil {
		return err
	}
	hanging, err := hangingPort(stage)
	if err != nil {
		return err
	}
	p := b.sersyncPeer()
	p.name = "sersync-healthy"
	healthy, err := newContestant(ctx, stage, p, 2)
	if err != nil {
		return err
	}
	p.name = "sersync-beside-bad"
	beside, err := newContestant(ctx, stage, p, 2, moduleURL(dead, 0), moduleURL(hanging, 0))
	if err != nil {
		return err
	}
	progress("%d changes beside a dead and a hanging remote", b.samples/2)
	err = b.alternate(ctx, []*contestant{healthy, beside}, b.samples/2, (*contestant).sampleChange)
	if err != nil {
		return err
	}
	alone, besides := median(healthy.change), median(beside.change)
	b.table.info("change on two healthy remotes: p50", ms(alone), "ms", fmt.Sprintf("%d samples", len(healthy.change)))
	b.table.info("the same beside a dead and a hanging one: p50", ms(besides), "ms",
		fmt.Sprintf("%d samples", len(beside.change)))
	b.table.atMost("slower beside them by", 100*(ratio(besides, alone)-1), 15, "%", "")
	return nil
}
