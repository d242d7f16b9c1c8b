package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sersync/internal/filter"
	"sersync/internal/httpd"
	"sersync/internal/tree"
)

// secondLook is how long after a harm a receiver that was cut off may still put an old file in place: sersync sends its paths again
// after a minute.
const secondLook = 75 * time.Second

// shownMax bounds the differences of a target that are shown; the log has all.
const shownMax = 30

// judge compares what was sent in the life that has ended with what had changed.
func (t *torture) judge() error {
	t.judgeFeed()
	began := t.subject.since()
	var earliest time.Time
	for i, g := range t.targets {
		if g.witness != nil {
			j, err := judge(t.oracle, i, g.witness, began)
			if err != nil {
				return err
			}
			t.found(j.wrong[:min(len(j.wrong), shownMax)]...)
			t.mu.Lock()
			t.sent += j.sent
			t.mu.Unlock()
		}
		if floor := t.oracle.floor(i, began); i == 0 || floor.Before(earliest) {
			earliest = floor
		}
	}
	t.oracle.forget(earliest)
	t.mu.Lock()
	t.restarts++
	t.mu.Unlock()
	return nil
}

// calm releases everything, waits for the targets, and compares them with the source.
func (t *torture) calm(ctx context.Context) error {
	began := time.Now()
	if err := t.release(ctx); err != nil {
		return err
	}
	if t.power != nil {
		if err := t.power.release(); err != nil {
			return err
		}
	}
	if t.subject.running() == nil {
		if err := t.subject.start(nil); err != nil {
			return err
		}
	}
	if err := t.subject.up(ctx); err != nil {
		return err
	}
	if err := t.subject.unbraked(ctx); err != nil {
		return err
	}
	// What failed is spaced by minutes; now it can be sent.
	if _, err := t.subject.client.Retry(ctx, httpd.PathsRequest{}); err != nil {
		return fmt.Errorf("try again what failed: %w", err)
	}
	if err := t.everythingThere(ctx); err != nil {
		return err
	}
	fmt.Fprintf(t.o.Out, "all harms are taken back, and sersync says that all is there, after %v\n", time.Since(began).Round(time.Millisecond))
	if err := t.compareAll(ctx); err != nil {
		return err
	}
	if err := t.judge(); err != nil {
		return err
	}
	return t.endAll()
}

// compareAll compares each target with the source. An rsync daemon that differs is given the time in which sersync looks again at what
// receivers that were cut off may have overwritten.
func (t *torture) compareAll(ctx context.Context) error {
	source, err := tree.Snapshot(t.source, nil)
	if err != nil {
		return err
	}
	t.paths = len(source)
	for i, g := range t.targets {
		first, err := t.compare(source, g)
		if err != nil {
			return err
		}
		left := first
		if g.ours() {
			if left, err = t.settled(ctx, source, g, left); err != nil {
				return err
			}
		}
		for until := t.harmed.Add(secondLook); !g.ours() && len(left) > 0 && time.Now().Before(until); {
			if !pause(ctx, time.Second) {
				return context.Cause(ctx)
			}
			if err := t.everythingThere(ctx); err != nil {
				return err
			}
			if left, err = t.compare(source, g); err != nil {
				return err
			}
		}
		for _, l := range first {
			t.note("target %d, at first: %s", i+1, l)
		}
		if len(left) == 0 {
			if t.late += len(first); len(first) > 0 {
				fmt.Fprintf(t.o.Out, "target %d: %d paths were put right by the second look\n", i+1, len(first))
			}
			continue
		}
		t.report(i, left)
	}
	return nil
}

// glance is how long the time of a directory of our own receiver may be another one: while a temporary name goes from it.
const glance = 2 * time.Second

// settled is what of left a target of our own still differs in a moment later.
func (t *torture) settled(ctx context.Context, source map[string]string, g *target, left []string) ([]string, error) {
	for until := time.Now().Add(glance); len(left) > 0 && time.Now().Before(until); {
		if !pause(ctx, glance/20) {
			return nil, context.Cause(ctx)
		}
		var err error
		if left, err = t.compare(source, g); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// report shows in what a target differs.
func (t *torture) report(target int, left []string) {
	for n, l := range left {
		if n < shownMax {
			t.found(fmt.Sprintf("target %d %s", target+1, l))
		} else {
			t.note("WRONG: target %d %s", target+1, l)
		}
	}
	if more := len(left) - shownMax; more > 0 {
		t.found(fmt.Sprintf("target %d differs in %d more paths; log/torture.log has all", target+1, more))
	}
}

// compare lists in what a target differs from the source. Temporary files do not count: those of rsync's receivers that were killed, for
// which the times of the directories that hold one do not count either, and those of our own, which go by and by without a trace.
func (t *torture) compare(source map[string]string, g *target) ([]string, error) {
	leftovers := map[string]bool{}
	there, err := tree.Snapshot(g.tree, func(rel string) bool {
		if g.ours() && strings.HasPrefix(filepath.Base(rel), filter.TempPrefix) {
			return true
		}
		if isPartial(rel) || !g.ours() && isTemporary(t.source, rel) {
			leftovers[filepath.Dir(rel)] = true
			return true
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	t.leftovers = max(t.leftovers, len(leftovers))
	here := source
	if len(leftovers) > 0 {
		here = make(map[string]string, len(source))
		for rel, line := range source {
			here[rel] = line
			if leftovers[rel] {
				here[rel], there[rel] = untimed(line), untimed(there[rel])
			}
		}
	}
	return tree.Differences(here, there), nil
}

// untimed is a line of a snapshot without the mtime.
func untimed(line string) string {
	kept, _, _ := strings.Cut(line, " mtime=")
	return kept
}

// show prints what was done and what came of it.
func (t *torture) show() {
	p := func(what string, n any) { fmt.Fprintf(t.o.Out, "  %-56s %v\n", what, n) }
	fmt.Fprintf(t.o.Out, "seed %d, target %s\n", t.o.Seed, t.o.Target)
	p("operations of the writers", t.ops.Load())
	for _, h := range t.harms.all() {
		p(h.what, h.n)
	}
	accepted := 0
	for _, g := range t.targets {
		if g.relay != nil {
			n, _ := g.relay.counts()
			accepted += n
		}
	}
	p("connections, and those of them that were cut", fmt.Sprintf("%d, %d", accepted, t.cuts()))
	p("lives of the daemon that were judged", t.restarts)
	p("starts that found the locks of a killed one", t.subject.held)
	p("paths that were changed by rsync", t.sent)
	p("paths that were handed to transports", t.asked)
	p("  of those known by name, unchanged and looked at again", fmt.Sprintf("%d of %d", t.inVain, t.named))
	p("paths in the source at the end", t.paths)
	p("paths put right by the second look only", t.late)
	p("directories with temporary files of killed receivers", t.leftovers)
	p("reads on targets that promise whole files", t.whole.reads.Load())
	p("a path may be sent again after a restart for", tailTime)
	if t.o.Soak {
		t.judgeCurves()
	}
	p("wrong", len(t.wrong))
	for _, w := range t.wrong {
		fmt.Fprintln(t.o.Out, "WRONG:", w)
	}
}

// clean removes all that was made.
func (t *torture) clean() error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(t.below(e.Name())))
	}
	return err
}
