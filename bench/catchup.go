package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sersync/internal/replicate"
)

// catchUp has the target come back.
func (a *away) catchUp(ctx context.Context, what string) error {
	status, err := a.site.status(ctx)
	if err != nil {
		return err
	}
	owed := target(status, a.remote.urls[0]).Waiting
	began := time.Now()
	if err := a.remote.startBare(ctx); err != nil {
		return err
	}
	// It tells of its start and of our look at its port.
	if err := pause(ctx, 20*time.Millisecond); err != nil {
		return err
	}
	listening, err := a.remote.logEnd()
	if err != nil {
		return err
	}
	var first time.Time
	_, err = a.site.until(ctx, backLimit, func(s replicate.Status) bool {
		if end, err := a.remote.logEnd(); first.IsZero() && err == nil && end > listening {
			first = time.Now()
		}
		return target(s, a.remote.urls[0]).Waiting == 0
	})
	if err != nil {
		return err
	}
	took := time.Since(first)
	if err := compareTrees(a.site.source, a.remote.targets[0]); err != nil {
		return err
	}
	sent, err := a.remote.transfersSince(listening)
	if err != nil {
		return err
	}
	bare, err := a.bareAgain(ctx)
	if err != nil {
		return err
	}
	t := &a.bench.table
	t.info(what+": catch-up after", seconds(took), "s",
		fmt.Sprintf("%d paths owed; it began %.1f s after the return; a bare rsync run of the same over the tree takes %.2f s", owed, seconds(first.Sub(began)), seconds(bare)))
	probes := a.probed
	t.atMost(what+": sent", float64(sent.files), float64(awayDirs*awayFilesEach+probes), "files",
		fmt.Sprintf("by the log of the rsync daemon: %d paths, %d of them probes; %d other items, %d runs", len(sent.names), probes, sent.others, sent.connects))
	return nil
}

// bareAgain is how long one bare rsync run takes for the same to the same target, as it was before.
func (a *away) bareAgain(ctx context.Context) (time.Duration, error) {
	old := time.Now().Add(-time.Hour)
	err := walk(a.remote.targets[0], func(name string, dir bool) error {
		if dir {
			return nil
		}
		return os.Chtimes(filepath.Join(a.remote.targets[0], name), old, old)
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	run, err := startProcess(bareTree(a.remote), filepath.Join(a.remote.dir, "bare.out"))
	if err != nil {
		return 0, err
	}
	a.remote.stage.onClose(run.stop)
	select {
	case <-run.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if run.err != nil {
		return 0, fmt.Errorf("run rsync: %w: %s", run.err, run.tail())
	}
	return time.Since(began), nil
}
