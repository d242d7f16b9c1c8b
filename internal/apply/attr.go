package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

const setIDs = unix.S_ISUID | unix.S_ISGID

// dress gives n, which is as st says, its attributes. Owner first, as a change of it takes setuid and capabilities away; mode after
// the ACL, whose mask it is; the time last. What cannot ever be done is a limit.
func (t *Tree) dress(n node, st *unix.Stat_t, p change.Path, a *Attr) (Done, error) {
	w := wardrobe{t: t, n: n, st: st, p: p, a: a}
	return w.dress()
}

// owner is that of a file.
type owner struct{ uid, gid uint32 }

// give gives a new file to whom it is to belong to, before there is anything in it: the user as whom a process puts files may be that of others, too,
// and these could open it until then. It reports whether it was given; what is ours already is not.
func (t *Tree) give(fd int, to owner) bool {
	if !t.o.Owners || t.o.FakeSuper {
		return false
	}
	made := t.maker.Load()
	if made == nil {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			return false
		}
		made = &owner{st.Uid, st.Gid}
		t.maker.Store(made)
	}
	return *made != to && unix.Fchown(fd, int(to.uid), int(to.gid)) == nil
}

// dressNew is dress of a regular file that was just made in d, and perhaps given away. Then what it has is not asked for: to set that costs no more.
func (t *Tree) dressNew(n node, d *dir, p change.Path, a *Attr, given bool) (Done, error) {
	w := wardrobe{t: t, n: n, st: &unix.Stat_t{Mode: unix.S_IFREG, Dev: d.dev}, p: p, a: a}
	if given {
		w.st.Uid, w.st.Gid, w.unseen = a.UID, a.GID, true
		return w.dress()
	}
	if err := unix.Fstat(n.fd, w.st); err != nil {
		return Done{}, err
	}
	return w.dress()
}

func (w *wardrobe) dress() (Done, error) {
	steps := []func() error{w.owner, w.xattrs, w.mode, w.mtime}
	if w.t.o.FakeSuper {
		steps = []func() error{w.keeper, w.xattrs, w.fake, w.mtime}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return w.done, err
		}
	}
	return w.done, nil
}

// wardrobe is one path that gets its attributes.
type wardrobe struct {
	t    *Tree
	n    node
	st   *unix.Stat_t // kept up to what was set
	p    change.Path
	a    *Attr
	done Done
	// unseen: of mode and time st says nothing.
	unseen bool
}

// take sorts the outcome of setting something: changed, a limit, or a failure.
func (w *wardrobe) take(what string, err error) error {
	switch {
	case err == nil:
		w.done.Changed = true
	case isAny(err, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.E2BIG, unix.ERANGE):
		w.limit(fmt.Errorf("set %s of %q: %w", what, string(w.p), err))
	default:
		return fmt.Errorf("set %s: %w", what, err)
	}
	return nil
}

func (w *wardrobe) limit(err error) { w.done.Limits = append(w.done.Limits, err) }

func (w *wardrobe) owner() error {
	if !w.t.o.Owners || w.st.Uid == w.a.UID && w.st.Gid == w.a.GID {
		return nil
	}
	err := w.n.chown(int(w.a.UID), int(w.a.GID))
	if errors.Is(err, unix.EPERM) && w.st.Gid != w.a.GID && w.n.chown(-1, int(w.a.GID)) == nil {
		w.st.Gid = w.a.GID // a group that we are in
		w.done.Changed = true
		w.undressed()
	}
	if err == nil {
		w.st.Uid, w.st.Gid = w.a.UID, w.a.GID
		w.undressed()
	}
	return w.take("owner", err)
}

// undressed notes what a change of the owner took away.
func (w *wardrobe) undressed() {
	if w.st.Mode&unix.S_IFMT == unix.S_IFREG {
		w.st.Mode &^= setIDs
	}
}

func (w *wardrobe) mode() error {
	if w.a.kind() == unix.S_IFLNK {
		return nil
	}
	want, kept := w.t.permissions(w.a, w.st)
	if !kept {
		w.limit(fmt.Errorf("set mode of %q: %w", string(w.p), ErrSetID))
	}
	if w.st.Mode&0o7777 == want && !w.unseen {
		return nil
	}
	err := w.take("mode", w.n.chmod(want))
	if err == nil && want&0o7000 != 0 {
		// Without privileges the kernel drops such bits and says nothing.
		if st, e := w.n.stat(); e == nil && st.Mode&0o7777 != want {
			w.limit(fmt.Errorf("set mode of %q: the kernel made %#o of %#o", string(w.p), st.Mode&0o7777, want))
		}
	}
	return err
}

// permissions are those that a path gets whose owner is that of st; kept is false when setuid or setgid are not among them. A program
// runs as another only when it is the one that was meant. On a directory setgid is no privilege, and is always kept.
func (t *Tree) permissions(a *Attr, st *unix.Stat_t) (mode uint32, kept bool) {
	mode = a.Mode & 0o7777
	if a.kind() == unix.S_IFDIR || mode&setIDs == 0 || t.o.FakeSuper {
		return mode, true
	}
	if !t.o.SetID || mode&unix.S_ISUID != 0 && st.Uid != a.UID || mode&unix.S_ISGID != 0 && st.Gid != a.GID {
		return mode &^ setIDs, false
	}
	return mode, true
}

func (w *wardrobe) mtime() error {
	before := w.st.Mtim.Nano()
	grain, known := w.t.grains.of(w.st.Dev)
	if !w.unseen && (before == w.a.Mtime || known && before == grain.store(w.a.Mtime)) {
		return nil
	}
	done := w.done
	err := w.take("time", w.n.setMtime(w.a.Mtime))
	if err != nil || len(w.done.Limits) > len(done.Limits) || known && grain == exact && usual(w.a.Mtime) {
		return err
	}
	st, err := w.n.stat()
	if err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	w.t.grains.learn(w.st.Dev, w.a.Mtime, st.Mtim.Nano())
	if !w.unseen && st.Mtim.Nano() == before {
		w.done = done
	}
	return nil
}
