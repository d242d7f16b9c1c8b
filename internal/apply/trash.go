package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// The trash is a directory of the root, with one for each day, in which what goes has the path that it had. What goes is renamed to
// there: so a kill finds it in one place or the other, and what waits for a Sync follows it as it does any rename.

// trashed is where a path goes on a day.
func trashed(day string, p change.Path) change.Path {
	at := change.Path(filter.TrashName).Join(day)
	if p == change.Root {
		return at
	}
	return at.Join(string(p))
}

// Discard is Remove, but what goes is in the trash of a day (YYYY-MM-DD) afterwards: a directory with all that is below it by one rename, unless
// the day has one of that name already; then they become one, and of what is in both the newer stays. An empty directory is gone.
// What is on another file system than the root stays, with an error.
func (t *Tree) Discard(p change.Path, day string) (Done, error) {
	return t.discard(p, day, false)
}

// DiscardExact is RemoveExact to the trash of a day.
func (t *Tree) DiscardExact(p change.Path, day string) (Done, error) {
	return t.discard(p, day, true)
}

func (t *Tree) discard(p change.Path, day string, exactly bool) (done Done, err error) {
	err = t.roomy(func() error {
		done, err = t.remove(p, func(d *dir, name string) (left bool, err error) {
			err = unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
			switch {
			case err == nil:
				t.forget(p)
				return false, nil
			case isAny(err, unix.ENOTEMPTY, unix.EEXIST) && exactly:
				return t.removeEmpty(d, p)
			case isAny(err, unix.ENOTEMPTY, unix.EEXIST):
				return false, t.toTrash(d, p, day, func(slot *dir) error { return t.take(d, slot, p) })
			case errors.Is(err, unix.ENOTDIR):
				return false, t.toTrash(d, p, day, func(slot *dir) error { return t.takeFile(d, slot, p, day) })
			}
			return false, err
		})
		return err
	})
	return done, err
}

