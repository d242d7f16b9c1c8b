package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Recover removes the temporary names that a killed process or a loss of power left below the root, and goes back to what was
// there before where a loss of power may have taken content (see the comment of the package). It walks all that is there, and
// may run beside everything else. While another Tree is open on the same root or one above, nothing is done; nor below a
// root of another one. What was started with an older version of a path than the one that is gone back to was not durable, and is sent again.
func (t *Tree) Recover(ctx context.Context) error {
	boot, err := booted()
	if err != nil {
		return fmt.Errorf("recover target %q: %w", t.name, err)
	}
	r := recovery{t: t, boot: boot}
	err = r.walk(ctx)
	if r.removed+r.restored > 0 {
		t.o.Log.Info("temporary files of an earlier run were removed", "target", t.name, "removed", r.removed, "restored", r.restored)
	}
	if err != nil {
		return fmt.Errorf("recover target %q: %w", t.name, err)
	}
	return nil
}

// booted is when the machine was started, in nanoseconds since 1970.
func booted() (int64, error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return 0, err
	}
	return time.Now().UnixNano() - up.Nano(), nil
}

type recovery struct {
	t                 *Tree
	boot              int64
	removed, restored int
}

func (r *recovery) walk(ctx context.Context) error {
	if !r.t.alone() {
		return nil
	}
	for todo := []change.Path{change.Root}; len(todo) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := r.dir(p)
		if err != nil && !notThere(err) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("read directory %q: %w", string(p), err)
		}
		todo = append(todo, below...)
	}
	return nil
}

// dir recovers one directory, and lists those in it.
func (r *recovery) dir(p change.Path) (below []change.Path, err error) {
	fd, err := r.t.openBeneath(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if p != change.Root && taken(fd) {
		return nil, nil
	}
	found := make(map[string][]string) // by the hash of the name that they are for
	err = entries(fd, func(e entry) error {
		if hash, token, ok := parse(e.name); ok {
			if token != r.t.token {
				found[hash] = append(found[hash], e.name)
			}
		} else if e.kind == unix.DT_DIR || e.kind == unix.DT_UNKNOWN {
			below = append(below, p.Join(e.name))
		}
		return nil
	})
	if err != nil || len(found) == 0 || !r.t.alone() {
		return below, err
	}
	return below, r.clean(p, fd, found)
}

// clean removes temporary names from a directory, after what is to be gone back to.
func (r *recovery) clean(p change.Path, fd int, found map[string][]string) error {
	partner := make(map[string]string)
	err := entries(fd, func(e entry) error {
		if h := hash(e.name); found[h] != nil {
			partner[h] = e.name
		}
		return nil
	})
	if err != nil {
		return err
	}
	for h, names := range found {
		if name, ok := partner[h]; ok {
			if err := r.goBack(fd, p.Join(name), names); err != nil {
				return fmt.Errorf("go back to the old version of %q: %w", string(p.Join(name)), err)
			}
		}
		r.removed += len(names)
		if err := r.t.reap(p, names); err != nil {
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
// there was nothing.
func (r *recovery) goBack(fd int, p change.Path, names []string) error {
	// Nobody puts anything there meanwhile.
	r.t.gate.Lock()
	defer r.t.gate.Unlock()
	now, err := versionOf(fd, p.Name())
	if err != nil || now.ctime >= r.boot || now.birth == 0 {
		return ignore(err, unix.ENOENT)
	}
	var old []version
	for _, name := range names {
		v, err := versionOf(fd, name)
		if err != nil {
			return err
		}
		if v.ctime < r.boot && (v.ino == now.ino || v.birth < now.birth) {
			old = append(old, v)
		}
	}
	if len(old) == 0 {
		return nil
	}
	slices.SortFunc(old, func(a, b version) int { return int(min(max(a.birth-b.birth, -1), 1)) })
	first := old[0]
	r.restored++
	r.t.dirs.forget(p)
	isNew := first.ino == now.ino || len(old) > 1 && slices.ContainsFunc(old[1:], func(v version) bool { return v.ino == first.ino })
	if isNew {
		return unix.Unlinkat(fd, p.Name(), 0)
	}
	return unix.Renameat2(fd, first.name, fd, p.Name(), unix.RENAME_EXCHANGE)
}
