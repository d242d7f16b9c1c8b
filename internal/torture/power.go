package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stateSize is small, so that it can be filled; targetSize holds what the writers make. In MiB.
	stateSize, targetSize = 64, 1024
	// ballast is the file that fills the state directory.
	ballast = "ballast"
)

// power cuts the power of the state directory and of the first target, each on an image of its own.
//
// The copy of a target is taken in the moment of the cut. rsync does not sync what it writes, and so a target may lose what it took in
// the last half minute or so; sersync looks again at what it acked in the last minute. An older copy would have lost
// more than a loss of power does. A receiver of sersync says what is on its disk.
type power struct{ state, target *image }

// newPower makes the images; that of the target only when it is on another machine than the source.
func newPower(t *torture, away bool) (p *power, err error) {
	p = &power{}
	if p.state, err = newImage(t.below("state.img"), t.below("state"), stateSize, int(t.o.Seed)); err != nil {
		return p, err
	}
	if !away {
		return p, nil
	}
	p.target, err = newImage(t.below("target1.img"), t.below("target1"), targetSize, int(t.o.Seed/2))
	return p, err
}

func (p *power) close() error {
	var err error
	for _, i := range []*image{p.state, p.target} {
		if i != nil {
			err = errors.Join(err, i.detach())
		}
	}
	return err
}

// filled syncs the first tree: its loss would be no loss of the last minute. A receiver of sersync does that by itself.
func (p *power) filled(ctx context.Context, g *target) error {
	if p.target == nil {
		return nil
	}
	if g.ours() {
		return durable(ctx, g)
	}
	dir, err := os.Open(p.target.mount)
	if err != nil {
		return fmt.Errorf("sync target: %w", err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("sync target: %w", err)
	}
	return nil
}

// cutSource is a loss of power at the source: the daemon under test goes with all that its state directory had not synced.
func (p *power) cutSource(t *torture) error {
	t.done(powerCut)
	proc := t.subject.running()
	err := errors.Join(proc.signal(sigFreeze), p.state.crash())
	return errors.Join(err, t.subject.kill(), p.state.restore())
}

// cutTarget is a loss of power at the target: what takes what is sent goes, and what was not synced.
func (p *power) cutTarget(ctx context.Context, t *torture, off time.Duration) error {
	g := t.targets[0]
	t.done(targetPowerCut)
	// Also when ctx has ended: the next one needs what comes.
	ctx = context.WithoutCancel(ctx)
	g.readers.Lock()
	defer g.readers.Unlock()
	g.cuts++
	err := errors.Join(g.server.signalAll(sigFreeze), p.target.crash(), g.server.stop())
	if err == nil {
		err = p.target.restore()
	}
	g.relay.cutAll()
	pause(ctx, off)
	r, ours := g.server.(*receiver)
	if err != nil || !ours {
		return errors.Join(err, g.server.start(ctx))
	}
	g.relay.set(manner{hang: true})
	defer g.relay.set(manner{})
	r.booted = time.Now()
	if err := r.start(ctx); err != nil {
		return err
	}
	return t.afterPowerCut(ctx, g)
}

// fill fills the file system of the state directory, until release.
func (p *power) fill() error {
	f, err := os.OpenFile(p.state.mount+"/"+ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill state directory: %w", err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, unix.ENOSPC):
			size /= 2
		case err != nil:
			return fmt.Errorf("fill state directory: %w", err)
		}
	}
	return nil
}

// release takes the ballast away.
func (p *power) release() error {
	err := os.Remove(p.state.mount + "/" + ballast)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
