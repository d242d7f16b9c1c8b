package replicate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"sersync/internal/transport"
	"sersync/internal/transport/local"
	"sersync/internal/treetest"
)

// late is a target whose batches begin late, each by another time.
type late struct {
	*local.Transport
	mu   sync.Mutex
	rand *rand.Rand
	most time.Duration
}

func (l *late) Apply(ctx context.Context, b transport.Batch) (transport.Report, error) {
	l.mu.Lock()
	wait := time.Duration(l.rand.Int64N(int64(l.most)))
	l.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
	return l.Transport.Apply(ctx, b)
}

// versions writes versions of a few files, each a number of eight digits, whose sizes are all the same.
type versions struct {
	t       *testing.T
	rand    *rand.Rand
	dir     string
	outside string
	last    int
}

var versionPaths = []string{"a", "b", "d/a", "d/b", "d/e/a"}

// write makes the next version: it overwrites a file, puts another one of the same mtime in its place, removes it, or takes its directory away.
func (v *versions) write() {
	v.last++
	rel := versionPaths[v.rand.IntN(len(versionPaths))]
	path, text := filepath.Join(v.dir, rel), fmt.Appendf(nil, "%08d", v.last)
	must := func(err error) {
		v.t.Helper()
		if err != nil {
			v.t.Fatal(err)
		}
	}
	for _, above := range []string{path, filepath.Join(v.dir, "d/e/a")} {
		must(os.MkdirAll(filepath.Dir(above), 0o755))
	}
	switch n := v.rand.IntN(20); {
	case n < 12:
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		must(err)
		_, err = f.WriteAt(text, 0)
		must(err)
		must(f.Close())
	case n < 16:
		fresh := filepath.Join(v.outside, "fresh")
		must(os.WriteFile(fresh, text, 0o644))
		must(os.Chtimes(fresh, time.Unix(1e9, 0), time.Unix(1e9, 0)))
		must(os.Rename(fresh, path))
	case n < 19:
		must(os.RemoveAll(path))
	default:
		must(os.Rename(filepath.Join(v.dir, "d"), filepath.Join(v.outside, strconv.Itoa(v.last))))
	}
}

// watchVersions reads the files of a target until done is closed, and reports each that is older than what was there before.
func watchVersions(t *testing.T, dir string, done <-chan struct{}) {
	newest := map[string]int{}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		for _, rel := range versionPaths {
			text, err := os.ReadFile(filepath.Join(dir, rel))
			if err != nil || len(text) == 0 {
				continue // it is empty at the source as well, between its making and its writing
			}
			version, err := strconv.Atoi(string(text))
			if err != nil || len(text) != 8 {
				t.Errorf("%s of %s is %q", rel, dir, text)
				return
			}
			if version < newest[rel] {
				t.Errorf("%s of %s was version %d, and is %d", rel, dir, newest[rel], version)
				return
			}
			newest[rel] = version
		}
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// Many targets, some of them slow, share what is seen and read of files that are overwritten, replaced and removed all the time, and taken away with
// their directories: no reader on any of them sees a file go back, and in the end all are as the source.
func TestNoReaderOfManyTargetsSeesAFileGoBack(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dirs := []string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
			r := newRig(t, func(r *rig) {
				noBudget(r)
				r.opts.Targets = nil
				for i, dir := range dirs {
					o := r.toDirectory(dir)
					o.Name = strconv.Itoa(i)
					o.Pace = time.Millisecond
					o.Transport = &late{
						Transport: o.Transport.(*local.Transport), rand: rand.New(rand.NewPCG(seed, uint64(i))), most: time.Duration(1+i*i*15) * time.Millisecond,
					}
					r.opts.Targets = append(r.opts.Targets, o)
				}
			})
			r.start()
			r.wait()
			done := make(chan struct{})
			var readers sync.WaitGroup
			for _, dir := range dirs {
				readers.Go(func() { watchVersions(t, dir, done) })
			}
			v := &versions{t: t, rand: rand.New(rand.NewPCG(seed, 9)), dir: r.dir, outside: t.TempDir()}
			for range 1500 {
				v.write()
				if v.rand.IntN(3) == 0 {
					<-time.After(time.Duration(v.rand.IntN(4)) * time.Millisecond)
				}
			}
			r.wait()
			close(done)
			readers.Wait()
			r.stop() // what a target has yet to take away changes the times of directories, for a moment
			for _, dir := range dirs {
				treetest.Equal(t, r.dir, dir, ofOurs)
			}
		})
	}
}
