package replicate_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sersync/internal/hook"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/mixed"
)

// renameRig is a source in which every directory that is renamed is worth a move. It counts the content that is sent.
func renameRig(t *testing.T, change func(*rig)) (*rig, *atomic.Int64) {
	var sent atomic.Int64
	r := newRig(t, func(r *rig) {
		r.opts.MoveLeast = 1
		r.opts.OnBatch = func(b replicate.BatchDone) { sent.Add(int64(b.Files)) }
		if change != nil {
			change(r)
		}
	})
	return r, &sent
}

func (r *rig) path(rel string) string { return filepath.Join(r.dir, rel) }

func (r *rig) rename(from, to string) {
	r.t.Helper()
	r.must(os.Rename(r.path(from), r.path(to)))
}

// fill makes files in a directory of the source.
func (r *rig) fill(dir string, files int) {
	for i := range files {
		r.write(fmt.Sprintf("%s/sub%d/f%d", dir, i%3, i), fmt.Sprintf("%s %d", dir, i))
	}
}

// single fails the test when a file of a module has more than one link.
func (r *rig) single(module string) {
	r.t.Helper()
	err := filepath.Walk(r.daemon.Dir(module), func(p string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Sys().(*syscall.Stat_t).Nlink != 1 {
			r.t.Errorf("%s has %d links", p, info.Sys().(*syscall.Stat_t).Nlink)
		}
		return err
	})
	r.must(err)
}

// What is renamed is moved on the target: no file of it is sent again, and nothing is left of the old name.
func TestRenamedDirectoryIsNotSentAgain(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		r, sent := renameRig(t, func(r *rig) { r.watchedBy(by) })
		r.start()
		r.fill("old", 40)
		r.must(os.Symlink("nowhere", r.path("old/link")))
		r.must(os.MkdirAll(r.path("old/empty/dir"), 0o755))
		r.equal("one")
		before := sent.Load()
		r.rename("old", "new name")
		r.equal("one")
		r.must(os.MkdirAll(r.path("a/b"), 0o755))
		r.equal("one") // it is watched by now
		r.rename("new name", "a/b/c")
		r.equal("one")
		if n := sent.Load() - before; n > 0 {
			t.Errorf("%d files were sent", n)
		}
		r.single("one")
	})
}

// A directory of ten thousand files, one of which changed just before so that neither its size nor its mtime tells: it alone is sent.
func TestRenameOfManyFilesSendsWhatChanged(t *testing.T) {
	r, sent := renameRig(t, func(r *rig) { r.opts.MoveLeast = 0 }) // the default
	r.fill("old", 10_000)
	r.start()
	r.equal("one")
	r.wait() // what is on its way is not moved
	before := sent.Load()
	file := r.path("old/sub1/f1")
	info, err := os.Stat(file)
	r.must(err)
	r.write("old/sub1/f1", "old X")
	r.must(os.Chtimes(file, info.ModTime(), info.ModTime()))
	r.rename("old", "new")
	r.equal("one")
	if n := sent.Load() - before; n > 2 {
		t.Errorf("%d files were sent", n)
	}
	if s := r.src.Status(); s.Brake != nil || s.Targets[0].Held > 0 {
		t.Errorf("removals are held: %+v", s)
	}
	r.single("one")
}

// lateWatcher keeps what happens to itself until somebody asks for all that happened.
type lateWatcher struct {
	watch.Watcher
	late *atomic.Bool
	asks chan struct{}
}

func (w lateWatcher) Run(ctx context.Context, sink func([]watch.Event)) error {
	return w.Watcher.Run(ctx, func(events []watch.Event) {
		if w.late.Load() {
			select {
			case <-w.asks:
			case <-ctx.Done():
			}
		}
		sink(events)
	})
}

func (w lateWatcher) Sync(ctx context.Context) error {
	if w.late.CompareAndSwap(true, false) {
		close(w.asks)
	}
	return w.Watcher.Sync(ctx)
}

// watchedLate has what happens kept back, from when late is true until somebody asks.
func (r *rig) watchedLate(late *atomic.Bool) {
	inner := r.opts.NewWatcher
	r.opts.NewWatcher = func(root *scan.Root) (watch.Watcher, error) {
		w, err := inner(root)
		return lateWatcher{w, late, make(chan struct{})}, err
	}
}

// A file may have to be sent when its directory is renamed already and nobody was told of that yet: it is not taken for a removal.
func TestRenameThatASenderSeesBeforeItIsToldIsARename(t *testing.T) {
	late := new(atomic.Bool)
	r, sent := renameRig(t, func(r *rig) { r.watchedLate(late) })
	r.fill("old", 40)
	r.start()
	r.equal("one")
	before := sent.Load()
	r.must(r.src.Pause("one"))
	r.write("old/sub1/f1", "changed")
	r.eventually("it is marked", func() bool { return r.src.Status().Targets[0].Waiting > 0 })
	late.Store(true)
	r.rename("old", "new")
	r.must(r.src.Resume("one"))
	r.eventually("it is not there any more", func() bool { return r.count("one", "old") == 0 })
	r.equal("one")
	if n := sent.Load() - before; n != 1 {
		t.Errorf("%d files were sent", n)
	}
}

