package apply

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Move is a rename. From is a path as it was before all moves that are done together, To one as it is after them.
type Move struct {
	From, To change.Path
	// Over: what is at To and no directory makes way for a file.
	Over bool
}

// Rename does those moves whose From is there and whose To is free, becomes free by them, or makes way: names may be exchanged. It says of each
// move why it was not done, nil when it was. What was not done is where it was, as far as that can be.
func (t *Tree) Rename(moves []Move) []error {
	errs := make([]error, len(moves))
	free := apart(moves)
	if slices.Contains(free, false) { // too entangled to follow
		if err := t.settle(); err != nil {
			return slices.Repeat([]error{err}, len(moves))
		}
	}
	var tangled []int
	for i, m := range moves {
		if free[i] {
			errs[i] = t.move(m)
		} else {
			tangled = append(tangled, i)
		}
	}
	t.waiting.moving.RLock()
	defer t.waiting.moving.RUnlock()
	// The deepest is taken away first, and put down last.
	parked := make([]*aside, len(moves))
	byDepth(tangled, func(i int) change.Path { return moves[i].From })
	for _, i := range slices.Backward(tangled) {
		parked[i], errs[i] = t.putAside(moves[i])
	}
	byDepth(tangled, func(i int) change.Path { return moves[i].To })
	for _, i := range tangled {
		if parked[i] != nil {
			errs[i] = t.putBack(parked[i], moves[i])
		}
	}
	return errs
}

// apart says of each move whether it has nothing to do with the others: no path of it is one of theirs, nor above or below one.
func apart(moves []Move) []bool {
	owner := make(map[change.Path]int, 2*len(moves))
	free := slices.Repeat([]bool{true}, len(moves))
	meet := func(i int, p change.Path) {
		if other, ok := owner[p]; ok && other != i {
			free[i], free[other] = false, false
		}
	}
	for i, m := range moves {
		for _, p := range []change.Path{m.From, m.To} {
			meet(i, p)
			owner[p] = i
		}
	}
	for i, m := range moves {
		for _, p := range []change.Path{m.From, m.To} {
			for ; p != change.Root; p = p.Parent() {
				meet(i, p)
			}
		}
	}
	return free
}

// byDepth sorts moves so that what is above comes first.
func byDepth(moves []int, path func(int) change.Path) {
	slices.SortStableFunc(moves, func(a, b int) int {
		return strings.Count(string(path(a)), "/") - strings.Count(string(path(b)), "/")
	})
}

// errWaits: what waits for a file cannot follow it.
var errWaits = errors.New("a sync is needed first")

// move does a move that has nothing to do with others.
func (t *Tree) move(m Move) error {
	for {
		err := t.moveNow(m)
		if err == errWaits {
			if err = t.settle(); err == nil {
				continue
			}
		}
		if err != nil {
			return t.fail("rename", m.From, err)
		}
		return nil
	}
}

func (t *Tree) moveNow(m Move) error {
	t.waiting.moving.RLock()
	defer t.waiting.moving.RUnlock()
	if m.Over && (t.waiting.has(m.From) || t.waiting.has(m.To)) {
		if st, err := t.Look(m.To); err != nil || st.Exists() {
			return errWaits // temporary names of both files would be for one name
		}
	}
	return t.within(m.From, func(from *dir, name string) error {
		settle, err := t.carry(from, m)
		if err != nil {
			return err
		}
		err = t.land(from, name, m)
		if err == nil {
			t.waiting.moved(m.From, m.To)
		}
		settle(err == nil)
		return err
	})
}

// carry sees to what waits for the file m.From: it goes by the name of its file. It gets a second name, that is for m.To, before
// the file is renamed; settle takes one of both away.
func (t *Tree) carry(from *dir, m Move) (settle func(moved bool), err error) {
	old, going := t.waiting.take(m.From)
	if going {
		return nil, errWaits
	}
	if len(old) == 0 {
		return func(bool) {}, nil
	}
	var fresh []string
	settle = func(moved bool) {
		if moved {
			_ = t.reap(m.From.Parent(), old)
			t.waiting.add(m.To.Parent(), fresh)
		} else {
			_ = t.reap(m.To.Parent(), fresh)
			t.waiting.add(m.From.Parent(), old)
		}
	}
	err = t.within(m.To, func(to *dir, name string) error {
		for _, tmp := range old {
			next := t.temp(name)
			if err := unix.Linkat(from.fd, tmp, to.fd, next, 0); errors.Is(err, unix.ENOENT) {
				continue // synced meanwhile
			} else if err != nil {
				return err
			}
			fresh = append(fresh, next)
		}
		return nil
	})
	if err == nil {
		return settle, nil
	}
	settle(false)
	if notThere(err) {
		return nil, err
	}
	return nil, errWaits // a directory has no second name
}

// land renames an entry to where m leads.
func (t *Tree) land(from *dir, name string, m Move) error {
	err := t.within(m.To, func(to *dir, other string) error {
		defer t.touch(from)
		defer t.touch(to)
		err := renameNew(from, name, to, other)
		if m.Over && errors.Is(err, unix.EEXIST) {
			return t.landOver(from, name, to, m.To)
		}
		return err
	})
	t.forget(m.From)
	t.forget(m.To)
	if err == nil {
		t.recovery.came(m.To)
	}
	if errors.Is(err, unix.EEXIST) {
		return ErrInTheWay
	}
	return err
}

// landOver renames a file over another one. A reader sees one of both.
func (t *Tree) landOver(from *dir, name string, to *dir, p change.Path) error {
	tmp := t.temp(p.Name())
	if err := unix.Renameat(from.fd, name, to.fd, tmp); err != nil {
		return err
	}
	if err := t.place(to, tmp, p, Old{Keep: true}); err != nil {
		return errors.Join(err, renameNew(to, tmp, from, name))
	}
	return nil
}

// aside is what has a temporary name until all others of its kind have one.
type aside struct {
	d   *dir
	tmp string
}

func (t *Tree) putAside(m Move) (*aside, error) {
	var a *aside
	err := t.within(m.From, func(d *dir, name string) error {
		tmp := t.temp(name)
		if err := unix.Renameat(d.fd, name, d.fd, tmp); err != nil {
			return err
		}
		t.dirs.hold(d)
		a = &aside{d, tmp}
		return nil
	})
	t.forget(m.From)
	if err != nil {
		return nil, t.fail("rename", m.From, err)
	}
	return a, nil
}

// putBack gives what is aside its new name, or else its old one.
func (t *Tree) putBack(a *aside, m Move) error {
	defer t.leave(a.d)
	err := t.land(a.d, a.tmp, m)
	if err == nil {
		return nil
	}
	return t.fail("rename", m.From, errors.Join(err, renameNew(a.d, a.tmp, a.d, m.From.Name())))
}
