package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// treeDirs and treeFilesEach are the large tree: 50,000 directories and 200,000 files.
	treeDirs      = 50000
	treeFilesEach = 4
	// treeFan is how many directories a directory of it holds.
	treeFan = 40
	// treeFileSize keeps two of these trees small in memory.
	treeFileSize = 64
	// treeLimit bounds the wait until changes arrive.
	treeLimit = 120 * time.Second

	// probeDirs is how many directories, spread over the tree, are changed while a peer starts; one each probeEvery.
	probeDirs  = 20
	probeEvery = 25 * time.Millisecond
	// promptLag is the lag of a change that arrives promptly.
	promptLag = 200 * time.Millisecond
	// promptRun is how many probes in a row must be prompt: two rounds through the directories.
	promptRun = 2 * probeDirs
)

// measureTree measures how soon changes of a large tree arrive after the start, and how much memory that takes.
func measureTree(ctx context.Context, b *bench) error {
	dirs := treeDirs
	if b.short {
		dirs /= 10
	}
	starts := []peer{
		b.sersyncPeer(),
		{name: "sersync -r", command: b.sersyncCommand(true)},
		{name: "lsyncd", command: lsyncdCommand(noDelay)},
	}
	for _, p := range starts {
		if !b.takesPart(strings.TrimSuffix(p.name, " -r")) {
			continue
		}
		progress("tree of %d directories: %s", dirs, p.name)
		if err := b.startOnTree(ctx, p, dirs); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.table.fail(fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return nil
}

// startOnTree starts one peer on a fresh tree whose target is equal.
func (b *bench) startOnTree(ctx context.Context, p peer, dirs int) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, "tree", 1)
	if err != nil {
		return err
	}
	names := treeNames(dirs)
	for _, root := range []string{site.source, site.targets[0]} {
		if err := makeTree(ctx, root, names, treeFilesEach); err != nil {
			return fmt.Errorf("make the tree: %w", err)
		}
	}
	find, err := findTime(ctx, site.source)
	if err != nil {
		return err
	}
	var probed []string
	for i := range probeDirs {
		probed = append(probed, names[i*(len(names)-1)/(probeDirs-1)])
	}
	seen, err := newObserver(stage, site.targets[0], probed...)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := site.start(ctx, p); err != nil {
		return err
	}
	probes, err := site.probeUntilPrompt(ctx, seen, probed)
	if err != nil {
		return err
	}
	resident, peak, err := memory(site.process.pid())
	if err != nil {
		return err
	}
	b.treeFigures(p.name, find, promptAfter(probes, began), firstLag(probes), resident, peak)
	return nil
}

// treeFigures puts one start into the table. The targets are those of a start that does not compare the targets.
func (b *bench) treeFigures(name string, find, prompt, first time.Duration, resident, peak float64) {
	note := fmt.Sprintf("find takes %.2f s; the first change, made right at the start, ", seconds(find))
	if first > 0 {
		note += fmt.Sprintf("arrives after %.2f s", seconds(first))
	} else {
		note += "was before the watch"
	}
	what := name + ": changes arrive promptly after"
	memory := fmt.Sprintf("peak %.1f MB", peak)
	if name != "sersync" {
		b.table.info(what, seconds(prompt), "s", note)
		b.table.info(name+": resident memory", resident, "MB", memory)
		return
	}
	b.table.atMost(what, seconds(prompt), 2*seconds(find), "s", note)
	b.table.atMost(name+": resident memory", resident, 100, "MB", memory)
}

// treeNames are the directories of the tree, parents before children.
func treeNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		name := "d" + strconv.Itoa(i)
		if i >= treeFan {
			name = filepath.Join(names[i/treeFan-1], name)
		}
		names[i] = name
	}
	return names
}

// makeTree makes directories and files, all of one age.
func makeTree(ctx context.Context, root string, names []string, filesEach int) error {
	mtime := time.Unix(1_700_000_000, 0)
	data := make([]byte, treeFileSize)
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		for f := range filesEach {
			if err := writeAged(filepath.Join(dir, "f"+strconv.Itoa(f)), data, mtime); err != nil {
				return err
			}
		}
	}
	// Not before: a new entry changes the mtime of its directory.
	for _, name := range append(names, ".") {
		if err := os.Chtimes(filepath.Join(root, name), mtime, mtime); err != nil {
			return err
		}
	}
	return nil
}

