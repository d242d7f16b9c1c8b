package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The steady load.
const (
	steadyRate = 200 // files a second
	steadyTime = 20 * time.Second
	steadyDirs = 100
	// backlogAfter is how long after the last write a missing file is a backlog.
	backlogAfter = 200 * time.Millisecond
	// drainLimit bounds the wait for the rest: 2.5.4 falls 20 s behind.
	drainLimit = 90 * time.Second
	// searchTime is how long each rate of the search for the highest one lasts, and searchLag what it has to keep.
	searchTime = 5 * time.Second
	searchLag  = 200 * time.Millisecond
	searchMax  = 12800
)

// load is what one steady load showed.
type load struct {
	rate    int
	lags    []time.Duration
	backlog int
	// behind is how long after the last write the last file arrived.
	behind time.Duration
	// wrote is how long writing took: longer than planned where the machine cannot write so fast.
	wrote          time.Duration
	source, target time.Duration
}

// measureSteady measures a load that lasts, and then the highest one that holds.
func measureSteady(ctx context.Context, b *bench) error {
	length := steadyTime
	if b.short {
		length = 5 * time.Second
	}
	loads := make(map[string]load)
	for _, p := range b.competitors() {
		if p.name == "lsyncd-default" {
			continue
		}
		progress("steady load of %s", p.name)
		l, err := b.steady(ctx, p, steadyRate, length)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.table.fail(fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		loads[p.name] = l
		b.loadFigures(p.name, l)
	}
	if s, ok := loads["sersync"]; ok {
		b.steadyTargets(s, loads)
		return b.searchRate(ctx)
	}
	return nil
}

// loadFigures says what a competitor did with the load.
func (b *bench) loadFigures(name string, l load) {
	b.table.info(fmt.Sprintf("%d files/s, %s: p99 lag", l.rate, name), ms(percentile(l.lags, 99)), "ms",
		fmt.Sprintf("p50 %.1f, max %.1f ms; backlog %d files, the last %.2f s behind; CPU source %.2f s, target %.2f s",
			ms(median(l.lags)), ms(percentile(l.lags, 100)), l.backlog, seconds(l.behind), seconds(l.source), seconds(l.target)))
}

// steadyTargets compares sersync with its targets.
func (b *bench) steadyTargets(s load, loads map[string]load) {
	b.table.atMost("sersync: p99 lag", ms(percentile(s.lags, 99)), 60, "ms", "")
	b.table.atMost("sersync: backlog at the end", float64(s.backlog), 0, "files", "")
	if peer, ok := loads["lsyncd"]; ok {
		b.table.atMost("sersync: CPU of both ends against lsyncd",
			seconds(s.source+s.target), seconds(peer.source+peer.target), "s", "")
	}
}

// searchRate doubles the rate while sersync holds it.
func (b *bench) searchRate(ctx context.Context) error {
	limit := searchMax
	if b.short {
		limit = 4 * steadyRate
	}
	holds, note := 0, ""
	for rate := steadyRate; rate <= limit; rate *= 2 {
		l, err := b.steady(ctx, b.sersyncPeer(), rate, searchTime)
		if errors.Is(err, errTimeout) {
			note = fmt.Sprintf("at %d not all arrived within %v", rate, drainLimit)
			break
		}
		if err != nil {
			return fmt.Errorf("search the highest rate, at %d files/s: %w", rate, err)
		}
		p99 := percentile(l.lags, 99)
		progress("%d files/s: p99 %v, backlog %d, written in %v", rate, p99, l.backlog, l.wrote)
		if l.wrote > searchTime*11/10 {
			note = fmt.Sprintf("the machine cannot write %d", rate)
			break
		}
		if p99 >= searchLag || l.backlog > 0 {
			note = fmt.Sprintf("at %d p99 %.0f ms, backlog %d", rate, ms(p99), l.backlog)
			break
		}
		holds, note = rate, "the highest tried"
	}
	b.table.info("sersync: highest rate that holds", float64(holds), "files/s", note)
	return nil
}

// steady puts one load on one competitor.
func (b *bench) steady(ctx context.Context, p peer, rate int, length time.Duration) (l load, err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, p.name, 1)
	if err != nil {
		return l, err
	}
	c := newContent()
	if err := site.prepare(steadyDirs, 0, c); err != nil {
		return l, fmt.Errorf("prepare the steady load: %w", err)
	}
	if err := site.start(ctx, p); err != nil {
		return l, err
	}
	if err := site.ready(ctx); err != nil {
		return l, err
	}
	seen, err := newObserver(stage, site.targets[0])
	if err != nil {
		return l, err
	}
	files := planLoad(rate, length)
	sourceBefore, targetBefore, err := site.used()
	if err != nil {
		return l, err
	}
	l, err = site.carry(ctx, seen, files, rate, c)
	if err != nil {
		return l, err
	}
	source, target, err := site.used()
	l.source, l.target = source-sourceBefore, target-targetBefore
	return l, errors.Join(err, compareTrees(site.source, site.targets[0]))
}

