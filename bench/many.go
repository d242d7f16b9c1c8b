package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// manyModules are the targets of one source, each a module of the same receiver; each gets manyFiles.
	manyModules = 100
	manyFiles   = 1000
	// manyMemory is what sender and receiver may have resident together then, in MB of 10^6 bytes.
	manyMemory = 500
	// memoryEvery is how often memory is looked at.
	memoryEvery = 200 * time.Millisecond
)

// measureMany measures what further targets of the stream of our own cost the source, and a receiver with many modules.
func measureMany(ctx context.Context, b *bench) error {
	if !b.takesPart("native") {
		return nil
	}
	count, files, modules := 3, massFiles, manyModules
	if b.short {
		count, files, modules = 1, massFiles/5, manyModules/5
	}
	used := make(map[int][]time.Duration)
	for round := range count {
		for i := range 2 {
			targets := []int{1, 10}[(round+i)%2]
			cpu, err := b.burstCPU(ctx, b.nativePeer(), targets, files)
			if err != nil {
				return fmt.Errorf("burst to %d native targets: %w", targets, err)
			}
			progress("burst of %d, source CPU for %d native targets: %v", files, targets, cpu)
			used[targets] = append(used[targets], cpu)
		}
	}
	one, ten := median(used[1]), median(used[10])
	b.table.info(fmt.Sprintf("burst of %d files, source CPU: 1 native target", files), seconds(one), "s", rounds(used[1]))
	b.table.info(fmt.Sprintf("burst of %d files, source CPU: 10 native targets", files), seconds(ten), "s", rounds(used[10]))
	b.table.atMost("source CPU, 10 native targets against 1", ratio(ten, one), 3, "times", "")
	return b.measureModules(ctx, modules)
}

// measureModules writes to many modules of one receiver at once: one source with as many targets.
func (b *bench) measureModules(ctx context.Context, modules int) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, "many", modules)
	if err != nil {
		return err
	}
	c := newContent()
	if err := site.prepare(burstDirs, 0, c); err != nil {
		return fmt.Errorf("prepare the burst: %w", err)
	}
	if err := site.up(ctx, b.nativePeer()); err != nil {
		return err
	}
	m := site.watchMemory(ctx)
	began := time.Now()
	lost, at, err := site.burstToAll(ctx, c)
	most, errMemory := m.stop()
	if err := errors.Join(err, errMemory); err != nil {
		return err
	}
	what := fmt.Sprintf("burst of %d files to %d modules of one receiver: ", manyFiles, modules)
	b.table.info(what+"all identical after", seconds(at.Sub(began)), "s", "")
	b.table.atMost(what+"targets that are not identical", float64(lost), 0, "targets", "")
	b.table.atMost(what+"memory of sender and receiver", most.pss, manyMemory, "MB",
		fmt.Sprintf("sum of PSS of %d processes, the most of %d looks; the sender %.1f MB", most.processes, most.looks, most.sender))
	return nil
}

// burstToAll writes a burst and returns how many targets did not become identical in time, and when the last one did.
func (s *site) burstToAll(ctx context.Context, c *content) (lost int, last time.Time, err error) {
	written, err := writeBurst(s.source, manyFiles, c)
	if err != nil {
		return 0, last, err
	}
	for i := range s.targets {
		at, err := s.identical(ctx, i, written, burstLimit)
		switch {
		case errors.Is(err, errTimeout):
			lost++
		case err != nil:
			return lost, last, err
		}
		last = at
	}
	return lost, last, nil
}

// memoryUse is what sender and receiver have resident, in MB of 10^6 bytes: pages that processes share are counted once.
type memoryUse struct {
	pss, sender      float64
	processes, looks int
}

// memoryWatch looks for the most.
type memoryWatch struct {
	cancel context.CancelFunc
	done   chan struct{}
	most   memoryUse
	err    error
}

// watchMemory looks at the memory of all processes of the site until it is stopped.
func (s *site) watchMemory(ctx context.Context) *memoryWatch {
	ctx, cancel := context.WithCancel(ctx)
	m := &memoryWatch{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for m.err == nil && ctx.Err() == nil {
			var now memoryUse
			now, m.err = s.memory()
			now.looks = m.most.looks + 1
			if now.pss < m.most.pss {
				m.most.looks = now.looks
			} else {
				m.most = now
			}
			_ = pause(ctx, memoryEvery) // its end is the next condition
		}
	}()
	return m
}

func (m *memoryWatch) stop() (memoryUse, error) {
	m.cancel()
	<-m.done
	return m.most, m.err
}

// memory sums up all processes of sender and receiver.
func (s *site) memory() (memoryUse, error) {
	var use memoryUse
	for _, root := range []int{s.process.pid(), s.daemon.pid()} {
		pids, err := trees([]int{root})
		if err != nil {
			return use, err
		}
		for pid := range pids {
			pss, err := proportional(pid)
			if err != nil {
				return use, err
			}
			use.pss += pss
			use.processes++
			if root == s.process.pid() {
				use.sender += pss
			}
		}
	}
	return use, nil
}

// proportional is the PSS of a process in MB of 10^6 bytes; 0 of one that has ended.
func proportional(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	_, text, _ := strings.Cut(string(data), "\nPss:")
	f := strings.Fields(text)
	if len(f) == 0 {
		return 0, fmt.Errorf("read memory of process %d: no Pss", pid)
	}
	kib, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	return kib * 1024 / 1e6, nil
}
