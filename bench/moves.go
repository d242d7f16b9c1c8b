package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// movedDir is the directory of the row native-rename, movedTo what it is renamed to.
	movedDir = "d0000"
	movedTo  = "moved"
	// moveLimit bounds the wait for the slowest.
	moveLimit = 5 * time.Minute
)

// movedTook is what a peer took for the rename, round by round; bytes is the most that passed.
type movedTook struct {
	took  []time.Duration
	bytes int64
}

// measureRename measures the rename of a directory with many files.
func measureRename(ctx context.Context, b *bench) error {
	if !b.takesPart("native") {
		return nil
	}
	files, rounds := massFiles, 5
	if b.short {
		files, rounds = massFiles/5, 1
	}
	all := make(map[string]*movedTook)
	err := b.inTurns(ctx, b.streamPeers(), rounds, func(ctx context.Context, p peer) error {
		if all[p.name] == nil {
			all[p.name] = new(movedTook)
		}
		return b.renamed(ctx, p, files, all[p.name])
	})
	if err != nil {
		return err
	}
	b.renameFigures(files, all)
	return nil
}

// renameFigures says what the rename took.
func (b *bench) renameFigures(files int, all map[string]*movedTook) {
	what := fmt.Sprintf("directory of %d files renamed: ", files)
	for _, p := range b.streamPeers() {
		t := all[p.name]
		if t == nil || len(t.took) == 0 {
			continue
		}
		if p.name != "native" {
			b.table.info(what+p.name, ms(median(t.took)), "ms",
				fmt.Sprintf("median of %d; %.1f KB passed, both ways", len(t.took), float64(t.bytes)/1e3))
			continue
		}
		b.table.atMost(what+"native", ms(median(t.took)), 50, "ms", fmt.Sprintf("median of %d", len(t.took)))
		b.table.atMost(what+"passed, native", float64(t.bytes)/1e3, 10, "KB", "both ways, the most of the rounds")
	}
}

// renamed measures one peer once.
func (b *bench) renamed(ctx context.Context, p peer, files int, t *movedTook) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, p.name, 1)
	if err != nil {
		return err
	}
	if err := site.prepare(1, files, newContent()); err != nil {
		return fmt.Errorf("prepare the directory: %w", err)
	}
	if err := site.relayed(0); err != nil {
		return err
	}
	if err := site.up(ctx, p); err != nil {
		return err
	}
	before := site.relay.bytes.Load()
	took, err := site.moved(ctx, p, movedDir, movedTo)
	if err != nil {
		return err
	}
	// Acks and the end of a session.
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	t.took = append(t.took, took)
	t.bytes = max(t.bytes, site.relay.bytes.Load()-before)
	progress("directory of %d files renamed, %s: %v, %d bytes", files, p.name, took, t.bytes)
	return nil
}

// moved renames a directory and measures until the target is identical.
func (s *site) moved(ctx context.Context, p peer, from, to string) (time.Duration, error) {
	names, err := filesBelow(filepath.Join(s.source, from), to)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := os.Rename(filepath.Join(s.source, from), filepath.Join(s.source, to)); err != nil {
		return 0, err
	}
	if p.command == nil {
		if err := s.startRun(bareMirror(s)); err != nil {
			return 0, err
		}
	}
	at, err := s.settled(ctx, 0, names, []string{from}, moveLimit)
	return at.Sub(began), err
}

// filesBelow are the files below a directory, as they will be called when it is renamed.
func filesBelow(dir, as string) ([]string, error) {
	var names []string
	err := walk(dir, func(name string, isDir bool) error {
		if !isDir {
			names = append(names, filepath.Join(as, name))
		}
		return nil
	})
	return names, err
}

// treeSteps are what is done with the source tree of Go, in this order.
var treeSteps = []string{"copied in", "src/cmd renamed", "removed"}

// measureSourceTree measures a tree as people have it: the sources of Go.
func measureSourceTree(ctx context.Context, b *bench) error {
	if !b.takesPart("native") {
		return nil
	}
	count := 3
	if b.short {
		count = 1
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find the sources of Go: %w", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	names, err := filesBelow(src, "src")
	if err != nil {
		return fmt.Errorf("find the sources of Go: %w", err)
	}
	all := make(map[string]*[3][]time.Duration)
	peers := b.streamPeers()[1:] // a bare run watches nothing
	err = b.inTurns(ctx, peers, count, func(ctx context.Context, p peer) error {
		took, err := b.sourceTree(ctx, p, src, names)
		if err != nil {
			return err
		}
		progress("source tree of Go, %s: %v", p.name, took)
		if all[p.name] == nil {
			all[p.name] = new([3][]time.Duration)
		}
		for i, d := range took {
			all[p.name][i] = append(all[p.name][i], d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, step := range treeSteps {
		for _, p := range peers {
			if took := all[p.name]; took != nil {
				b.table.info(fmt.Sprintf("Go's sources, %d files, %s: %s", len(names), step, p.name), seconds(median(took[i])), "s", rounds(took[i]))
			}
		}
	}
	return nil
}

// sourceTree measures one peer once, step by step.
func (b *bench) sourceTree(ctx context.Context, p peer, src string, names []string) (took [3]time.Duration, err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, p.name, 1)
	if err != nil {
		return took, err
	}
	// What stays when all is removed: a source that is found empty would hold the removal. So would the budget.
	if err := site.prepare(1, 1, newContent()); err != nil {
		return took, fmt.Errorf("prepare the source: %w", err)
	}
	site.settings = "    removal_budget: off\n"
	if err := site.up(ctx, p); err != nil {
		return took, err
	}
	top := filepath.Join(site.source, "src")
	began := time.Now()
	if err := os.CopyFS(top, os.DirFS(src)); err != nil {
		return took, fmt.Errorf("copy the sources of Go: %w", err)
	}
	at, err := site.identical(ctx, 0, names, moveLimit)
	if err != nil {
		return took, fmt.Errorf("%s: %w", treeSteps[0], err)
	}
	took[0] = at.Sub(began)
	if err := pause(ctx, time.Second); err != nil {
		return took, err
	}
	if took[1], err = site.moved(ctx, p, "src/cmd", "src/cmd-renamed"); err != nil {
		return took, fmt.Errorf("%s: %w", treeSteps[1], err)
	}
	if err := pause(ctx, time.Second); err != nil {
		return took, err
	}
	began = time.Now()
	if err := os.RemoveAll(top); err != nil {
		return took, err
	}
	if at, err = site.settled(ctx, 0, nil, []string{"src"}, moveLimit); err != nil {
		return took, fmt.Errorf("%s: %w", treeSteps[2], err)
	}
	took[2] = at.Sub(began)
	return took, nil
}
