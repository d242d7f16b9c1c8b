package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// recovery is what is known of temporary names that were left over. A directory is recovered before anything is done in it, even before
// a look: what was found to be right must not be taken back later.
type recovery struct {
	boot int64 // when the machine was started, in nanoseconds since 1970
	over atomic.Bool
	mu   sync.Mutex
	// clean are the directories that were recovered.
	clean map[change.Path]struct{}
	// past are files that were found to be from before the machine was started. A name that is removed or put back changes the time of
	// all names of its file.
	past map[fileID]struct{}
	// moved is what came to where it is while Recover walked.
	walking           bool
	moved             []change.Path
	removed, restored int
}

// Recover removes the temporary names that a killed process or a loss of power left below the root, and goes back to what was
// there before where a loss of power may have taken content (see the comment of the package). It walks all that is there, and
// may run beside everything else. Call it after Open; until it is done each directory is looked through when it is entered. While another Tree is
// open on the same root, on one above, or on one between root and directory, only what is from before the machine was started is taken for left
// over; a later call removes what those left. It syncs: a file of a process that was killed may not be on the disk yet, and only its temporary name
// would tell so.
func (t *Tree) Recover(ctx context.Context) error {
	err := t.recoverAll(ctx)
	if err == nil {
		err = t.settle()
	}
	r := &t.recovery
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.removed+r.restored > 0 {
		t.o.Log.Info("temporary files of an earlier run were removed", "target", t.name, "removed", r.removed, "restored", r.restored)
		r.removed, r.restored = 0, 0
	}
	if err != nil {
		return fmt.Errorf("recover target %q: %w", t.name, err)
	}
	return nil
}

// fileID tells a file from another one that has its number some other time.
type fileID struct {
	ino   uint64
	birth int64
}

// before reports whether what is known of a file is from before the machine was started. The caller holds mu.
func (r *recovery) before(v version) bool {
	id := fileID{v.ino, v.birth}
	if _, known := r.past[id]; known {
		return true
	}
	if v.ctime >= r.boot {
		return false
	}
	if r.past == nil {
		r.past = make(map[fileID]struct{})
	}
	r.past[id] = struct{}{}
	return true
}

// booted is when the machine was started.
func booted() (int64, error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return 0, err
	}
	return time.Now().UnixNano() - up.Nano(), nil
}

func (t *Tree) recoverAll(ctx context.Context) error {
	t.recovery.begin()
	for todo := []change.Path{change.Root}; ; {
		if len(todo) == 0 {
			todo = t.recovery.end()
		}
		if err := ctx.Err(); err != nil || len(todo) == 0 {
			return err
		}
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := t.recoverListed(p)
		if err != nil && !notThere(err) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("read directory %q: %w", string(p), err)
		}
		todo = append(todo, below...)
	}
}

func (r *recovery) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.walking, r.moved = true, nil
}

// end ends the walk, unless it missed something.
func (r *recovery) end() (missed []change.Path) {
	r.mu.Lock()
	defer r.mu.Unlock()
	missed, r.moved = r.moved, nil
	if len(missed) == 0 {
		r.over.Store(true)
		r.walking, r.clean, r.past = false, nil, nil
	}
	return missed
}

// came notes that p, maybe a directory, was renamed to this.
func (r *recovery) came(p change.Path) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.walking {
		r.moved = append(r.moved, p)
	}
}

