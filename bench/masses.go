package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// massFiles is how many files the stream of our own gets at once.
const massFiles = 10_000

// mass is one way to write many small files at once.
type mass struct {
	what string
	// replace: they are there already, on both sides, with other content. far: the targets are farTrip away. disk: the targets
	// are on one, the source is not: what a disk takes for the writing of the source would be in the time of those who work beside it.
	replace, far, disk bool
}

// massTook is what one peer took for masses, round by round.
type massTook struct {
	// took is from the first write until the target is identical, wrote the writing, run what came after it;
	// clear until no temporary name was left.
	took, wrote, run, clear []time.Duration
	// cpu is that of both ends, for all files.
	cpu []time.Duration
}

// measureMasses measures many small files in all ways.
func (b *bench) measureMasses(ctx context.Context) error {
	files, rounds := massFiles, 3
	if b.short {
		files, rounds = massFiles/5, 1
	}
	for _, m := range []mass{
		{what: "new files"},
		{what: fmt.Sprintf("new files, round trip %v", farTrip), far: true},
		{what: "replaced files", replace: true},
		{what: "replaced files, target on ext4 on a disk", replace: true, disk: true},
	} {
		m.what = fmt.Sprintf("%d %s", files, m.what)
		all := make(map[string]*massTook)
		err := b.inTurns(ctx, b.streamPeers(), rounds, func(ctx context.Context, p peer) error {
			if all[p.name] == nil {
				all[p.name] = new(massTook)
			}
			if err := b.mass(ctx, p, m, files, all[p.name]); err != nil {
				return fmt.Errorf("%s: %w", m.what, err)
			}
			took := all[p.name].took
			progress("%s, %s: %v", m.what, p.name, took[len(took)-1])
			return nil
		})
		if err != nil {
			return err
		}
		b.massFigures(m, files, all)
	}
	return nil
}

// mass measures one peer once.
func (b *bench) mass(ctx context.Context, p peer, m mass, files int, t *massTook) (err error) {
	stage, err := b.newStageOn(ctx, m.disk || b.disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	site, err := newSite(stage, p.name, 1)
	if err != nil {
		return err
	}
	if m.far {
		if err := site.relayed(farTrip / 2); err != nil {
			return err
		}
	}
	c := newContent()
	names := massNames(m, files)
	each := 0
	if m.replace {
		each = files / burstDirs
	}
	if err := site.prepare(burstDirs, each, c); err != nil {
		return fmt.Errorf("prepare the files: %w", err)
	}
	for _, dir := range []string{stage.dir, stage.targets} {
		if err := syncFileSystem(dir); err != nil {
			return err
		}
	}
	if err := site.up(ctx, p); err != nil {
		return err
	}
	return site.carryMass(ctx, p, names, c, t)
}

// massNames are the files: those of a prepared tree, or new ones.
func massNames(m mass, files int) []string {
	var names []string
	for i := range files {
		name := fmt.Sprintf("n%04d", i)
		if m.replace {
			name = fmt.Sprintf("f%d", i/burstDirs)
		}
		names = append(names, filepath.Join(dirName(i%burstDirs), name))
	}
	return names
}

// carryMass writes the files and measures until the target is identical.
func (s *site) carryMass(ctx context.Context, p peer, names []string, c *content, t *massTook) error {
	sourceBefore, targetBefore, err := s.used()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := writeAll(s.source, names, c); err != nil {
		return err
	}
	written := time.Now()
	if p.command == nil {
		if err := s.startRun(bareTree(s)); err != nil {
			return err
		}
	}
	at, err := s.identical(ctx, 0, names, burstLimit)
	if err != nil {
		return err
	}
	// What is done after the last file arrived is part of the price.
	if err := s.cleared(ctx, 0, burstLimit); err != nil {
		return err
	}
	t.clear = append(t.clear, time.Since(began))
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	source, target, err := s.used()
	if err != nil {
		return err
	}
	cpu := source - sourceBefore + target - targetBefore
	if s.bare != nil {
		<-s.bare.done
		if err := s.bare.failed(); err != nil {
			return err
		}
		cpu += s.bare.cmd.ProcessState.UserTime() + s.bare.cmd.ProcessState.SystemTime()
	}
	t.took = append(t.took, at.Sub(began))
	t.wrote = append(t.wrote, written.Sub(began))
	t.run = append(t.run, at.Sub(written))
	t.cpu = append(t.cpu, cpu)
	return nil
}

// massFigures compares the peers. The bare run had the files all written when it began: its own time, without the writing, is the
// harder measure.
func (b *bench) massFigures(m mass, files int, all map[string]*massTook) {
	perFile := func(t *massTook) float64 { return float64(median(t.cpu).Microseconds()) / float64(files) }
	for _, p := range b.streamPeers() {
		t := all[p.name]
		if t == nil || len(t.took) == 0 {
			continue
		}
		note := fmt.Sprintf("%s; written in %.2f s; CPU of both ends %.0f µs a file", rounds(t.took), seconds(median(t.wrote)), perFile(t))
		if p.command == nil {
			note += fmt.Sprintf("; the run alone %.2f s", seconds(median(t.run)))
		} else {
			note += fmt.Sprintf("; after the last write %.2f s", seconds(median(t.run)))
		}
		if p.receiver != nil && m.disk {
			note += fmt.Sprintf("; on the disk, and its temporary names gone, after %.2f s", seconds(median(t.clear)))
		}
		b.table.info(m.what+": "+p.name, seconds(median(t.took)), "s", note)
	}
	native, bare := all["native"], all["bare"]
	if native == nil || bare == nil || len(native.took) == 0 || len(bare.took) == 0 {
		return
	}
	what := m.what + ": the bare run over the finished tree against native"
	alone := ratio(median(bare.run), median(native.took))
	note := fmt.Sprintf("of native with the writing; with the writing of both %.2f", ratio(median(bare.took), median(native.took)))
	switch {
	case m.disk:
		b.table.atLeast(what, alone, 3, "times", note+"; "+imageDevice())
	case m.replace:
		b.table.atLeast(what, alone, 1, "times", note)
	default:
		b.table.info(what, alone, "times", note)
	}
	if !m.far && !m.replace {
		b.table.atMost(m.what+": CPU of both ends a file, native", perFile(native), perFile(bare), "µs", "the bound is that of the bare run")
	}
}

// syncFileSystem writes out what was prepared, which is not to be measured.
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %q: %w", dir, err)
	}
	return nil
}

// imageDevice names the device that the images of a stage lie on.
func imageDevice() string {
	var st unix.Stat_t
	err := unix.Stat(os.TempDir(), &st)
	if err != nil {
		return err.Error()
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	number := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, device, _ := strings.Cut(lines.Text(), " - ")
		if m, d := strings.Fields(mount), strings.Fields(device); len(m) > 2 && len(d) > 1 && m[2] == number {
			return fmt.Sprintf("the image lies on %s (%s)", d[1], d[0])
		}
	}
	return "the image lies on device " + number
}
