package torture

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// tailTime is for how long before a restart what was acked may be sent again: sersync looks again at its last minute after a loss of
	// contact, and at what a receiver that was cut off may still overwrite a minute later.
	tailTime = 90 * time.Second
	// grain is how far the clock of a file system may be behind ours.
	grain = 200 * time.Millisecond
)

// oracle knows what changed when, from those who changed it and from the kernel, and since when each target has had
// everything. So it can say of each path that was sent whether there was a reason.
type oracle struct {
	root string

	mu sync.Mutex
	// self is when a path was changed last, below when all below it may have been, above when something below it was.
	self, below, above map[string]time.Time
	// filled is when all targets had the first tree; clean are moments of which everything before was on a target.
	filled time.Time
	clean  map[int][]time.Time
}

func newOracle(root string) *oracle {
	return &oracle{
		root: root, self: map[string]time.Time{}, below: map[string]time.Time{}, above: map[string]time.Time{},
		clean: map[int][]time.Time{},
	}
}

// touched notes that a path is changed now, under its name and, where symlinks lead to it, under its real one.
func (o *oracle) touched(path string, below bool) {
	now := time.Now()
	names := []string{path}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		names = append(names, filepath.Join(dir, filepath.Base(path)))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range names {
		rel, ok := strings.CutPrefix(name, o.root+"/")
		if !ok {
			continue
		}
		o.self[rel] = now
		if below {
			o.below[rel] = now
		}
		for dir := filepath.Dir(rel); ; dir = filepath.Dir(dir) {
			o.above[dir] = now
			if dir == "." {
				break
			}
		}
	}
}

// full notes that all targets have everything for the first time.
func (o *oracle) full(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.filled = at
}

// caughtUp notes that a target has everything that was changed before at.
func (o *oracle) caughtUp(target int, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clean[target] = append(o.clean[target], at)
}

// settledBefore is the newest moment before at of which everything earlier was on the target, forgetting older ones.
func (o *oracle) settledBefore(target int, at time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.clean[target]
	i := len(all) - 1
	for i >= 0 && all[i].After(at) {
		i--
	}
	if i < 0 {
		return time.Time{}
	}
	o.clean[target] = all[i:]
	return all[i]
}

// reason reports whether a path may have been sent since floor: it was changed, it is below what was changed, or it is a directory
// (attributes of it were sent) of something that was.
func (o *oracle) reason(rel string, dir bool, floor time.Time) bool {
	var st syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(o.root, rel), &st); err == nil {
		// The kernel's own witness: also for what was changed under another name of the same file.
		if !time.Unix(st.Ctim.Sec, st.Ctim.Nsec).Before(floor.Add(-grain)) {
			return true
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	since := func(m map[string]time.Time, rel string) bool {
		at, ok := m[rel]
		return ok && !at.Before(floor)
	}
	if since(o.self, rel) || dir && since(o.above, rel) {
		return true
	}
	for ; rel != "."; rel = filepath.Dir(rel) {
		if since(o.below, rel) {
			return true
		}
	}
	return false
}

// forget drops what was changed before at: no floor will be earlier.
func (o *oracle) forget(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range []map[string]time.Time{o.self, o.below, o.above} {
		for rel, when := range m {
			if when.Before(at) {
				delete(m, rel)
			}
		}
	}
}

// isTemporary reports whether a name is that of a file which rsync writes before it renames it: a dot, the name, a dot, and six
// letters or digits. Nothing in the source may have it.
func isTemporary(root, rel string) bool {
	name := filepath.Base(rel)
	if len(name) < 9 || name[0] != '.' || name[len(name)-7] != '.' {
		return false
	}
	for _, c := range []byte(name[len(name)-6:]) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return false
		}
	}
	_, err := os.Lstat(filepath.Join(root, rel))
	return err != nil
}

// partialDir is where the lane of large files keeps what arrived of one.
const partialDir = ".sersync-partial"

func isPartial(rel string) bool {
	return rel == partialDir || strings.HasPrefix(rel, partialDir+"/") || strings.Contains("/"+rel+"/", "/"+partialDir+"/")
}