// spare has what tmp is about to replace in the trash when it is of another type, and reports whether tmp is in its place by that.
func (t *Tree) spare(d *dir, tmp string, p change.Path, old Old, regular bool) (placed bool, err error) {
	if old.Day == "" {
		return false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, p.Name(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, ignore(err, unix.ENOENT)
	}
	switch was := st.Mode & unix.S_IFMT; {
	case was == unix.S_IFREG && regular, was == unix.S_IFDIR && old.Keep:
		return false, nil
	case was == unix.S_IFDIR:
		err = t.toTrash(d, p, old.Day, func(slot *dir) error {
			placed, err = t.exchange(d, tmp, slot, p, regular && t.lasting)
			return err
		})
	default:
		err = t.toTrash(d, p, old.Day, func(slot *dir) error {
			if t.waiting.has(p) {
				return errWaits
			}
			return double(d, slot, p.Name())
		})
	}
	return placed, err
}

// toTrash does something by which p, in d, gets into slot, where it keeps its name.
func (t *Tree) toTrash(d *dir, p change.Path, day string, do func(slot *dir) error) error {
	if d.dev != t.top.dev {
		return errElsewhere
	}
	for tries := 0; ; {
		err := t.toTrashNow(d, p, day, do)
		if err == errWaits {
			if err = t.settle(); err == nil {
				continue
			}
		}
		var st unix.Stat_t
		if notThere(err) && unix.Fstatat(d.fd, p.Name(), &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			// It is the trash that is not there, or another one by now, and nobody is to take it for p.
			t.forget(filter.TrashName)
			if tries++; tries < maxTries {
				continue
			}
			err = fmt.Errorf("%w: %v", errBusy, err)
		}
		return err
	}
}

func (t *Tree) toTrashNow(d *dir, p change.Path, day string, do func(slot *dir) error) error {
	t.waiting.moving.RLock()
	defer t.waiting.moving.RUnlock()
	slot, err := t.slot(p, day)
	if err != nil {
		return err
	}
	defer t.leave(slot)
	return do(slot)
}

// went notes that the directory p is in its slot, or that some of what was in it is.
func (t *Tree) went(p change.Path, slot *dir) {
	at := slot.path.Join(p.Name())
	t.forget(p)
	t.forget(at)
	t.waiting.moved(p, at)
	t.recovery.came(at)
}

// takeFile is take of what is no directory. What waits for it follows.
func (t *Tree) takeFile(d, slot *dir, p change.Path, day string) error {
	settle, err := t.carry(d, Move{From: p, To: trashed(day, p)})
	if err != nil {
		return err
	}
	err = t.merge(d.fd, slot.fd, p.Name(), 0)
	settle(err == nil)
	return err
}

// take renames the directory p, in d, to its slot.
func (t *Tree) take(d, slot *dir, p change.Path) error {
	if t.waiting.has(p) {
		return errWaits
	}
	err := renameNew(d, p.Name(), slot, p.Name())
	switch {
	case err == nil:
		t.went(p, slot)
		return nil
	case !isAny(err, unix.EEXIST, unix.EXDEV):
		return err
	case t.waiting.below(p): // it can follow one rename, and not one of each entry
		return errWaits
	}
	defer t.went(p, slot)
	return t.merge(d.fd, slot.fd, p.Name(), 0)
}

// double gives what is no directory its slot as a second name: the first one is for what replaces it in one step.
func double(d, slot *dir, name string) error {
	for range maxTries {
		err := unix.Linkat(d.fd, name, slot.fd, name, 0)
		switch {
		case errors.Is(err, unix.ENOENT):
			return unlessGone(err, d.fd, name)
		case isAny(err, append(unknownWay, unix.EPERM, unix.EMLINK)...): // FAT; the file of another
			err = renameNew(d, name, slot, name)
		}
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := removeTree(slot.fd, name); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return errBusy
}

// exchange puts tmp in the place of the directory p, which gets its slot in the same step: they exchange names. With lasting tmp
// is there under its own name afterwards, too, and waits. When it says that tmp is not placed, nothing is in its way but an empty directory.
func (t *Tree) exchange(d *dir, tmp string, slot *dir, p change.Path, lasting bool) (placed bool, err error) {
	name := p.Name()
	if t.waiting.has(p) {
		return false, errWaits
	}
	if lasting {
		err = unix.Linkat(d.fd, tmp, slot.fd, name, 0)
	} else {
		err = renameNew(d, tmp, slot, name)
	}
	if err != nil { // the day has one of this name already, or the file system has no such way
		return false, t.take(d, slot, p)
	}
	err = unix.Renameat2(slot.fd, name, d.fd, name, unix.RENAME_EXCHANGE)
	if err == nil {
		t.went(p, slot)
		if lasting {
			t.wait(d, tmp, 0)
		}
		_ = unix.Unlinkat(slot.fd, name, unix.AT_REMOVEDIR) // an empty one is not kept
		return true, nil
	}
	if lasting {
		err = errors.Join(ignore(err, unix.ENOENT), unix.Unlinkat(slot.fd, name, 0))
	} else {
		err = errors.Join(ignore(err, unix.ENOENT), renameNew(slot, name, d, tmp))
	}
	if isAny(err, append(unknownWay, unix.EXDEV)...) {
		err = t.take(d, slot, p)
	}
	return false, err
}

// unlessGone is nil when the error is that an entry is not there; what it is to be moved to may be missing as well.
func unlessGone(err error, fd int, name string) error {
	var st unix.Stat_t
	if e := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(e, unix.ENOENT) {
		return nil
	}
	return err
}

// mergeMax bounds how many levels of directories become one with those of the trash. What is deeper there makes way.
const mergeMax = 64

// merge moves an entry to where something of its name may be: directories become one, and else what comes takes the place.
func (t *Tree) merge(from, into int, name string, depth int) error {
	for range maxTries {
		err := renameNew(&dir{fd: from}, name, &dir{fd: into}, name)
		switch {
		case errors.Is(err, unix.ENOENT):
			return unlessGone(err, from, name)
		case !isAny(err, unix.EEXIST, unix.EXDEV):
			return err
		}
		both := isDirectory(from, name) && (errors.Is(err, unix.EXDEV) || isDirectory(into, name)) && depth < mergeMax
		switch {
		case both:
			if err := t.like(into, name, from, name); err != nil {
				return err
			}
			return t.mergeAll(from, into, name, depth+1)
		case errors.Is(err, unix.EXDEV):
			return err
		}
		if err := removeTree(into, name); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return errBusy
}

// mergeAll moves what is in a directory into the one of its name elsewhere, and removes it.
func (t *Tree) mergeAll(parent, into int, name string, depth int) error {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	from, err := unix.Openat(parent, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := unix.Openat(into, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	for range maxTries {
		if err := entries(from, func(e entry) error { return t.merge(from, to, e.name, depth) }); err != nil {
			return err
		}
		err = unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		if !isAny(err, unix.ENOTEMPTY, unix.EEXIST) { // some were passed over as others went
			return err
		}
	}
	return errBusy
}

func isDirectory(fd int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}
