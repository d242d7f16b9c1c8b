package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// million is the size of both trees of this row.
const million = 1_000_000

// measureMillion measures one directory with a million files, and a million directories. The trees are on the file
// system of the stage, the state is on the disk.
func measureMillion(ctx context.Context, b *bench) (err error) {
	if !b.takesPart("sersync") {
		return nil
	}
	n := million
	if b.short {
		n /= 50
	}
	restore, err := keepSysctls()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	for _, tree := range []struct {
		name string
		make func(ctx context.Context, root string, n int) (top string, err error)
	}{
		{fmt.Sprintf("%d files in one directory", n), makeFlat},
		{fmt.Sprintf("%d directories", n), makeDirs},
	} {
		progress("%s", tree.name)
		if err := b.onMillion(ctx, tree.name, n, tree.make); err != nil {
			b.table.fail(fmt.Errorf("%s: %w", tree.name, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// makeFlat makes one directory with files that are empty: a page each would not fit into memory.
func makeFlat(ctx context.Context, root string, n int) (string, error) {
	const top = "flat"
	if err := os.Mkdir(filepath.Join(root, top), 0o755); err != nil {
		return "", err
	}
	mtime := time.Unix(1_700_000_000, 0)
	for i := range n {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err := writeAged(filepath.Join(root, top, fmt.Sprintf("file-%07d", i)), nil, mtime); err != nil {
			return "", err
		}
	}
	return top, nil
}

// makeDirs makes directories alone, all below one.
func makeDirs(ctx context.Context, root string, n int) (string, error) {
	const top = "dirs"
	if err := os.Mkdir(filepath.Join(root, top), 0o755); err != nil {
		return "", err
	}
	return top, makeTree(ctx, filepath.Join(root, top), treeNames(n), 0)
}

// onMillion starts on a tree, starts again, changes something, and has the tree moved away.
func (b *bench) onMillion(ctx context.Context, what string, n int, makeTree func(context.Context, string, int) (string, error)) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	stage.daemonOptions += transferLog
	site, err := newSite(stage, "million", 1)
	if err != nil {
		return err
	}
	// Nothing is compared, so that the target needs nothing but the directory.
	top, err := makeTree(ctx, site.source, n)
	if err != nil {
		return fmt.Errorf("make the tree: %w", err)
	}
	if err := os.Mkdir(filepath.Join(site.targets[0], top), 0o755); err != nil {
		return err
	}
	r := &restarts{bench: b, site: site, peer: b.keptPeer(true), c: newContent()}
	if err := site.startBare(ctx); err != nil {
		return err
	}
	b.table.info(what+", on "+fileSystem(site.source), 0, "", "")
	if err := r.first(ctx); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	for _, after := range []string{"a clean stop", "kill -9"} {
		if err := r.again(ctx, after, 0); err != nil {
			return fmt.Errorf("start after %s: %w", after, err)
		}
	}
	return b.inMillion(ctx, site, top)
}

// inMillion measures single changes in the directory, and its removal.
func (b *bench) inMillion(ctx context.Context, site *site, top string) error {
	seen, err := newObserver(site.stage, site.targets[0], ".", top)
	if err != nil {
		return err
	}
	c := &contestant{name: "million", site: site, seen: []*observer{seen}, content: newContent()}
	for i := range 50 {
		name := filepath.Join(top, fmt.Sprintf("new-%d", i%10))
		data := c.content.next(blockSize)
		if err := c.write(ctx, name, data); err != nil {
			return fmt.Errorf("change: %w", err)
		}
	}
	b.table.info("change in it: p50", ms(median(c.change)), "ms",
		fmt.Sprintf("p99 %.2f ms, %d samples", ms(percentile(c.change, 99)), len(c.change)))
	before, err := site.cost()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := os.Rename(filepath.Join(site.source, top), filepath.Join(site.dir, "moved")); err != nil {
		return err
	}
	// More than the budget allows.
	if _, err := site.until(ctx, startLimit, func(s replicate.Status) bool { return s.Brake != nil }); err != nil {
		return err
	}
	noticed := time.Since(began)
	if _, err := httpd.NewClient(site.socket()).Approve(ctx, httpd.ApproveRequest{}); err != nil {
		return fmt.Errorf("release the removal: %w", err)
	}
	at, err := seen.until(ctx, startLimit, func() bool { return gone(filepath.Join(site.targets[0], top)) })
	if err != nil {
		return fmt.Errorf("move it away: %w", err)
	}
	status, err := site.rest(ctx)
	if err != nil {
		return err
	}
	after, err := site.cost()
	if err != nil {
		return err
	}
	b.table.info("moved out of the source: gone on the target after", at.Sub(began).Seconds(), "s",
		fmt.Sprintf("held after %.2f s, then released; %d paths are left; journal at rest after %.1f s; CPU %.2f s, written %.1f MB",
			seconds(noticed), status.Indexed, time.Since(began).Seconds(), seconds(after.cpu-before.cpu), after.written-before.written))
	return nil
}
