package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// What is done to the daemon under test, as the table names it.
const (
	killed      = "daemon killed with -9"
	killedEarly = "of these before it was up"
	stopped     = "daemon stopped and started"
	reloaded    = "daemon reloaded"
	struck      = "created, sent, daemon killed, removed"
	overflowed  = "start with a queue of 64 events"
	movedBack   = "moved away and back while it was down"
	swapped     = "directories swapped while it was down"
	emptied     = "directory removed and made again while it was down"
	powerCut    = "power cut at the source"
	stateFull   = "state directory full"
)

// lives has the daemon under test live again and again, and judges each life, until ctx ends. The last life goes on.
func (t *torture) lives(ctx context.Context) error {
	rnd := t.random(2)
	for n := 0; ; n++ {
		err := t.live(ctx, rnd)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := errors.Join(t.whileDown(ctx, rnd), t.judge(), t.restart(ctx, rnd)); err != nil {
			return err
		}
	}
}

// live lets it live for a while and ends that life in one way or another. When ctx ends it lives on.
func (t *torture) live(ctx context.Context, rnd *rand.Rand) error {
	if rnd.IntN(8) == 0 {
		if !pause(ctx, time.Duration(rnd.IntN(150))*time.Millisecond) {
			return nil
		}
		t.done(killedEarly)
		return t.killIt()
	}
	if err := t.subject.up(ctx); err != nil {
		return err
	}
	if err := t.subject.unbraked(ctx); err != nil {
		return err
	}
	if t.power != nil && rnd.IntN(5) == 0 {
		t.done(stateFull)
		if err := t.power.fill(); err != nil {
			return err
		}
	}
	if !pause(ctx, t.lifetime(rnd)) {
		return nil
	}
	if err := t.subject.alive(); err != nil {
		return err
	}
	if t.power != nil && rnd.IntN(2) == 0 {
		// Else it is killed while there is no room.
		if err := t.power.release(); err != nil {
			return err
		}
	}
	return t.end(ctx, rnd)
}

// end ends a life in one way or another.
func (t *torture) end(ctx context.Context, rnd *rand.Rand) error {
	if t.power != nil && rnd.IntN(3) == 0 {
		return t.power.cutSource(t)
	}
	switch rnd.IntN(8) {
	case 0:
		t.done(stopped)
		return t.subject.stop()
	case 1:
		t.done(reloaded)
		if err := t.subject.reload(); err != nil || !pause(ctx, time.Duration(rnd.IntN(400))*time.Millisecond) {
			return err
		}
		return t.killIt()
	case 2:
		return t.strike(ctx, rnd)
	}
	return t.killIt()
}

// lifetime is how long a life lasts once it is up: some are long, unless many kills were asked for.
func (t *torture) lifetime(rnd *rand.Rand) time.Duration {
	most := 2500 * time.Millisecond
	if rnd.IntN(5) == 0 {
		most = 12 * time.Second
	}
	if t.o.Kills > 0 {
		most = min(most, 2*t.o.Duration/time.Duration(t.o.Kills))
	}
	return time.Duration(rnd.Int64N(int64(most) + 1))
}

func (t *torture) killIt() error {
	t.done(killed)
	return t.subject.kill()
}

// restart starts it again, each time with one of the ways to notice changes. The queue of inotify may be a short one.
func (t *torture) restart(ctx context.Context, rnd *rand.Rand) error {
	way, overflow := "auto", rnd.IntN(8) == 0 && os.Geteuid() == 0
	if overflow || rnd.IntN(2) == 0 {
		way = "inotify"
	}
	if err := t.subject.watchBy(way); err != nil {
		return err
	}
	if !overflow {
		return t.subject.start(nil)
	}
	t.done(overflowed)
	return withShortQueue(func(before func() error) error {
		err := t.subject.start(before)
		if err == nil {
			err = t.subject.up(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
}

// done notes and counts what is done.
func (t *torture) done(what string, about ...any) {
	t.harms.add(what)
	t.note("%s %s", what, fmt.Sprint(about...))
}

// strike makes something, waits until it is on a target or for a moment, kills, and removes it again: what was sent and is not
// known to be there must go all the same.
func (t *torture) strike(ctx context.Context, rnd *rand.Rand) error {
	t.done(struck)
	name := fmt.Sprintf("strike/s%d", rnd.Uint32())
	path := filepath.Join(t.source, name)
	t.oracle.touched(path, true)
	err := error(nil)
	if rnd.IntN(2) == 0 {
		err = os.WriteFile(path, []byte(name), 0o644)
	} else {
		err = errors.Join(os.MkdirAll(path+"/sub", 0o755), os.WriteFile(path+"/sub/f", []byte(name), 0o644))
	}
	if err != nil {
		return fmt.Errorf("strike: %w", err)
	}
	seen := poll(ctx, time.Duration(rnd.IntN(1500))*time.Millisecond, "it on a target", func() (bool, error) {
		for _, g := range t.targets {
			if _, err := os.Lstat(filepath.Join(g.tree, name)); err == nil {
				return true, nil
			}
		}
		return false, nil
	})
	if err := t.killIt(); err != nil {
		return err
	}
	t.oracle.touched(path, true)
	t.note("%s was seen: %v", name, seen == nil)
	return os.RemoveAll(path)
}

// whileDown is what happens between two lives, beside what the writers do.
func (t *torture) whileDown(ctx context.Context, rnd *rand.Rand) error {
	switch rnd.IntN(8) {
	case 0, 1:
		pause(ctx, time.Duration(rnd.IntN(800))*time.Millisecond)
	case 2, 3:
		t.done(movedBack)
		return t.moveBack(rnd)
	case 4:
		t.done(swapped)
		return t.swap(rnd.IntN(areas), rnd.IntN(areas))
	case 5:
		t.done(emptied)
		return t.empty(t.area(rnd.IntN(areas)))
	}
	return nil
}

// moveBack moves a directory that nobody changes out of the root and back: nothing below it may be sent.
func (t *torture) moveBack(rnd *rand.Rand) error {
	dir := filepath.Join(t.source, fmt.Sprintf("quiet/d%d", rnd.IntN(quietDirs)))
	out := t.below("away/quiet")
	t.oracle.touched(dir, false)
	if err := errors.Join(os.Rename(dir, out), os.Rename(out, dir)); err != nil {
		return fmt.Errorf("move away and back: %w", err)
	}
	t.oracle.touched(dir, false)
	return nil
}

func (t *torture) swap(a, b int) error {
	if a == b {
		return nil
	}
	one, other, out := t.area(a), t.area(b), t.below("away/area")
	for range 2 {
		defer t.oracle.touched(one, true)
		t.oracle.touched(one, true)
		one, other = other, one
	}
	if err := errors.Join(os.Rename(one, out), os.Rename(other, one), os.Rename(out, other)); err != nil {
		return fmt.Errorf("swap directories: %w", err)
	}
	return nil
}

// empty removes an area. The writers in it may be quicker than a removal.
func (t *torture) empty(dir string) error {
	t.oracle.touched(dir, true)
	defer t.oracle.touched(dir, true)
	out := t.below("away/emptied")
	if err := errors.Join(os.Rename(dir, out), os.Mkdir(dir, 0o755), os.RemoveAll(out)); err != nil {
		return fmt.Errorf("remove a directory and make it again: %w", err)
	}
	return nil
}
