package watchtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
)

// row is what the mirror knows of a path.
type row struct {
	mode     uint32
	uid, gid uint32
	ino      uint64
	size     int64 // of what is no directory
	mtime    int64
}

func (r row) String() string {
	return fmt.Sprintf("{mode %o ino %d size %d mtime %d}", r.mode, r.ino, r.size, r.mtime)
}

func rowOf(st change.Stat) row {
	r := row{mode: st.Mode, uid: st.UID, gid: st.GID, ino: st.Ino, size: st.Size, mtime: st.Mtime}
	if st.IsDir() {
		r.size = 0
	}
	return r
}

// mirror is a consumer: it knows only what it saw by looking where an event said so, and by
// walking where a directory came.
type mirror struct {
	root    *scan.Root
	watcher watch.Watcher

	mu     sync.Mutex
	rows   map[change.Path]row
	errors []error // of Cover
}

// take does for one event what a consumer has to do.
func (m *mirror) take(e watch.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case e.Kind == watch.RootGone:
		return
	case e.Kind == watch.Look, e.Dir && (e.Kind == watch.Created || e.Kind == watch.MovedTo):
		m.walk(e.Path)
	default:
		m.look(e.Path)
	}
	// The times of a directory change with its entries.
	if _, known := m.rows[e.Path.Parent()]; known {
		m.look(e.Path.Parent())
	}
}

// look takes in what is at p; it says whether that is a directory.
func (m *mirror) look(p change.Path) bool {
	seen, err := m.root.Look(p)
	if err != nil {
		return false // the root is gone
	}
	if seen.Stat.Exists() {
		m.rows[seen.At] = rowOf(seen.Stat)
	} else {
		delete(m.rows, seen.At)
	}
	if !seen.Stat.IsDir() {
		maps.DeleteFunc(m.rows, func(p change.Path, _ row) bool { return p.Below(seen.At) })
	}
	return seen.At == p && seen.Stat.IsDir()
}

// walk takes in what is at and below p: each directory is covered before it is read.
func (m *mirror) walk(p change.Path) {
	if !m.look(p) {
		return
	}
	dir, err := m.root.OpenDir(p)
	if err != nil {
		m.look(p)
		return
	}
	defer dir.Close()
	if err := m.watcher.Cover(int(dir.Fd()), p); errors.Is(err, fs.ErrNotExist) {
		m.look(p)
		return
	} else if err != nil {
		m.errors = append(m.errors, err)
	}
	names, err := dir.Readdirnames(-1)
	if errors.Is(err, fs.ErrNotExist) { // it was removed since
		m.look(p)
		return
	} else if err != nil {
		m.errors = append(m.errors, err)
		return
	}
	m.look(p)
	// What is known below p may lie in a directory that is not known itself: an event below a
	// directory that came along with its parent can be ahead of the walk.
	for known := range m.rows {
		if !known.Below(p) {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(string(known[len(p):]), "/"), "/")
		if !slices.Contains(names, name) {
			m.look(p.Join(name))
		}
	}
	for _, name := range names {
		m.walk(p.Join(name))
	}
}

// differs lists where the mirror and the tree are not the same.
func (m *mirror) differs(t *testing.T, dir string) []string {
	t.Helper()
	tree := make(map[change.Path]row)
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		rel := change.Root
		if name != dir {
			rel = change.Path(name[len(dir)+1:])
		}
		st := info.Sys().(*syscall.Stat_t)
		r := row{mode: st.Mode, uid: st.Uid, gid: st.Gid, ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano()}
		if info.IsDir() {
			r.size = 0
		}
		tree[rel] = r
		return nil
	})
	if err != nil {
		t.Fatalf("read tree: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var diff []string
	for p, want := range tree {
		if got, ok := m.rows[p]; !ok {
			diff = append(diff, fmt.Sprintf("%v: not known, is %v", p, want))
		} else if got != want {
			diff = append(diff, fmt.Sprintf("%v: known as %v, is %v", p, got, want))
		}
	}
	for p := range m.rows {
		if _, ok := tree[p]; !ok {
			diff = append(diff, fmt.Sprintf("%v: known, is gone", p))
		}
	}
	slices.Sort(diff)
	return diff
}