// What is renamed while the target is paused, however often, is moved when it goes on.
func TestRenamesWhileTheTargetIsAway(t *testing.T) {
	rewrite := func(r *rig, rel, content string) {
		info, err := os.Stat(r.path(rel))
		r.must(err)
		r.write(rel, content)
		r.must(os.Chtimes(r.path(rel), info.ModTime(), info.ModTime()))
	}
	for name, c := range map[string]struct {
		steps []func(r *rig)
		sent  int64 // at the most
	}{
		"a chain": {steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rename("x", "y") }, func(r *rig) { r.rename("y", "z") },
		}},
		"back again": {steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rename("x", "a") },
		}},
		"one after the other": {steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rename("b", "a") }, func(r *rig) { r.rename("c", "b") },
		}},
		"a circle by a temporary name": {sent: 90, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "tmp") }, func(r *rig) { r.rename("b", "a") },
			func(r *rig) { r.rename("c", "b") }, func(r *rig) { r.rename("tmp", "c") },
		}},
		"changed before, its mtime restored": {sent: 1, steps: []func(r *rig){
			func(r *rig) { rewrite(r, "a/sub0/f0", "A 0") }, func(r *rig) { r.rename("a", "x") },
		}},
		"changed after, its mtime restored": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { rewrite(r, "x/sub0/f0", "A 0") },
		}},
		"changed between two": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { rewrite(r, "x/sub0/f0", "A 0") }, func(r *rig) { r.rename("x", "b/x") },
		}},
		"over one that was removed": {sent: 30, steps: []func(r *rig){
			func(r *rig) { r.must(os.RemoveAll(r.path("b"))) }, func(r *rig) { r.rename("a", "b") },
		}},
		"something removed and made inside": {sent: 2, steps: []func(r *rig){
			func(r *rig) { r.must(os.RemoveAll(r.path("a/sub0"))); r.write("a/sub0/n", "x") },
			func(r *rig) { r.rename("a", "x") },
			func(r *rig) { r.must(os.RemoveAll(r.path("x/sub1"))); r.write("x/sub1/n", "x") },
		}},
		"into a directory that is new": {steps: []func(r *rig){
			func(r *rig) { r.must(os.MkdirAll(r.path("n/m"), 0o755)) }, func(r *rig) { r.rename("a", "n/m/a") },
		}},
		"out of the source and back": {sent: 30, steps: []func(r *rig){
			func(r *rig) { r.must(os.Rename(r.path("a"), r.dir+".away")) }, func(r *rig) { r.must(os.Rename(r.dir+".away", r.path("x"))) },
		}},
		"the old name is made again": {sent: 30, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.fill("a", 30) }, func(r *rig) { r.rename("a", "y") },
		}},
		"one inside the other": {sent: 60, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "b/a") }, func(r *rig) { r.rename("b", "c/b") }, func(r *rig) { r.rename("c/b/a/sub0", "s") },
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			r, _ := renameRig(t, func(r *rig) {
				r.opts.OnBatch = func(b replicate.BatchDone) {
					if b.Target == "one" {
						sent.Add(int64(b.Files))
					}
				}
				r.opts.Targets = append(r.opts.Targets, r.target("two", nil))
				noBudget(r)
			})
			for _, dir := range []string{"a", "b", "c"} {
				r.fill(dir, 30)
			}
			r.start()
			r.equal("one")
			r.equal("two")
			before := sent.Load()
			r.must(r.src.Pause("one"))
			for _, step := range c.steps {
				step(r)
				r.equal("two")
			}
			r.must(r.src.Resume("one"))
			r.equal("one")
			if n := sent.Load() - before; n > c.sent {
				t.Errorf("%d files were sent", n)
			}
			r.single("one")
		})
	}
}

