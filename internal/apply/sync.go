package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Sync makes durable what was done before it was called. When it has returned nil, a loss of power takes nothing of that back.
func (t *Tree) Sync() error {
	w := &t.waiting
	w.syncing.Lock()
	defer w.syncing.Unlock()
	err := errors.Join(w.failed, t.sync())
	w.failed = nil
	return err
}

// syncBeside is a Sync for other reasons than to tell somebody that all is durable, when it is still needed once those before it are done.
func (t *Tree) syncBeside(needed func() bool) error {
	w := &t.waiting
	w.syncing.Lock()
	defer w.syncing.Unlock()
	if !needed() {
		return nil
	}
	err := t.sync()
	if err != nil {
		w.failed = err
	}
	return err
}

// bound syncs when too much waits.
func (t *Tree) bound() error {
	if !t.waiting.full() {
		return nil
	}
	return t.syncBeside(t.waiting.full)
}

// settle syncs when anything waits.
func (t *Tree) settle() error {
	waits := func() bool { return t.waiting.has(change.Root) }
	if !waits() {
		return nil
	}
	return t.syncBeside(waits)
}

// roomy does something, and again when there was no space for it and what waits, which holds space, has made some.
func (t *Tree) roomy(do func() error) error {
	for {
		before := t.waiting.freedSoFar()
		err := do()
		if !isAny(err, unix.ENOSPC, unix.EDQUOT) {
			return err
		}
		// The order matters: a Sync that runs ends, for both, in one step.
		waits := t.waiting.has(change.Root)
		if t.waiting.freedSoFar() == before && (!waits || t.settle() != nil) {
			return err
		}
	}
}

// sync also makes the removal of the temporary names durable: one that was found after a loss of power would have Recover take
// back what was synced.
func (t *Tree) sync() error {
	w := &t.waiting
	mounts, bytes, some := w.begin()
	err := t.syncAll(mounts)
	if err == nil && some {
		err = errors.Join(t.reapAll(), t.syncAll(mounts))
	}
	w.end(err != nil, mounts, bytes)
	if err != nil {
		return fmt.Errorf("sync target %q: %w", t.name, err)
	}
	return nil
}

// reapAll removes what is going. A directory is not renamed meanwhile, or its names would be looked for where it was.
func (t *Tree) reapAll() error {
	w := &t.waiting
	var errs []error
	for {
		w.moving.Lock()
		at, names, some := w.next()
		if !some {
			w.moving.Unlock()
			return errors.Join(errs...)
		}
		err := t.reap(at, names)
		w.gone(at, names, err != nil)
		w.moving.Unlock()
		errs = append(errs, err)
	}
}

func (t *Tree) syncAll(mounts map[uint64]change.Path) error {
	err := unix.Syncfs(t.top.fd)
	for dev, path := range mounts {
		d, e := t.enter(path)
		if e != nil {
			continue // it was unmounted, which syncs, or removed
		}
		if d.dev == dev {
			err = errors.Join(err, unix.Syncfs(d.fd))
		}
		t.leave(d)
	}
	return err
}

// reap removes temporary names from a directory, whose time stays.
func (t *Tree) reap(at change.Path, names []string) error {
	d, err := t.enter(at)
	if notThere(err) {
		return nil // the directory went, and they with it
	}
	if err != nil {
		return err
	}
	defer t.leave(d)
	return t.reapIn(d, names)
}

func (t *Tree) reapIn(d *dir, names []string) error {
	t.times.Lock()
	defer t.times.Unlock()
	var before unix.Stat_t
	if err := unix.Fstat(d.fd, &before); err != nil {
		return err
	}
	n := node{fd: d.fd, path: true, files: t.o.OpenFiles}
	for _, name := range names {
		err := t.reapName(d, name)
		if errors.Is(err, unix.EACCES) && n.chmod(before.Mode&0o7777|0o700) == nil { // ours, and not to be written to
			err = t.reapName(d, name)
			_ = n.chmod(before.Mode & 0o7777)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	_ = node{fd: d.fd}.setMtime(before.Mtim.Nano()) // it may belong to another; then it was not set before either
	return nil
}

func (t *Tree) reapName(d *dir, name string) error {
	err := unix.Unlinkat(d.fd, name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = t.reapDir(d, name)
	}
	return err
}

// reapDir takes the name away first, so that no Recover goes back to half a directory.
func (t *Tree) reapDir(d *dir, name string) error {
	other := t.temp(name)
	if err := unix.Renameat(d.fd, name, d.fd, other); err != nil {
		return err
	}
	return removeTree(d.fd, other)
}
