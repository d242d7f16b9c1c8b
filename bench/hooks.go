package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"sersync/internal/replicate"
)

// slowHook is a hook that is told of each path by itself and takes a second for it.
const slowHook = `    hooks:
      - on: acked
        run: [/bin/sleep, "1"]
        batch: {paths: 1, wait: 0s}
`

// hookedPeer is sersync with its journal on the disk, with a slow hook or without any.
func (b *bench) hookedPeer(with bool) peer {
	p := b.keptPeer(true)
	name := "without a hook"
	if with {
		name = "with a slow hook"
	}
	return peer{name: name, command: func(s *site) (*exec.Cmd, error) {
		if with {
			s.settings = slowHook
		}
		return p.command(s)
	}}
}

// measureHooks measures what a hook that takes a second for each path costs the replication: the same sersync with it and
// without, in turns.
func measureHooks(ctx context.Context, b *bench) error {
	if !b.takesPart("sersync") {
		return nil
	}
	count, files := 5, keptFiles
	if b.short {
		count, files = 1, keptFiles/5
	}
	var without, with []time.Duration
	for round := range count {
		for i := range 2 {
			hooked := (round+i)%2 == 1
			took, waiting, err := b.hookedBurst(ctx, hooked, files)
			if err != nil {
				return fmt.Errorf("burst, with a hook %t: %w", hooked, err)
			}
			if hooked {
				with = append(with, took)
				progress("burst of %d with a slow hook: %v, %d paths wait for it", files, took, waiting)
			} else {
				without = append(without, took)
			}
		}
	}
	b.table.info(fmt.Sprintf("burst of %d files, without a hook", files), seconds(median(without)), "s", rounds(without))
	b.table.info(fmt.Sprintf("burst of %d files, with a hook that takes 1 s a path", files), seconds(median(with)), "s", rounds(with))
	b.table.atMost("burst: with the hook against without", medianRatio(with, without), 1.1, "times", "median of the rounds")
	return b.measureHookedLatency(ctx)
}

// hookedBurst measures one burst until the target is identical, and how many paths wait for the hook then.
func (b *bench) hookedBurst(ctx context.Context, hooked bool, files int) (took time.Duration, waiting int, err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, "hooked", 1)
	if err != nil {
		return 0, 0, err
	}
	c := newContent()
	if err := site.prepare(burstDirs, 0, c); err != nil {
		return 0, 0, fmt.Errorf("prepare the burst: %w", err)
	}
	if err := site.start(ctx, b.hookedPeer(hooked)); err != nil {
		return 0, 0, err
	}
	if err := site.ready(ctx); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	names, err := writeBurst(site.source, files, c)
	if err != nil {
		return 0, 0, err
	}
	at, err := site.identical(ctx, 0, names, burstLimit)
	if err != nil {
		return 0, 0, err
	}
	acked := func(s replicate.Status) bool { return s.Targets[0].Waiting == 0 }
	status, err := site.until(ctx, burstLimit, acked)
	if err != nil {
		return 0, 0, err
	}
	for _, h := range status.Hooks {
		waiting += h.Waiting
	}
	if hooked && waiting < files/2 {
		return 0, 0, fmt.Errorf("only %d paths wait for the hook: it was not slow", waiting)
	}
	return at.Sub(began), waiting, nil
}

// measureHookedLatency measures single changes, both sersyncs being up at the same time on a tree of their own.
func (b *bench) measureHookedLatency(ctx context.Context) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	var both []*contestant
	for _, hooked := range []bool{false, true} {
		c, err := newContestant(ctx, stage, b.hookedPeer(hooked), 1)
		if err != nil {
			return err
		}
		both = append(both, c)
	}
	progress("%d changes without and with a slow hook", b.samples)
	if err := b.alternate(ctx, both, b.samples, (*contestant).sampleChange); err != nil {
		return err
	}
	for _, c := range both {
		b.table.info("change, "+c.name+": p50", ms(median(c.change)), "ms",
			fmt.Sprintf("p95 %.2f, p99 %.2f ms, %d samples", ms(percentile(c.change, 95)), ms(percentile(c.change, 99)), len(c.change)))
	}
	b.table.info("change: p50, with the hook against without", ratio(median(both[1].change), median(both[0].change)), "times", "")
	return nil
}