// P1: what takes the place of another directory arrives, also where the names, sizes and times in both are the same: sent or moved, at
// once or later.
func TestDirectoryInThePlaceOfAnotherWithTheSameSizesAndTimes(t *testing.T) {
	at := time.Unix(1700000000, 5)
	for name, least := range map[string]int64{"moved": 1, "sent": 1 << 40} {
		for _, paused := range []bool{true, false} {
			for _, slowly := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, paused %v, slowly %v", name, paused, slowly), func(t *testing.T) {
					t.Parallel()
					r, _ := renameRig(t, func(r *rig) {
						r.opts.MoveLeast = least
						r.opts.Targets = append(r.opts.Targets, r.target("two", nil))
					})
					for _, dir := range []string{"current", "next"} {
						for i := range 20 {
							p := fmt.Sprintf("%s/d/f%d", dir, i)
							r.write(p, fmt.Sprintf("%8s%3d", dir, i))
							r.must(os.Chtimes(r.path(p), at, at))
						}
					}
					r.start()
					r.equal("one")
					r.equal("two")
					if paused {
						r.must(r.src.Pause("one"))
					}
					r.rename("current", "previous")
					if slowly {
						r.wait("two")
					}
					r.rename("next", "current")
					r.equal("two")
					r.must(r.src.Resume("one"))
					r.equal("one")
				})
			}
		}
	}
}

// P2: a kill at any time of a rename loses nothing, whatever the file of the journal has of it.
func TestP2RenameAndAKill(t *testing.T) {
	for name, c := range map[string]struct {
		paused bool
		file   string // as it was: before the rename, or after it
		down   func(r *rig)
	}{
		"nothing of it is in the file":           {file: "before"},
		"all of it is in the file":               {file: "after"},
		"moved back while nobody ran":            {file: "after", down: func(r *rig) { r.rename("new", "old") }},
		"moved back, nothing in the file":        {file: "before", down: func(r *rig) { r.rename("new", "old") }},
		"not on the target":                      {paused: true, file: "after"},
		"not on the target, nothing in the file": {paused: true, file: "before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := keptRig(t, func(r *rig) { r.opts.MoveLeast = 1 })
			r.start()
			r.fill("old", 30)
			r.equal("one")
			data := r.saved()
			if c.paused {
				r.must(r.src.Pause("one"))
			}
			r.rename("old", "new")
			if !c.paused {
				r.equal("one")
			}
			if c.file == "after" {
				r.eventually("it is noticed", func() bool { return r.src.Status().Marks > 0 && r.src.Status().Journal.Unsaved == 0 })
				data = r.saved()
			}
			r.restart(func() {
				r.must(os.WriteFile(r.journalFile(), data, 0o600))
				if c.down != nil {
					c.down(r)
				}
			})
			if c.paused {
				r.must(r.src.Resume("one"))
			}
			r.equal("one")
		})
	}
}

// What failed under the old name is tried under the new one; the old one is no dead letter.
func TestRenameAboveWhatFails(t *testing.T) {
	t.Parallel()
	r, _ := renameRig(t, func(r *rig) { r.opts.Targets[0].DeadAfter = 2 })
	r.start()
	r.fill("a", 30)
	r.equal("one")
	bad := filepath.Join(r.daemon.Dir("one"), "a/sub0/f0")
	attribute := func(flag string) {
		if out, err := exec.Command("chattr", flag, bad).CombinedOutput(); err != nil {
			t.Fatalf("chattr %s: %v: %s", flag, err, out)
		}
	}
	attribute("+i")
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", bad).Run() })
	r.write("a/sub0/f0", "cannot be replaced")
	r.eventually("it is a dead letter", func() bool { return r.src.Status().Targets[0].Dead == 1 })
	r.rename("a", "b")
	r.eventually("it is there by its new name", func() bool { return r.there("one", "b/sub0/f0") == "cannot be replaced" })
	attribute("-i")
	r.src.RetryAll()
	r.equal("one")
	r.single("one")
}

// Hooks are told of each file below the new name when the target has it, and that the old one went.
func TestHookIsToldOfARename(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	r, l := hooked(t, replicate.HookOptions{On: hook.Acked}, func(r *rig) {
		r.opts.MoveLeast = 1
		r.opts.OnBatch = func(b replicate.BatchDone) { sent.Add(int64(b.Files)) }
	})
	r.fill("old", 9)
	r.write("rest", "x")
	r.ticked("rest")
	r.start()
	r.wait()
	r.must(r.src.Sweep())
	r.equal("one")
	l.refusing(func(_ context.Context, e hook.Event) error {
		for _, p := range e.Paths {
			if there := r.exists("one", string(p.Path)); there != (p.What == hook.Updated) {
				t.Errorf("told of %s %s, there: %v", p.Path, p.What, there)
			}
		}
		return nil
	})
	before := sent.Load()
	r.rename("old", "new")
	r.equal("one")
	r.eventually("all is told", func() bool {
		told := l.last("old") == hook.Removed && l.last("new") == hook.Updated && l.last("new/sub2") == hook.Updated
		for i := range 9 {
			told = told && l.last(fmt.Sprintf("new/sub%d/f%d", i%3, i)) == hook.Updated
		}
		return told
	})
	if n := sent.Load() - before; n > 0 {
		t.Errorf("%d files were sent", n)
	}
}
