package mixed

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"sersync/internal/change"
	"sersync/internal/watch"
	"sersync/internal/watch/exports"
)

var errExported = errors.New("it is exported by the NFS server of this machine, and inotify is silent when a client writes to a file whose path " +
	"the kernel has forgotten: it is looked at on a schedule; let sersync have CAP_SYS_ADMIN, and set watch: auto, so that fanotify can be used")

// exported are the directories that are watched by inotify and exported by the NFS server. What is exported may change at any time.
func (w *Watcher) exported() []watch.Gap {
	if w.inotify == nil {
		return nil
	}
	places, reason := []change.Path{change.Root}, errExported
	if all, err := w.exports(); err != nil {
		reason = fmt.Errorf("whether the NFS server of this machine exports it is not known: %w", err)
	} else {
		places = all
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	gaps := map[change.Path]watch.Gap{}
	for _, at := range places {
		for _, p := range w.parts {
			q := p.Path
			switch {
			case p.Method != watch.Inotify:
				continue
			case q == at || q.Below(at): // all of the part
			case at.Below(q) && w.part(at) == p:
				q = at
			default:
				continue
			}
			gaps[q] = watch.Gap{Path: q, Since: p.since, Err: reason}
		}
	}
	return slices.Collect(maps.Values(gaps))
}

// exports are the places in the tree that are exported.
func (w *Watcher) exports() ([]change.Path, error) {
	top, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(w.root.File().Fd())))
	if err != nil {
		return nil, fmt.Errorf("find path of source root: %w", err)
	}
	all, err := exports.Read(w.opts.Exports)
	return exports.Within(all, top), err
}

// part is the one in which p is.
func (w *Watcher) part(p change.Path) (deepest *part) {
	for _, one := range w.parts {
		if (p == one.Path || p.Below(one.Path)) && (deepest == nil || one.Path.Below(deepest.Path)) {
			deepest = one
		}
	}
	return deepest
}
