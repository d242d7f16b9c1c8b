package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measureLatency measures single changes on an idle tree. All competitors are up at the same time, each on a tree of
// its own, and take turns.
func measureLatency(ctx context.Context, b *bench) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	all, err := b.contestants(ctx, stage)
	if err != nil {
		return err
	}
	progress("%d changes", b.samples)
	err = b.alternate(ctx, all, b.samples, (*contestant).sampleChange)
	if err != nil {
		return err
	}
	progress("%d renames and removals", b.samples*2/5)
	if err := b.alternate(ctx, all, b.samples*2/5, (*contestant).sampleRenameAndRemoval); err != nil {
		return err
	}
	b.latencyFigures(all)
	return nil
}

// contestants starts all competitors. A peer that cannot be started is a line in the table.
func (b *bench) contestants(ctx context.Context, s *stage) ([]*contestant, error) {
	var all []*contestant
	for _, p := range b.competitors() {
		if p.name == "lsyncd-default" {
			continue // says nothing that the bare run with rsync's defaults does not say
		}
		c, err := newContestant(ctx, s, p, 1)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			b.table.fail(err)
			continue
		}
		if p.slow {
			c.every = 8
		}
		all = append(all, c)
	}
	bare, err := newContestant(ctx, s, peer{name: "bare"}, 1)
	if err != nil {
		return nil, err
	}
	bare.bare = []string{noDelay}
	plain, err := newContestant(ctx, s, peer{name: "bare-default"}, 1)
	if err != nil {
		return nil, err
	}
	plain.bare, plain.every = []string{}, 8
	return append(all, bare, plain), nil
}

// alternate lets the contestants take turns; each round begins with another one. One that fails is a line in the table
// and takes no further part.
func (b *bench) alternate(ctx context.Context, all []*contestant, rounds int, sample func(*contestant, context.Context) error) error {
	for round := range rounds {
		for i := range all {
			c := all[(round+i)%len(all)]
			if c.failed || round%c.every != 0 {
				continue
			}
			if err := sample(c, ctx); err != nil {
				c.failed = true
				b.table.fail(err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// latencyFigures compares what was measured.
func (b *bench) latencyFigures(all []*contestant) {
	byName := make(map[string]*contestant)
	for _, c := range all {
		byName[c.name] = c
		for _, kind := range []struct {
			name string
			lags []time.Duration
		}{{"change", c.change}, {"rename", c.rename}, {"removal", c.remove}} {
			b.table.info(fmt.Sprintf("%s, %s: p50", kind.name, c.name), ms(median(kind.lags)), "ms",
				fmt.Sprintf("p95 %.2f, p99 %.2f ms, %d samples",
					ms(percentile(kind.lags, 95)), ms(percentile(kind.lags, 99)), len(kind.lags)))
		}
	}
	b.nativeLatency(byName["native"], byName["sersync"])
	s, bare := byName["sersync"], byName["bare"]
	if s == nil {
		return
	}
	b.table.atMost("change: sersync p50 against bare p50", ratio(median(s.change), median(bare.change)), 0.5, "times", "")
	b.table.atMost("change: sersync p99 against bare p95",
		ms(percentile(s.change, 99)), ms(percentile(bare.change, 95)), "ms", "")
	b.table.atMost("rename: sersync p50 against bare p50", ratio(median(s.rename), median(bare.rename)), 1.3, "times", "")
	b.table.atMost("removal: sersync p50 against bare p50", ratio(median(s.remove), median(bare.remove)), 1.3, "times", "")
	if old := byName["2.5.4"]; old != nil {
		b.table.atLeast("change: 2.5.4 p50 against sersync p50", ratio(median(old.change), median(s.change)), 20, "times", "")
	}
}
