package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/replicate"
)

// The changes while a target is away.
const (
	awayChanges   = 1_000_000
	awayDirs      = 100
	awayFilesEach = 100
	// awayRate is how many changes there are a second, awayBlock how many are made at one time.
	awayRate  = 20_000
	awayBlock = 20
	// awayProbes is how many files a second show how far behind the other target is, in a directory of their own.
	awayProbes   = 10
	awayProbeDir = "probes"
	// backLimit bounds the catch-up: it may begin a minute after the return.
	backLimit = 5 * time.Minute
)

// away is a source with two targets: the one beside, which is there all the time, and one that may go away, on a daemon
// of its own.
type away struct {
	bench        *bench
	site, remote *site
	seen         *observer
	peer         peer
	c            *content
	// changed and probed are how many changes and probes there were.
	changed, probed int
}

// outage is what a time without the target showed.
type outage struct {
	lags []time.Duration
	// behind is how long after the last change the target beside had everything.
	behind, wrote time.Duration
	// before and after are the resident memory, and what of it was idle, in MB.
	before, after footprint
}

type footprint struct{ resident, peak, idle float64 }

// live is what is in use of it.
func (f footprint) live() float64 { return f.resident - f.idle }

// measureAway measures what a target that is away costs, and how it catches up.
func measureAway(ctx context.Context, b *bench) error {
	if !b.takesPart("sersync") {
		return nil
	}
	changes := awayChanges
	if b.short {
		changes /= 20
	}
	alone, err := b.besideNobody(ctx, changes)
	if err != nil {
		return fmt.Errorf("without the target: %w", err)
	}
	b.outageFigures("one target alone", alone)
	for _, restart := range []bool{false, true} {
		if err := b.awayOnce(ctx, changes, restart, alone); err != nil {
			return fmt.Errorf("away, with a restart %t: %w", restart, err)
		}
	}
	return nil
}

// newAway makes the trees and starts sersync; with, when the target that may go away is configured.
func (b *bench) newAway(ctx context.Context, s *stage, with bool) (*away, error) {
	s.daemonOptions += transferLog
	a := &away{bench: b, peer: b.keptPeer(true), c: newContent()}
	var err error
	if a.site, err = newSite(s, "away", 1); err != nil {
		return nil, err
	}
	if a.remote, err = newSite(s, "remote", 1); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	a.site.metrics = fmt.Sprintf("127.0.0.1:%d", port)
	both := *a.site
	both.targets = []string{a.site.targets[0], a.remote.targets[0]}
	if err := both.prepare(awayDirs, awayFilesEach, a.c); err != nil {
		return nil, fmt.Errorf("prepare the tree: %w", err)
	}
	a.remote.source = a.site.source
	if with {
		if err := a.remote.startBare(ctx); err != nil {
			return nil, err
		}
		a.site.urls = append(a.site.urls, a.remote.urls[0])
	}
	for _, dir := range []string{a.site.source, a.site.targets[0], a.remote.targets[0]} {
		if err := os.Mkdir(filepath.Join(dir, awayProbeDir), 0o755); err != nil {
			return nil, err
		}
	}
	if a.seen, err = newObserver(s, a.site.targets[0], awayProbeDir); err != nil {
		return nil, err
	}
	if err := a.site.start(ctx, a.peer); err != nil {
		return nil, err
	}
	return a, a.site.ready(ctx)
}

// besideNobody is the yardstick: the same changes with the one target alone.
func (b *bench) besideNobody(ctx context.Context, changes int) (o outage, err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	a, err := b.newAway(ctx, stage, false)
	if err != nil {
		return o, err
	}
	return a.outage(ctx, changes, false)
}

// awayOnce has the target away and come back.
func (b *bench) awayOnce(ctx context.Context, changes int, restart bool, alone outage) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	a, err := b.newAway(ctx, stage, true)
	if err != nil {
		return err
	}
	o, err := a.outage(ctx, changes, restart)
	if err != nil {
		return err
	}
	what := "beside one that is away"
	if restart {
		what += ", with a restart"
	}
	b.outageFigures(what, o)
	b.table.atMost(what+": growth of the memory in use", o.after.live()-o.before.live(), 50, "MB",
		fmt.Sprintf("%.1f MB with one target alone", alone.after.live()-alone.before.live()))
	if !restart {
		b.table.atMost(what+": p50 lag against alone", ratio(median(o.lags), median(alone.lags)), 1.15, "times", "")
	}
	return a.catchUp(ctx, what)
}

