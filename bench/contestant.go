package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// The idle tree of the row latency.
const (
	idleDirs      = 20
	idleFilesEach = 50
	// sampleLimit bounds the wait for one change.
	sampleLimit = 30 * time.Second
	// rest is the time between two samples: what a competitor does after a change must not fall into the next one's.
	rest = 40 * time.Millisecond
)

// contestant is one competitor of the row latency on its own idle tree, and what was measured of it.
type contestant struct {
	name string
	// every says in which rounds it takes part: every nth.
	every int
	site  *site
	// seen are the observers of its targets.
	seen []*observer
	// bare are the options of the rsync run that is started at each change; nil where a peer watches.
	bare    []string
	content *content
	// changed is how many files were changed so far: the next one to take.
	changed int
	failed  bool
	change  []time.Duration
	rename  []time.Duration
	remove  []time.Duration
}

// newContestant makes its tree and starts what it needs.
func newContestant(ctx context.Context, s *stage, p peer, targets int, unreachable ...string) (*contestant, error) {
	c := &contestant{name: p.name, every: 1, content: newContent()}
	var err error
	if c.site, err = newSite(s, p.name, targets); err != nil {
		return nil, err
	}
	if err := c.site.prepare(idleDirs, idleFilesEach, c.content); err != nil {
		return nil, fmt.Errorf("prepare the idle tree: %w", err)
	}
	if p.far {
		if err := c.site.relayed(farTrip / 2); err != nil {
			return nil, err
		}
	}
	c.site.urls = append(c.site.urls, unreachable...)
	if err := c.site.up(ctx, p); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	for _, target := range c.site.targets {
		o, err := newObserver(s, target)
		if err != nil {
			return nil, err
		}
		c.seen = append(c.seen, o)
	}
	return c, nil
}

// file names the next file to change.
func (c *contestant) file() string {
	i := c.changed % (idleDirs * idleFilesEach)
	c.changed++
	return filepath.Join(dirName(i%idleDirs), fmt.Sprintf("f%d", i/idleDirs))
}

// source and target are paths of a name.
func (c *contestant) source(name string) string { return filepath.Join(c.site.source, name) }

func (c *contestant) target(name string, i int) string {
	return filepath.Join(c.site.targets[i], name)
}

// sampleChange rewrites one file and adds a sample for every target.
func (c *contestant) sampleChange(ctx context.Context) error {
	return c.write(ctx, c.file(), c.content.next(blockSize))
}

// write rewrites the named file and adds a sample for every target.
func (c *contestant) write(ctx context.Context, name string, data []byte) error {
	lags, err := c.sample(ctx, func() (*exec.Cmd, error) {
		err := os.WriteFile(c.source(name), data, 0o644)
		if c.bare == nil {
			return nil, err
		}
		return bareFile(c.site, name, c.bare...), err
	}, func(i int) bool { return same(c.source(name), c.target(name, i)) })
	if err != nil {
		return fmt.Errorf("%s: change: %w", c.name, err)
	}
	c.change = append(c.change, lags...)
	return nil
}

// sampleRenameAndRemoval renames a file, removes it under its new name, and puts it back outside of the clock.
func (c *contestant) sampleRenameAndRemoval(ctx context.Context) error {
	name := c.file()
	renamed := name + ".r"
	run := func(err error, paths ...string) (*exec.Cmd, error) {
		if c.bare == nil {
			return nil, err
		}
		return bareRemoval(c.site, paths...), err
	}
	lags, err := c.sample(ctx, func() (*exec.Cmd, error) {
		return run(os.Rename(c.source(name), c.source(renamed)), name, renamed)
	}, func(i int) bool { return gone(c.target(name, i)) && same(c.source(renamed), c.target(renamed, i)) })
	if err != nil {
		return fmt.Errorf("%s: rename: %w", c.name, err)
	}
	c.rename = append(c.rename, lags...)
	lags, err = c.sample(ctx, func() (*exec.Cmd, error) {
		return run(os.Remove(c.source(renamed)), renamed)
	}, func(i int) bool { return gone(c.target(renamed, i)) })
	if err != nil {
		return fmt.Errorf("%s: remove: %w", c.name, err)
	}
	c.remove = append(c.remove, lags...)
	data := c.content.next(blockSize)
	_, err = c.sample(ctx, func() (*exec.Cmd, error) {
		return run(os.WriteFile(c.source(name), data, 0o644), name)
	}, func(i int) bool { return same(c.source(name), c.target(name, i)) })
	if err != nil {
		return fmt.Errorf("%s: put back: %w", c.name, err)
	}
	return nil
}

// sample makes a change and measures, from just before it, when it is on each of the targets. A bare run starts right
// at the change and is over before the next sample begins.
func (c *contestant) sample(ctx context.Context, change func() (*exec.Cmd, error), done func(target int) bool) ([]time.Duration, error) {
	if err := pause(ctx, rest); err != nil {
		return nil, err
	}
	began := time.Now()
	cmd, err := change()
	if err != nil {
		return nil, err
	}
	var run *process
	if cmd != nil {
		if run, err = startProcess(cmd, filepath.Join(c.site.dir, "bare.out")); err != nil {
			return nil, err
		}
	}
	lags := make([]time.Duration, len(c.seen))
	waits := make(chan error, len(c.seen))
	for i, o := range c.seen {
		go func() {
			at, err := o.until(ctx, sampleLimit, func() bool { return done(i) })
			lags[i] = at.Sub(began)
			waits <- err
		}()
	}
	for range c.seen {
		if waited := <-waits; err == nil {
			err = waited
		}
	}
	if run != nil {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, run.stop())
		}
		<-run.done
		if run.err != nil {
			return nil, fmt.Errorf("run rsync: %w: %s", run.err, run.tail())
		}
	}
	return lags, err
}