// findTime is the median of three runs of find over the tree.
func findTime(ctx context.Context, dir string) (time.Duration, error) {
	var took []time.Duration
	for range 3 {
		began := time.Now()
		if err := exec.CommandContext(ctx, "find", dir).Run(); err != nil {
			return 0, fmt.Errorf("run find: %w", err)
		}
		took = append(took, time.Since(began))
	}
	return median(took), nil
}

// probe is a change made while a peer starts; arrived is zero as long as it has not.
type probe struct {
	name             string
	written, arrived time.Time
}

// lag is how long a probe took, or so far.
func (p probe) lag(now time.Time) time.Duration {
	if p.arrived.IsZero() {
		return now.Sub(p.written)
	}
	return p.arrived.Sub(p.written)
}

// probeUntilPrompt makes changes until so many in a row were prompt.
func (s *site) probeUntilPrompt(ctx context.Context, seen *observer, dirs []string) ([]probe, error) {
	var probes []probe
	for deadline := time.Now().Add(treeLimit); ; {
		if err := s.process.ended(); err != nil {
			return nil, err
		}
		p := probe{name: filepath.Join(dirs[len(probes)%len(dirs)], "probe"+strconv.Itoa(len(probes)))}
		p.written = time.Now()
		if err := os.WriteFile(filepath.Join(s.source, p.name), []byte(p.name), 0o644); err != nil {
			return nil, fmt.Errorf("write probe: %w", err)
		}
		probes = append(probes, p)
		if err := s.collect(ctx, seen, probes, p.written.Add(probeEvery)); err != nil {
			return nil, err
		}
		if enoughPrompt(probes, time.Now()) {
			return probes, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("wait for prompt changes: %w", errTimeout)
		}
	}
}

// collect notes until a time which probes arrive.
func (s *site) collect(ctx context.Context, seen *observer, probes []probe, until time.Time) error {
	for time.Now().Before(until) {
		sightings, err := seen.next(ctx, until)
		if errors.Is(err, errTimeout) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, at := range sightings {
			_, digits, _ := strings.Cut(filepath.Base(at.path), "probe")
			n, err := strconv.Atoi(digits)
			if err != nil || n >= len(probes) || probes[n].name != at.path || !probes[n].arrived.IsZero() {
				continue
			}
			if same(filepath.Join(s.source, at.path), filepath.Join(s.targets[0], at.path)) {
				probes[n].arrived = at.at
			}
		}
	}
	return nil
}

// enoughPrompt reports whether the newest probes that had the time to arrive did so.
func enoughPrompt(probes []probe, now time.Time) bool {
	run := 0
	for i := len(probes) - 1; i >= 0 && run < promptRun; i-- {
		switch {
		case !probes[i].arrived.IsZero() && probes[i].lag(now) <= promptLag:
			run++
		case now.Sub(probes[i].written) > promptLag:
			return false
		}
	}
	return run == promptRun
}

// promptAfter is the time from the start to the first probe after which none was late.
func promptAfter(probes []probe, began time.Time) time.Duration {
	since := probes[0].written
	for i, p := range probes[:len(probes)-1] {
		if p.arrived.IsZero() || p.lag(p.arrived) > promptLag {
			since = probes[i+1].written
		}
	}
	return max(since.Sub(began), 0)
}

// firstLag is how long the first probe took; 0 when it did not arrive.
func firstLag(probes []probe) time.Duration {
	if probes[0].arrived.IsZero() {
		return 0
	}
	return probes[0].arrived.Sub(probes[0].written)
}

// memory is what a process has resident now and had at the most, in MB of 10^6 bytes.
func memory(pid int) (resident, peak float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read memory of the peer: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			resident = kib * 1024 / 1e6
		case "VmHWM:":
			peak = kib * 1024 / 1e6
		}
	}
	return resident, peak, nil
}
