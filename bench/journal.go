package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// keptFiles is the burst of this row: longer than the journal waits with its writing.
const keptFiles = 10_000

// keptBurst is what bursts showed of a journal on the disk, or of one in memory.
type keptBurst struct {
	took, cpu []time.Duration
	// written is what went to disks for one burst, in MB.
	written float64
}

// measureJournal measures what it costs to keep the journal on the disk: the same sersync with a journal on the disk
// and one in memory, in turns. The trees are where those of the other rows are.
func measureJournal(ctx context.Context, b *bench) error {
	if !b.takesPart("sersync") {
		return nil
	}
	if err := b.measureKeptBurst(ctx); err != nil {
		return err
	}
	return b.measureKeptLatency(ctx)
}

func (b *bench) measureKeptBurst(ctx context.Context) error {
	rounds, files := 7, keptFiles
	if b.short {
		rounds, files = 1, keptFiles/5
	}
	var memory, disk keptBurst
	for round := range rounds {
		both := []*keptBurst{&memory, &disk}
		if round%2 == 1 {
			both[0], both[1] = both[1], both[0]
		}
		for _, k := range both {
			if err := b.keptBurst(ctx, k, files, k == &disk); err != nil {
				return fmt.Errorf("burst, journal on disk %t: %w", k == &disk, err)
			}
		}
		progress("burst of %d: in memory %v, on disk %v", files, memory.took[round], disk.took[round])
	}
	b.keptFigures(files, &memory, &disk)
	return nil
}

// keptFigures compares the two.
func (b *bench) keptFigures(files int, memory, disk *keptBurst) {
	for _, k := range []struct {
		name string
		*keptBurst
	}{{"in memory", memory}, {"on disk", disk}} {
		b.table.info(fmt.Sprintf("burst of %d files, journal %s", files, k.name), seconds(median(k.took)), "s",
			fmt.Sprintf("%s; source CPU %.2f s; written to disks %.1f MB", rounds(k.took), seconds(median(k.cpu)), k.written))
	}
	b.table.atMost("burst: journal on disk against in memory", medianRatio(disk.took, memory.took), 1.1, "times",
		fmt.Sprintf("median of the rounds; of the medians %.2f", ratio(median(disk.took), median(memory.took))))
	b.table.info("burst: source CPU, on disk against in memory", medianRatio(disk.cpu, memory.cpu), "times",
		fmt.Sprintf("median of the rounds; of the medians %.2f", ratio(median(disk.cpu), median(memory.cpu))))
}

// medianRatio compares round by round: what else the machine does changes from round to round, and little within one.
func medianRatio(a, b []time.Duration) float64 {
	var ratios []float64
	for i := range a {
		ratios = append(ratios, ratio(a[i], b[i]))
	}
	slices.Sort(ratios)
	return ratios[(len(ratios)-1)/2]
}

// keptBurst measures one burst, until the target is identical and sersync at rest.
func (b *bench) keptBurst(ctx context.Context, k *keptBurst, files int, onDisk bool) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, "kept", 1)
	if err != nil {
		return err
	}
	c := newContent()
	if err := site.prepare(burstDirs, 0, c); err != nil {
		return fmt.Errorf("prepare the burst: %w", err)
	}
	if err := site.start(ctx, b.keptPeer(onDisk)); err != nil {
		return err
	}
	if err := site.ready(ctx); err != nil {
		return err
	}
	before, err := site.cost()
	if err != nil {
		return err
	}
	began := time.Now()
	names, err := writeBurst(site.source, files, c)
	if err != nil {
		return err
	}
	at, err := site.identical(ctx, 0, names, burstLimit)
	if err != nil {
		return err
	}
	// What is still to be written is part of the price.
	status, err := site.rest(ctx)
	if err != nil {
		return err
	}
	if (status.Journal.Path != "") != onDisk {
		return fmt.Errorf("the journal is kept at %q", status.Journal.Path)
	}
	after, err := site.cost()
	if err != nil {
		return err
	}
	k.took = append(k.took, at.Sub(began))
	k.cpu = append(k.cpu, after.cpu-before.cpu)
	k.written = after.written - before.written
	return nil
}

// cost is the CPU time of the source so far, and what its sersync wrote to disks in MB.
type cost struct {
	cpu     time.Duration
	written float64
}

// cost asks for both.
func (s *site) cost() (c cost, err error) {
	if c.cpu, err = s.sourceCPU.used(); err != nil {
		return c, err
	}
	c.written, err = written(s.process.pid())
	return c, err
}

// measureKeptLatency measures single changes, both sersyncs being up at the same time on a tree of their own.
func (b *bench) measureKeptLatency(ctx context.Context) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	var both []*contestant
	for _, name := range []string{"in memory", "on disk"} {
		p := b.keptPeer(name == "on disk")
		p.name = name
		c, err := newContestant(ctx, stage, p, 1)
		if err != nil {
			return err
		}
		both = append(both, c)
	}
	progress("%d changes with the journal in memory and on disk", b.samples)
	if err := b.alternate(ctx, both, b.samples, (*contestant).sampleChange); err != nil {
		return err
	}
	for _, c := range both {
		b.table.info("change, journal "+c.name+": p50", ms(median(c.change)), "ms",
			fmt.Sprintf("p95 %.2f, p99 %.2f ms, %d samples", ms(percentile(c.change, 95)), ms(percentile(c.change, 99)), len(c.change)))
	}
	b.table.info("change: p50, on disk against in memory", ratio(median(both[1].change), median(both[0].change)), "times", "")
	b.table.info("change: p99, on disk against in memory", ratio(percentile(both[1].change, 99), percentile(both[0].change, 99)), "times", "")
	return nil
}

// fileSystem names the file system of a directory.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err.Error()
	}
	names := map[int64]string{
		unix.TMPFS_MAGIC: "tmpfs", unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs",
		unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	if name := names[st.Type]; name != "" {
		return name
	}
	return fmt.Sprintf("a file system of type %#x", st.Type)
}
