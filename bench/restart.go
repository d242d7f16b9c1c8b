package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// restartChanges is how many files of the tree change while sersync is down.
const restartChanges = 1000

// restarts is a tree whose sersync starts again and again.
type restarts struct {
	bench *bench
	site  *site
	peer  peer
	// find is the yardstick of a start.
	find spent
	// files are all files of the tree; changed says how many of them were changed so far: the next one to take.
	files   []string
	changed int
	c       *content
}

// measureRestart measures starts on the large tree that go on from the state of the last run.
func measureRestart(ctx context.Context, b *bench) (err error) {
	if !b.takesPart("sersync") {
		return nil
	}
	dirs := treeDirs
	if b.short {
		dirs /= 10
	}
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	stage.daemonOptions += transferLog
	site, err := newSite(stage, "restart", 1)
	if err != nil {
		return err
	}
	r := &restarts{bench: b, site: site, peer: b.keptPeer(true), c: newContent()}
	names := treeNames(dirs)
	for _, root := range []string{site.source, site.targets[0]} {
		if err := makeTree(ctx, root, names, treeFilesEach); err != nil {
			return fmt.Errorf("make the tree: %w", err)
		}
	}
	for i := range len(names) * treeFilesEach {
		// Spread over the tree: a prime.
		i = i * 7919 % (len(names) * treeFilesEach)
		r.files = append(r.files, filepath.Join(names[i/treeFilesEach], fmt.Sprintf("f%d", i%treeFilesEach)))
	}
	if err := site.startBare(ctx); err != nil {
		return err
	}
	return r.measure(ctx)
}

// measure goes through the starts.
func (r *restarts) measure(ctx context.Context) error {
	if err := r.first(ctx); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	for _, s := range []struct {
		after   string
		changes int
	}{{"a clean stop", 0}, {"kill -9", 0}, {"kill -9", restartChanges}, {"a clean stop", restartChanges}} {
		if err := r.again(ctx, s.after, s.changes); err != nil {
			return fmt.Errorf("start after %s: %w", s.after, err)
		}
	}
	return nil
}

// first is the start without a state.
func (r *restarts) first(ctx context.Context) error {
	var err error
	if r.find, err = findStat(ctx, r.site.source); err != nil {
		return err
	}
	took, err := r.site.startWatching(ctx, r.peer)
	if err != nil {
		return err
	}
	status, err := r.site.rest(ctx)
	if err != nil {
		return err
	}
	r.bench.table.info("find with size and time of everything", seconds(r.find.wall), "s", fmt.Sprintf("CPU %.2f s", seconds(r.find.cpu)))
	r.bench.table.info(fmt.Sprintf("first start, %d paths: watching after", status.Indexed), seconds(took.wall), "s",
		fmt.Sprintf("CPU %.2f s", seconds(took.cpu)))
	return r.sizes("first start")
}

// again ends sersync, changes files, starts it and says what it did.
func (r *restarts) again(ctx context.Context, after string, changes int) error {
	if err := r.end(ctx, after); err != nil {
		return err
	}
	var err error
	if r.find, err = findStat(ctx, r.site.source); err != nil {
		return err
	}
	changed, err := r.change(changes)
	if err != nil {
		return err
	}
	place, err := r.site.logEnd()
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := r.site.startWatching(ctx, r.peer)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, treeLimit, errTimeout)
	defer cancel()
	at, err := r.site.arrived(limited, 0, changed, nil)
	if err != nil {
		return err
	}
	// Long enough for a comparison to begin.
	if _, err := r.site.rest(ctx); err != nil {
		return err
	}
	sent, err := r.site.transfersSince(place)
	if err != nil {
		return err
	}
	if changes == 0 {
		return r.unchanged(ctx, after, took, sent)
	}
	what := fmt.Sprintf("%d files changed before a start after %s", changes, after)
	r.bench.table.info(what+": there after", at.Sub(began).Seconds(), "s", fmt.Sprintf("watching after %v", took))
	r.sent(what+": sent beside them", sent, changed)
	return r.sizes(what)
}

// unchanged is the start on a tree in which nothing changed.
func (r *restarts) unchanged(ctx context.Context, after string, took spent, sent transfers) error {
	status, err := r.site.status(ctx)
	if err != nil {
		return err
	}
	what := "start after " + after
	t := &r.bench.table
	t.atMost(what+": watching after", seconds(took.wall), 2*seconds(r.find.wall), "s",
		fmt.Sprintf("CPU %.2f s; find takes %v right before", seconds(took.cpu), r.find))
	t.info(what+": CPU against find", ratio(took.cpu, r.find.cpu), "times", "")
	r.sent(what+": sent", sent, nil)
	swept := 0
	for _, target := range status.Targets {
		if target.Sweep != nil || target.Swept != nil {
			swept++
		}
	}
	t.atMost(what+": targets that were compared", float64(swept), 0, "targets", fmt.Sprintf("runs of rsync: %d", sent.connects))
	return r.sizes(what)
}

// sent says how much was sent that need not be, and how much was not sent.
func (r *restarts) sent(what string, sent transfers, changed []string) {
	for _, name := range changed {
		if !sent.names[name] {
			r.bench.table.fail(fmt.Errorf("%q is not in the log of the rsync daemon", name))
		}
		delete(sent.names, name)
	}
	note := fmt.Sprintf("by the log of the rsync daemon: %d transfers of files, %d other items, %d removals, %d runs",
		sent.files, sent.others, sent.removed, sent.connects)
	if sent.example != "" {
		note += "; such as " + sent.example
	}
	r.bench.table.atMost(what, float64(len(sent.names)+sent.others+sent.removed), 0, "files", note)
}

// end ends sersync. Before a kill its journal is on the disk, and what was sent is older than what it looks at again.
func (r *restarts) end(ctx context.Context, how string) error {
	if _, err := r.site.rest(ctx); err != nil {
		return err
	}
	if how == "kill -9" {
		return r.site.process.end(unix.SIGKILL, stopLimit)
	}
	took, err := r.site.stopCleanly()
	if err == nil {
		progress("stopped after %v", took)
	}
	return err
}

// change rewrites files in place and returns their names.
func (r *restarts) change(n int) ([]string, error) {
	changed := r.files[r.changed : r.changed+n]
	r.changed += n
	for _, name := range changed {
		if err := os.WriteFile(filepath.Join(r.site.source, name), r.c.next(treeFileSize), 0o644); err != nil {
			return nil, fmt.Errorf("change the tree: %w", err)
		}
	}
	return changed, nil
}

// sizes says what sersync takes.
func (r *restarts) sizes(what string) error {
	resident, peak, err := memory(r.site.process.pid())
	if err != nil {
		return err
	}
	state, err := r.site.stateSize()
	if err != nil {
		return err
	}
	r.bench.table.info(what+": resident memory", resident, "MB", fmt.Sprintf("peak %.1f MB", peak))
	r.bench.table.info(what+": state", state, "MB", "on "+fileSystem(r.site.state))
	return nil
}

// findStat is the median of three runs of find that looks at everything.
func findStat(ctx context.Context, dir string) (spent, error) {
	var wall, cpu []time.Duration
	for range 3 {
		began := time.Now()
		cmd := exec.CommandContext(ctx, "find", dir, "-printf", `%p %s %T@\n`)
		if err := cmd.Run(); err != nil {
			return spent{}, fmt.Errorf("run find: %w", err)
		}
		wall = append(wall, time.Since(began))
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		cpu = append(cpu, time.Duration(usage.Utime.Nano()+usage.Stime.Nano()))
	}
	return spent{median(wall), median(cpu)}, nil
}
