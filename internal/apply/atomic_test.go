package apply

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"sersync/internal/change"
)

// Whoever reads while a file is replaced sees one version of it, whole.
func TestReadersSeeOldOrNew(t *testing.T) {
	for _, dir := range []string{t.TempDir(), shm(t)} {
		r := openRig(t, dir, all())
		content := func(v int) string { return string(bytes.Repeat([]byte{byte('a' + v%26)}, 10_000+v%26)) }
		r.file("f", content(0))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for reads := 0; ; reads++ {
					select {
					case <-stop:
						return
					default:
					}
					got, err := os.ReadFile(r.at("f"))
					if err != nil || len(got) < 10_000 || string(got) != content(int(got[0]-'a')) {
						t.Errorf("read %d: %d bytes, %v", reads, len(got), err)
						return
					}
				}
			})
		}
		for v := range 1000 {
			r.file("f", content(v))
			if v%500 == 0 {
				r.must(r.Sync())
			}
		}
		close(stop)
		wg.Wait()
		r.clean()
	}
}

// Several work in one tree, on paths that do not touch each other, and Sync and Recover run beside them.
func TestSeveralWorkAtTheSameTime(t *testing.T) {
	r := newRig(t, all())
	r.put("shared", dirAttr())
	stop := make(chan struct{})
	var work, beside sync.WaitGroup
	beside.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := r.Sync(); err != nil {
					t.Error(err)
				}
				if err := r.Recover(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for w := range 4 {
		work.Go(func() {
			own := change.Path(fmt.Sprintf("d%d", w))
			for n := range 100 {
				shared := change.Path(fmt.Sprintf("shared/%d", w))
				text := fmt.Sprint(w, n)
				for _, err := range []error{
					second(r.Put(own, dirAttr(), Old{})),
					second(r.write(own+"/f", text, fileAttr(text), false)),
					second(r.write(shared, text, fileAttr(text), false)),
					second(r.Put(own, dirAttr(), Old{})),
				} {
					if err != nil {
						t.Error(err)
					}
				}
				r.has(own+"/f", text)
				r.has(shared, text)
				if n%10 == 9 {
					moved := own + "x"
					if errs := r.Rename([]Move{{From: own, To: moved}}); errs[0] != nil {
						t.Error(errs[0])
					}
					if _, err := r.Remove(moved); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	work.Wait()
	close(stop)
	beside.Wait()
	r.clean()
}

// What waits in a directory that is renamed while a Sync is at work goes all the same.
func TestRenameWhileASyncIsAtWorkLeavesNothing(t *testing.T) {
	r := newRig(t, all())
	r.put("a", dirAttr())
	from, to := change.Path("a"), change.Path("b")
	for n := range 100 {
		for k := range 20 {
			r.file(from.Join(fmt.Sprint("f", k)), fmt.Sprint(n))
		}
		var sync sync.WaitGroup
		sync.Go(func() {
			if err := r.Sync(); err != nil {
				t.Error(err)
			}
		})
		if err := r.Rename([]Move{{From: from, To: to}})[0]; err != nil {
			t.Error(err)
		}
		sync.Wait()
		from, to = to, from
	}
	r.clean()
}

// A file replaced a directory, which waits, and is renamed.
func TestRenameOfAFileThatADirectoryWaitsFor(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	r.file("d", "a file")
	if n := len(temps(t, r.dir)); n == 0 {
		t.Error("nothing waits: this proves nothing")
	}
	if err := r.Rename([]Move{{From: "d", To: "f"}})[0]; err != nil {
		t.Error(err)
	}
	r.has("f", "a file")
	r.clean()
}

// The time that a directory was given stays when what waits in it goes.
func TestSyncLeavesTheTimeOfADirectory(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	r.file("d/new", "x")
	r.file("d/f", "old")
	r.file("d/f", "new")
	r.put("d", dirAttr())
	if len(temps(t, r.dir)) == 0 {
		t.Error("nothing waits: this proves nothing")
	}
	r.clean()
	r.same("d", dirAttr())
}

// What waits is bounded, without anybody who calls Sync.
func TestWhatWaitsIsBounded(t *testing.T) {
	r := newRig(t, all())
	const files = 2 * reapMax
	// Most went already, which is no failure, and quicker.
	r.waiting.add(change.Root, slices.Repeat([]string{r.temp("gone")}, maxWaiting-files))
	if !r.Crowded() {
		t.Error("nobody is told")
	}
	for n := range files + 10 {
		r.file(change.Path(fmt.Sprint("f", n%100)), "x")
	}
	if n := r.waiting.count; n > 10 {
		t.Errorf("%d wait", n)
	}
	r.clean()
}