// used is the CPU time of both ends so far.
func (s *site) used() (source, target time.Duration, err error) {
	source, errSource := s.sourceCPU.used()
	target, errTarget := s.targetCPU.used()
	return source, target, errors.Join(errSource, errTarget)
}

// loadFile is one file of a steady load.
type loadFile struct {
	name string
	size int
	// written and arrived are when its writing began and when it was complete on the target.
	written, arrived time.Time
}

// planLoad settles names and sizes, the same ones for every competitor.
func planLoad(rate int, length time.Duration) []loadFile {
	random := rand.New(rand.NewPCG(1, 2))
	files := make([]loadFile, int(float64(rate)*length.Seconds()))
	for i := range files {
		files[i].name = filepath.Join(dirName(i%steadyDirs), fmt.Sprintf("n%06d", i))
		files[i].size = 10<<10 + random.IntN(90<<10+1)
	}
	return files
}

// carry writes the files at the rate and sees when each is complete on the target.
func (s *site) carry(ctx context.Context, seen *observer, files []loadFile, rate int, c *content) (load, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lastWrite := make(chan error, 1)
	began := time.Now()
	go func() { lastWrite <- writeLoad(ctx, s.source, files, rate, c) }()
	length := time.Duration(len(files)) * time.Second / time.Duration(rate)
	watched := watchLoad(ctx, seen, s.targets[0], files, began.Add(length+drainLimit))
	if watched != nil {
		cancel()
	}
	if err := errors.Join(<-lastWrite, watched); err != nil {
		return load{}, err
	}
	l := load{rate: rate}
	end := files[len(files)-1].written
	l.wrote = end.Sub(began)
	for _, f := range files {
		l.lags = append(l.lags, f.arrived.Sub(f.written))
		l.behind = max(l.behind, f.arrived.Sub(end))
		if f.arrived.After(end.Add(backlogAfter)) {
			l.backlog++
		}
	}
	return l, nil
}

// writeLoad writes each file at its time.
func writeLoad(ctx context.Context, source string, files []loadFile, rate int, c *content) error {
	began := time.Now()
	for i := range files {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if left := time.Until(due); left > 0 {
			// Finer than a Go timer, which may be a millisecond late.
			left := unix.NsecToTimespec(int64(left))
			if err := unix.Nanosleep(&left, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("sleep: %w", err)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f := &files[i]
		data := c.next(f.size)
		f.written = time.Now()
		if err := os.WriteFile(filepath.Join(source, f.name), data, 0o644); err != nil {
			return fmt.Errorf("write the load: %w", err)
		}
	}
	return nil
}

// watchLoad notes when each file has its full size on the target, until all have.
func watchLoad(ctx context.Context, seen *observer, target string, files []loadFile, deadline time.Time) error {
	index := make(map[string]*loadFile, len(files))
	for i := range files {
		index[files[i].name] = &files[i]
	}
	for left := len(files); left > 0; {
		sightings, err := seen.next(ctx, deadline)
		if err != nil {
			return fmt.Errorf("%d of %d files are missing: %w", left, len(files), err)
		}
		for _, at := range sightings {
			f := index[at.path]
			if f == nil || !f.arrived.IsZero() {
				continue
			}
			if info, err := os.Lstat(filepath.Join(target, f.name)); err == nil && info.Size() == int64(f.size) {
				f.arrived = at.at
				left--
			}
		}
	}
	return nil
}