// recoverListed recovers one directory, and lists those in it, with those that came back by that.
func (t *Tree) recoverListed(p change.Path) (below []change.Path, err error) {
	t.waiting.moving.RLock()
	defer t.waiting.moving.RUnlock()
	fd, err := t.openBeneath(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := t.recoverOnce(p, fd); err != nil {
		return nil, err
	}
	err = entries(fd, func(e entry) error {
		if !isTemp(e.name) && (e.kind == unix.DT_DIR || e.kind == unix.DT_UNKNOWN) {
			below = append(below, p.Join(e.name))
		}
		return nil
	})
	return below, err
}

// recoverOnce recovers p, again when all was recovered before.
func (t *Tree) recoverOnce(p change.Path, fd int) error {
	if !t.recovery.over.Load() {
		return t.recoverDir(p, fd)
	}
	t.recovery.mu.Lock()
	defer t.recovery.mu.Unlock()
	return t.recoverNow(p, fd)
}

// recoverDir recovers the directory p, which is open as fd, when that was not done yet. Whoever enters it meanwhile waits.
func (t *Tree) recoverDir(p change.Path, fd int) error {
	r := &t.recovery
	if r.over.Load() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, done := r.clean[p]; done {
		return nil
	}
	if err := t.recoverNow(p, fd); err != nil && !errors.Is(err, unix.EBADF) { // it may not be listed
		return err
	}
	if r.clean == nil || len(r.clean) > maxClean {
		r.clean = make(map[change.Path]struct{})
	}
	r.clean[p] = struct{}{}
	return nil
}

// recoverNow holds a lock (flock) of the directory where it finds something, so that two do not go back and forth.
func (t *Tree) recoverNow(p change.Path, fd int) error {
	found, err := t.leftOver(fd, true)
	if err != nil || len(found) == 0 {
		return err
	}
	_ = unix.Flock(fd, unix.LOCK_EX)
	defer func() { _ = unix.Flock(fd, unix.LOCK_UN) }()
	found, err = t.leftOver(fd, t.alone() && !t.othersAt(p))
	if err != nil || len(found) == 0 {
		return err
	}
	return t.recoverNames(&dir{path: p, fd: fd}, found)
}

// leftOver lists the temporary names that are not ours, by the hash of the name that they are for. When we are not alone, only what is
// from before the machine was started is sure to be of nobody who lives.
func (t *Tree) leftOver(fd int, alone bool) (map[string][]string, error) {
	found := make(map[string][]string)
	err := entries(fd, func(e entry) error {
		hash, token, ok := parse(e.name)
		if !ok || token == t.token {
			return nil
		}
		if !alone {
			v, err := versionOf(fd, e.name)
			if err != nil || !t.recovery.before(v) {
				return ignore(err, unix.ENOENT)
			}
		}
		found[hash] = append(found[hash], e.name)
		return nil
	})
	return found, err
}

// maxClean bounds the directories that are remembered until Recover has seen all.
const maxClean = 1 << 18

// forget notes that other directories may be at p and below.
func (r *recovery) forget(p change.Path) {
	if r.over.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for at := range r.clean {
		if at == p || at.Below(p) {
			delete(r.clean, at)
		}
	}
}

// othersAt reports whether another Tree has p, or a directory between it and our root, for its root.
func (t *Tree) othersAt(p change.Path) bool {
	for ; p != change.Root; p = p.Parent() {
		fd, err := t.openBeneath(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if err != nil {
			return true
		}
		others := taken(fd)
		unix.Close(fd)
		if others {
			return true
		}
	}
	return false
}

// recoverNames removes temporary names from a directory, after what is to be gone back to. Where a file may not be on the disk yet
// they wait for a Sync.
func (t *Tree) recoverNames(d *dir, found map[string][]string) error {
	partner := make(map[string]string)
	err := entries(d.fd, func(e entry) error {
		if h := hash(e.name); found[h] != nil {
			partner[h] = e.name
		}
		return nil
	})
	if err != nil {
		return err
	}
	for h, names := range found {
		t.recovery.removed += len(names)
		for _, name := range names {
			if v, err := versionOf(d.fd, name); err == nil {
				t.recovery.before(v)
			}
		}
		if name, ok := partner[h]; ok {
			since, err := t.goBack(d.fd, name, names)
			if err != nil {
				return fmt.Errorf("go back to the old version of %q: %w", string(d.path.Join(name)), err)
			}
			if since {
				t.waiting.add(d.path, names)
				continue
			}
		}
		if err := t.reapIn(d, names); err != nil {
			return err
		}
	}
	return nil
}

// version is what one name of a file was found to be.
type version struct {
	name         string
	ino          uint64
	birth, ctime int64
}

func versionOf(fd int, name string) (version, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME|unix.STATX_CTIME|unix.STATX_INO, &st)
	return version{name, st.Ino, birth(&st), st.Ctime.Sec*1e9 + int64(st.Ctime.Nsec)}, err
}

// goBack puts the oldest version of a file in its place, when all that is known of it is from before the machine was started. The
// oldest was there when everything was synced last; what came after it may lack content. When it has a second name it was new itself, and
// there was nothing. Once all was recovered, files are believed to be what they are. It reports whether the file is from since the machine was
// started.
func (t *Tree) goBack(fd int, name string, names []string) (since bool, err error) {
	r := &t.recovery
	now, err := versionOf(fd, name)
	if err != nil || !r.before(now) {
		return err == nil, ignore(err, unix.ENOENT)
	}
	if now.birth == 0 || r.over.Load() {
		return false, nil
	}
	var old []version
	for _, name := range names {
		v, err := versionOf(fd, name)
		if err != nil {
			return false, err
		}
		if r.before(v) && (v.ino == now.ino || v.birth < now.birth) {
			old = append(old, v)
		}
	}
	if len(old) == 0 {
		return false, nil
	}
	slices.SortFunc(old, func(a, b version) int { return cmp.Compare(a.birth, b.birth) })
	first := old[0]
	r.restored++
	isNew := first.ino == now.ino || slices.ContainsFunc(old[1:], func(v version) bool { return v.ino == first.ino })
	if isNew {
		// A directory that came later lacks no content, and what is in it is recovered for itself.
		return false, ignore(unix.Unlinkat(fd, name, 0), unix.EISDIR)
	}
	return false, unix.Renameat2(fd, first.name, fd, name, unix.RENAME_EXCHANGE)
}
