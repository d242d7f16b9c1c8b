package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// largeSize is the file of the row native-large, far more than the 64 MiB from which on a file has a lane of its own.
	largeSize  = 1 << 30
	largeName  = "large"
	largeLimit = 5 * time.Minute
)

// largeChange is one way to change the large file.
type largeChange struct {
	what string
	// bound is what may pass the connection with the stream of our own, both ways, in KiB.
	bound float64
	// prepare, where there is one, makes what the change needs outside of the clock; spare is a name on the same file system.
	prepare func(file, spare string) error
	// change gets the size that the file had at first, too.
	change func(file, spare string, size int64) error
}

var largeChanges = []largeChange{
	{"1 MiB appended", 2 << 10, nil, func(file, _ string, size int64) error { return patch(file, size, 1<<20) }},
	{"4 KiB changed in the middle", 1 << 10, nil, func(file, _ string, size int64) error { return patch(file, size/2, 4<<10) }},
	// As editors do: written anew beside it, then moved over it.
	{"one byte inserted at the front", 4 << 10, insertByte, func(file, spare string, _ int64) error { return os.Rename(spare, file) }},
}

// largeTook is what a peer took for one change, round by round.
type largeTook struct {
	took  []time.Duration
	bytes int64
}

// measureLarge measures a large file that is new, and one that is changed.
func measureLarge(ctx context.Context, b *bench) error {
	if !b.takesPart("native") {
		return nil
	}
	size, rounds := int64(largeSize), 3
	if b.short {
		size, rounds = size/8, 1
	}
	var peers []peer
	for _, p := range b.streamPeers() {
		if !p.slow { // lsyncd is bare runs
			peers = append(peers, p)
		}
	}
	if err := b.measureFirst(ctx, peers, size, rounds); err != nil {
		return err
	}
	all := make(map[string][]largeTook)
	err := b.inTurns(ctx, peers, rounds, func(ctx context.Context, p peer) error {
		if all[p.name] == nil {
			all[p.name] = make([]largeTook, len(largeChanges))
		}
		return b.changeLarge(ctx, p, size, all[p.name])
	})
	if err != nil {
		return err
	}
	b.largeFigures(peers, size, all)
	return nil
}

// measureFirst measures a file that is moved into the source, against what one connection carries.
func (b *bench) measureFirst(ctx context.Context, peers []peer, size int64, count int) error {
	took := make(map[string][]time.Duration)
	var carried []time.Duration
	err := b.inTurns(ctx, append([]peer{{name: "connection"}}, peers...), count, func(ctx context.Context, p peer) error {
		measure := func() (time.Duration, error) { return b.firstTransfer(ctx, p, size) }
		if p.name == "connection" {
			measure = func() (time.Duration, error) { return carryOver(ctx, size) }
		}
		d, err := measure()
		if err != nil {
			return fmt.Errorf("first transfer: %w", err)
		}
		progress("%d MiB, first transfer, %s: %v", size>>20, p.name, d)
		if p.name == "connection" {
			carried = append(carried, d)
		} else {
			took[p.name] = append(took[p.name], d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d MiB, first transfer: ", size>>20)
	b.table.info(what+"what one connection of ours carries from memory to nowhere", seconds(median(carried)), "s",
		fmt.Sprintf("%s; %.0f MiB/s", rounds(carried), float64(size>>20)/seconds(median(carried))))
	for _, p := range peers {
		if len(took[p.name]) > 0 {
			b.table.info(what+p.name, seconds(median(took[p.name])), "s", rounds(took[p.name]))
		}
	}
	if native := median(took["native"]); native > 0 {
		b.table.atMost(what+"native against a bare run", ratio(native, median(took["bare"])), 1, "times", "native is encrypted")
		b.table.info(what+"native against the connection alone", ratio(native, median(carried)), "times", "")
	}
	return nil
}

// firstTransfer measures from the move into the source until the target is identical.
func (b *bench) firstTransfer(ctx context.Context, p peer, size int64) (took time.Duration, err error) {
	site, err := b.largeSite(ctx, p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, site.stage.close()) }()
	spare := filepath.Join(site.dir, "spare")
	if err := makeLarge(spare, size, time.Now()); err != nil {
		return 0, err
	}
	if err := site.up(ctx, p); err != nil {
		return 0, err
	}
	return site.untilSame(ctx, p, func() error { return os.Rename(spare, filepath.Join(site.source, largeName)) })
}

// changeLarge makes all changes of a file that both sides have, and counts what passes the connection.
func (b *bench) changeLarge(ctx context.Context, p peer, size int64, all []largeTook) (err error) {
	site, err := b.largeSite(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.stage.close()) }()
	aged := time.Now().Add(-time.Hour)
	for _, dir := range []string{site.source, site.targets[0]} {
		if err := makeLarge(filepath.Join(dir, largeName), size, aged); err != nil {
			return err
		}
	}
	if err := site.relayed(0); err != nil {
		return err
	}
	if err := site.up(ctx, p); err != nil {
		return err
	}
	file, spare := filepath.Join(site.source, largeName), filepath.Join(site.dir, "spare")
	for i, c := range largeChanges {
		if c.prepare != nil {
			if err := c.prepare(file, spare); err != nil {
				return err
			}
		}
		before := site.relay.bytes.Load()
		took, err := site.untilSame(ctx, p, func() error { return c.change(file, spare, size) })
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		// Acks and the end of a session.
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		all[i].took = append(all[i].took, took)
		all[i].bytes = max(all[i].bytes, site.relay.bytes.Load()-before)
		progress("%d MiB, %s, %s: %v, %d bytes", size>>20, c.what, p.name, took, all[i].bytes)
	}
	return nil
}

// largeSite is a site for one peer on a stage of its own.
func (b *bench) largeSite(ctx context.Context, p peer) (*site, error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return nil, err
	}
	site, err := newSite(stage, p.name, 1)
	if err != nil {
		return nil, errors.Join(err, stage.close())
	}
	return site, nil
}

// untilSame makes a change and measures until the target has it; of a bare run, which begins when it is made.
func (s *site) untilSame(ctx context.Context, p peer, change func() error) (time.Duration, error) {
	began := time.Now()
	if err := change(); err != nil {
		return 0, err
	}
	if p.command == nil {
		if err := s.startRun(bareTree(s)); err != nil {
			return 0, err
		}
	}
	at, err := s.identical(ctx, 0, []string{largeName}, largeLimit)
	return at.Sub(began), err
}

// largeFigures compares what the changes took.
func (b *bench) largeFigures(peers []peer, size int64, all map[string][]largeTook) {
	for i, c := range largeChanges {
		what := fmt.Sprintf("%d MiB, %s: ", size>>20, c.what)
		for _, p := range peers {
			if t := all[p.name]; t != nil && len(t[i].took) > 0 {
				b.table.info(what+p.name, seconds(median(t[i].took)), "s",
					fmt.Sprintf("%s; %.0f KiB passed, both ways", rounds(t[i].took), float64(t[i].bytes)/1024))
			}
		}
		native, bare := all["native"], all["bare"]
		if native == nil || len(native[i].took) == 0 {
			continue
		}
		b.table.atMost(what+"passed, native", float64(native[i].bytes)/1024, c.bound, "KiB", "the most of the rounds")
		if i == 0 && bare != nil && len(bare[i].took) > 0 {
			b.table.atMost(what+"native against a bare run", ratio(median(native[i].took), median(bare[i].took)), 1, "times", "")
		}
	}
}
