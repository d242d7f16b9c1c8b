package watchtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Random has four writers do what comes to them while the tree is watched. When they are done, the
// consumer must know the tree as it is; and what is written then must be seen, too. It is a
// part of Run; watchers that can lose events run it again where they do.
func Random(t *testing.T, open Open) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			r := NewRig(t, open)
			for round := range uint64(3) {
				var writers sync.WaitGroup
				for id := range uint64(4) {
					w := writer{dir: r.Dir, rand: rand.New(rand.NewPCG(seed, round<<8|id))}
					writers.Go(func() {
						for range 250 {
							w.act()
						}
					})
				}
				writers.Wait()
				r.Equal()
				touchAll(t, r.Dir)
				r.Equal()
			}
			if errs := r.CoverErrors(); len(errs) > 0 {
				t.Errorf("cover: %v", errs)
			}
			if gaps := r.Watcher.Status().Gaps; len(gaps) > 0 {
				t.Errorf("gaps: %v", gaps)
			}
		})
	}
}

// touchAll writes a file into each directory: a directory whose place is not known shows.
func touchAll(t *testing.T, root string) {
	t.Helper()
	var dirs []string
	must(t, filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, name)
		}
		return err
	}))
	for _, dir := range dirs {
		must(t, os.WriteFile(dir+"/touched", []byte(time.Now().String()), 0o644))
	}
}

// writer changes the tree. What fails because another was faster is no matter.
type writer struct {
	dir  string
	rand *rand.Rand
}

// pick is a path of one to four elements of few names, so that writers meet.
func (w writer) pick() string {
	elements := make([]string, 1+w.rand.IntN(4))
	for i := range elements {
		elements[i] = []string{"a", "b", "c", "d\n", "\xff"}[w.rand.IntN(5)]
	}
	return path.Join(w.dir, strings.Join(elements, "/"))
}

func (w writer) act() {
	p, q := w.pick(), w.pick()
	switch w.rand.IntN(13) {
	case 0, 1, 2:
		_ = os.MkdirAll(p, 0o755)
	case 3, 4:
		_ = os.MkdirAll(path.Dir(p), 0o755)
		_ = os.WriteFile(p, []byte(q), 0o644)
	case 5:
		if f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, _ = f.WriteString("more")
			_ = f.Close()
		}
	case 6, 7:
		_ = os.Rename(p, q)
	case 8:
		_ = unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE)
	case 9:
		_ = os.RemoveAll(p)
	case 10:
		_ = os.Symlink(q, p)
	case 11:
		// Not through a symlink: what is at its end would be changed by another name.
		_ = unix.Fchmodat(unix.AT_FDCWD, p, uint32(0o700+w.rand.IntN(0o100)), unix.AT_SYMLINK_NOFOLLOW)
	case 12:
		at := time.Unix(w.rand.Int64N(1e9), w.rand.Int64N(1e9))
		ts := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
	}
}
