package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// cuts is how many power cuts there are, limit how long a store may take to open and read.
	cuts  = 30
	limit = 60 * time.Second
)

// cut is the image of a disk as it was at one moment, and the newest transaction that was known to be on the disk just
// before, and known to be just after.
type cut struct {
	image         string
	before, after uint64
}

// powerCut takes images of a disk while transactions are written to it. The disk is a file on xfs, where a copy by
// FICLONE is one moment: it has every write that the disk was given by then, and none that came later or that was still
// in the page cache.
func powerCut(ctx context.Context, base string, c contestant, add func(row, cell string)) (err error) {
	outer, unmount, err := mountImage(ctx, filepath.Join(base, "outer.img"), 8<<30, "mkfs.xfs", "-q", "-f")
	if err != nil {
		return fmt.Errorf("make a disk that can be copied in a moment (apt-get install xfsprogs): %w", err)
	}
	defer func() { err = errors.Join(err, unmount()) }()
	taken, err := takeCuts(ctx, outer, c)
	if err != nil {
		return err
	}
	counts := map[string]int{}
	for _, t := range taken {
		said, err := inspect(ctx, c, t)
		if err != nil {
			return err
		}
		counts[said]++
	}
	add(fmt.Sprintf("power cut, %d times", cuts), tally(counts))
	return nil
}

func takeCuts(ctx context.Context, outer string, c contestant) (taken []cut, err error) {
	image := filepath.Join(outer, "disk.img")
	at, unmount, err := mountImage(ctx, image, 256<<20, "mkfs.ext4", "-q", "-F")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	w, err := startWriter(ctx, c, at)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	select {
	case <-w.first:
	case <-time.After(limit):
		return nil, errors.New("no transaction was written")
	}
	for n := range cuts {
		time.Sleep(20*time.Millisecond + rand.N(150*time.Millisecond))
		t := cut{image: fmt.Sprintf("%s.%d", image, n), before: w.newest.Load()}
		if err := clone(image, t.image); err != nil {
			return nil, err
		}
		// One more may be on the disk and not known yet, and one be on its way to us.
		t.after = w.newest.Load() + 2
		taken = append(taken, t)
	}
	if w.newest.Load() < cuts {
		return nil, fmt.Errorf("only %d transactions were written", w.newest.Load())
	}
	return taken, nil
}

// writer is a worker that commits without a pause. newest is the last transaction that it said to be on the disk; first
// is closed by the first.
type writer struct {
	newest atomic.Uint64
	first  chan struct{}
	cmd    *exec.Cmd
}

func startWriter(ctx context.Context, c contestant, dir string) (*writer, error) {
	cmd, err := command(ctx, "commits", c, dir, 5000)
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	w := &writer{cmd: cmd, first: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err == nil && w.newest.Swap(n) == 0 {
				close(w.first)
			}
		}
	}()
	return w, nil
}

func (w *writer) stop() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait() // it was killed
}

func clone(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := unix.IoctlFileClone(int(out.Fd()), int(in.Fd())); err != nil {
		return fmt.Errorf("clone %q: %w", from, err)
	}
	return nil
}

// inspect mounts the image, which replays the journal of ext4, and opens the store in it.
func inspect(ctx context.Context, c contestant, t cut) (said string, err error) {
	dir, unmount, err := mountImage(ctx, t.image, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unmount(), os.Remove(t.image)) }()
	r, how, words, err := try(ctx, limit, "read", c, dir, 0)
	switch {
	case err != nil:
		return "", err
	case how != fine:
		fmt.Fprintf(os.Stderr, "power cut of %s: %s: %s\n", c.name, how, words)
		return string(how), nil
	case !r.Content.Whole:
		return "NOT WHOLE", nil
	case r.Content.Number < t.before:
		return "whole, LOST synced", nil
	case r.Content.Number > t.after:
		return "", fmt.Errorf("found transaction %d when %d was the newest", r.Content.Number, t.after)
	}
	return "whole, all synced", nil
}