// outage makes the changes and sees what they do to the target beside; with restart sersync starts anew half way.
func (a *away) outage(ctx context.Context, changes int, restart bool) (o outage, err error) {
	if _, err := a.site.rest(ctx); err != nil {
		return o, err
	}
	if a.remote.daemon != nil {
		if err := a.remote.daemon.stop(); err != nil {
			return o, err
		}
	}
	if o.before, err = a.footprint(ctx); err != nil {
		return o, err
	}
	parts := 1
	if restart {
		parts = 2
	}
	for part := range parts {
		if part > 0 {
			took, err := a.site.stopCleanly()
			if err != nil {
				return o, err
			}
			started, err := a.site.startWatching(ctx, a.peer)
			if err != nil {
				return o, err
			}
			progress("stopped after %v, watching after %v", took, started)
		}
		l, err := a.load(ctx, changes/parts)
		if err != nil {
			return o, err
		}
		o.lags = append(o.lags, l.lags...)
		o.wrote += l.wrote
		o.behind = max(o.behind, l.behind)
	}
	// The collector of the heap comes by every other minute at the latest; this is what a person would see soon.
	if err := pause(ctx, 3*time.Second); err != nil {
		return o, err
	}
	o.after, err = a.footprint(ctx)
	return o, err
}

// load makes changes at the rate, with probes among them.
func (a *away) load(ctx context.Context, changes int) (load, error) {
	length := time.Duration(changes) * time.Second / awayRate
	probes := make([]loadFile, int(length.Seconds()*awayProbes))
	for i := range probes {
		probes[i] = loadFile{name: filepath.Join(awayProbeDir, fmt.Sprintf("n%06d", a.probed)), size: blockSize}
		a.probed++
	}
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- a.change(ctx, changes) }()
	l, err := a.site.carry(ctx, a.seen, probes, awayProbes, newContent())
	if err := errors.Join(err, <-done); err != nil {
		return l, err
	}
	l.wrote = time.Since(began)
	last := time.Now()
	_, err = a.site.until(ctx, drainLimit, func(s replicate.Status) bool { return target(s, a.site.urls[0]).Waiting == 0 })
	l.behind = time.Since(last)
	return l, err
}

// change rewrites the files in turn, in place, at the rate or as fast as it can.
func (a *away) change(ctx context.Context, changes int) error {
	began := time.Now()
	var data [treeFileSize]byte
	for i := range changes {
		if i%awayBlock == 0 {
			left := time.Until(began.Add(time.Duration(i) * time.Second / awayRate))
			if left > 0 {
				left := unix.NsecToTimespec(int64(left))
				_ = unix.Nanosleep(&left, nil) // a signal may end it early
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		file := a.changed % (awayDirs * awayFilesEach)
		a.changed++
		copy(data[:], fmt.Sprintf("%020d", a.changed))
		name := filepath.Join(dirName(file%awayDirs), fmt.Sprintf("f%d", file/awayDirs))
		if err := os.WriteFile(filepath.Join(a.site.source, name), data[:], 0o644); err != nil {
			return fmt.Errorf("change the tree: %w", err)
		}
	}
	return nil
}

// outageFigures says what one time of changes showed.
func (b *bench) outageFigures(what string, o outage) {
	b.table.info(what+": p50 lag", ms(median(o.lags)), "ms",
		fmt.Sprintf("p99 %.1f, max %.1f ms, %d probes; at rest %.2f s after the last of the changes, which took %.1f s",
			ms(percentile(o.lags, 99)), ms(percentile(o.lags, 100)), len(o.lags), seconds(o.behind), seconds(o.wrote)))
	b.table.info(what+": resident memory", o.after.resident, "MB",
		fmt.Sprintf("%.1f MB before; idle heap %.1f, before %.1f MB; peak %.1f MB", o.before.resident, o.after.idle, o.before.idle, o.after.peak))
}

func (a *away) footprint(ctx context.Context) (f footprint, err error) {
	if f.resident, f.peak, err = memory(a.site.process.pid()); err != nil {
		return f, err
	}
	f.idle, err = a.site.idleHeap(ctx)
	return f, err
}

// target finds a target by its URL.
func target(s replicate.Status, url string) replicate.TargetStatus {
	for _, t := range s.Targets {
		if t.Name == url {
			return t
		}
	}
	return replicate.TargetStatus{Name: url, Waiting: -1}
}
