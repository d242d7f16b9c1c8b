package replicate_test

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/transport/local"
	"sersync/internal/treetest"
	"sersync/internal/watch/mixed"
)

// local describes the directory of a module, as a target of our own.
func (r *rig) local(module string) replicate.TargetOptions {
	to := local.New(local.Options{Dir: r.daemon.Dir(module), Log: r.opts.Log})
	return replicate.TargetOptions{Name: module, Transport: to, Identity: module}
}

// onePaused starts, until both targets have all, and pauses "one". It returns how many files were sent by then.
func (r *rig) onePaused(sent *atomic.Int64) int64 {
	r.t.Helper()
	r.start()
	r.must(r.src.Sweep())
	r.equal("one")
	r.equal("two")
	before := sent.Load()
	r.must(r.src.Pause("one"))
	return before
}

// ownRig is a renameRig with a target of our own, in which every file that is renamed is worth a move. It counts what the target one got.
func ownRig(t *testing.T, change func(*rig)) (*rig, *atomic.Int64) {
	var sent atomic.Int64
	r, _ := renameRig(t, func(r *rig) {
		r.opts.MoveFileLeast = 1
		r.opts.OnBatch = func(b replicate.BatchDone) {
			if b.Target == "one" {
				sent.Add(int64(b.Files))
			}
		}
		r.opts.Targets = []replicate.TargetOptions{r.local("one")}
		noBudget(r)
		if change != nil {
			change(r)
		}
	})
	return r, &sent
}

// rewrite changes the content of a file so that neither its size nor its mtime tell.
func (r *rig) rewrite(rel string) {
	info, err := os.Stat(r.path(rel))
	r.must(err)
	r.write(rel, strings.Repeat("*", int(info.Size())))
	r.must(os.Chtimes(r.path(rel), info.ModTime(), info.ModTime()))
}

func (r *rig) exchange(p, q string) {
	r.must(unix.Renameat2(unix.AT_FDCWD, r.path(p), unix.AT_FDCWD, r.path(q), unix.RENAME_EXCHANGE))
}

// A file that is renamed is not sent again.
func TestRenamedFileIsNotSentAgain(t *testing.T) {
	byEach(t, func(t *testing.T, by mixed.Options) {
		r, sent := ownRig(t, func(r *rig) {
			r.watchedBy(by)
			r.opts.MoveFileLeast = 0 // the default
		})
		r.write("big.iso", strings.Repeat("x", 1<<20))
		r.write("old.iso", strings.Repeat("y", 1<<20))
		r.write("d/f", "x")
		r.start()
		r.must(r.src.Sweep())
		r.equal("one")
		before := sent.Load()
		for _, move := range [][2]string{{"big.iso", "other name.iso"}, {"other name.iso", "d/big"}, {"old.iso", "big.iso"}, {"d/big", "big.iso"}} {
			r.rename(move[0], move[1])
			r.equal("one")
		}
		if n := sent.Load() - before; n > 0 {
			t.Errorf("%d files were sent", n)
		}
	})
}

// Files that are renamed while the target is paused, however often, are moved when it goes on, unless they may be others by then.
func TestRenamesOfFilesWhileTheTargetIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		steps []func(r *rig)
		sent  int64 // at the most
	}{
		"a chain": {steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rename("x", "y") }, func(r *rig) { r.rename("y", "d/z") },
		}},
		"back again": {steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rename("x", "a") },
		}},
		"one after the other": {steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rename("b", "a") }, func(r *rig) { r.rename("c", "b") },
		}},
		"a circle by a temporary name": {steps: []func(r *rig){
			func(r *rig) { r.rename("a", "tmp") }, func(r *rig) { r.rename("b", "a") },
			func(r *rig) { r.rename("c", "b") }, func(r *rig) { r.rename("tmp", "c") },
		}},
		"a circle at once": {steps: []func(r *rig){func(r *rig) {
			r.rename("a", "tmp")
			r.rename("b", "a")
			r.rename("c", "b")
			r.rename("tmp", "c")
		}}},
		"exchanged": {steps: []func(r *rig){func(r *rig) { r.exchange("a", "b") }}},
		"exchanged and back": {steps: []func(r *rig){
			func(r *rig) { r.exchange("a", "b") }, func(r *rig) { r.exchange("a", "b") },
		}},
		"over another one": {steps: []func(r *rig){func(r *rig) { r.rename("a", "b") }}},
		"over one that was removed": {steps: []func(r *rig){
			func(r *rig) { r.must(os.Remove(r.path("b"))) }, func(r *rig) { r.rename("a", "b") },
		}},
		"changed before, its mtime restored": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rewrite("a") }, func(r *rig) { r.rename("a", "x") },
		}},
		"changed and renamed at once": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rewrite("a"); r.rename("a", "x") },
		}},
		"renamed and changed at once": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x"); r.rewrite("x") },
		}},
		"changed after, its mtime restored": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rewrite("x") },
		}},
		"changed between two": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.rewrite("x") }, func(r *rig) { r.rename("x", "y") },
		}},
		"made longer after": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.write("x", "longer than before") },
		}},
		"the old name is made again": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.write("a", "a 1") },
		}},
		"a directory in its old place": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("a", "x") }, func(r *rig) { r.write("a/f", "a 1") },
		}},
		"its directory is renamed after": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("d/f", "d/g") }, func(r *rig) { r.rename("d", "e") },
		}},
		"its directory is renamed before": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.rename("d", "e") }, func(r *rig) { r.rename("e/f", "e/g") },
		}},
		"into a directory that is new": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.must(os.Mkdir(r.path("n"), 0o755)) }, func(r *rig) { r.rename("a", "n/a") },
		}},
		"out of the source and back": {sent: 1, steps: []func(r *rig){
			func(r *rig) { r.must(os.Rename(r.path("a"), r.dir+".away")) }, func(r *rig) { r.must(os.Rename(r.dir+".away", r.path("x"))) },
		}},
		"with a second name": {sent: 2, steps: []func(r *rig){
			func(r *rig) { r.must(os.Link(r.path("a"), r.path("l"))) }, func(r *rig) { r.rename("a", "x") },
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, sent := ownRig(t, func(r *rig) {
				r.opts.Targets = append(r.opts.Targets, r.target("two", nil))
			})
			at := time.Unix(1700000000, 5)
			for _, f := range []string{"a", "b", "c", "d/f", "d/sub/x"} {
				r.write(f, f[:1]+" 0")
				r.must(os.Chtimes(r.path(f), at, at)) // one size and time for all
			}
			before := r.onePaused(sent)
			for _, step := range c.steps {
				step(r)
				r.equal("two")
			}
			r.must(r.src.Resume("one"))
			r.equal("one")
			if n := sent.Load() - before; n > c.sent {
				t.Errorf("%d files were sent", n)
			}
		})
	}
}

// A directory is moved where a filter has rules, too, when they keep all of it in both places. What they drop stays where it is on the target, and
// so does the directory that it is in.
func TestRenamesWithAFilter(t *testing.T) {
	for name, c := range map[string]struct {
		planted []string
		paused  bool
		steps   func(r *rig)
		sent    int64 // at the most
	}{
		"nothing that is dropped": {steps: func(r *rig) { r.rename("a", "x") }},
		"dropped at the source": {steps: func(r *rig) {
			r.write("a/sub0/own.log", "x")
			r.rename("a", "x")
		}},
		"dropped on the target":  {sent: 30, planted: []string{"a/sub0/own.log"}, steps: func(r *rig) { r.rename("a", "x") }},
		"dropped beside it":      {planted: []string{"b/own.log", "own.log"}, steps: func(r *rig) { r.rename("a", "x") }},
		"dropped where it comes": {sent: 30, planted: []string{"x/own.log"}, steps: func(r *rig) { r.rename("a", "x") }},
		"dropped in its new place": {sent: 31, steps: func(r *rig) {
			r.write("a/cache", "x")
			r.equal("two")
			r.rename("a", "x")
		}},
		"changed on the way": {sent: 2, paused: true, steps: func(r *rig) {
			r.write("a/sub0/new", "x")
			r.rewrite("a/sub1/f1")
			r.must(os.Remove(r.path("a/sub2/f2")))
			r.rename("a", "x")
		}},
		"back again": {paused: true, steps: func(r *rig) {
			r.rename("a", "x")
			r.wait("two")
			r.rename("x", "a")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := filtered(t, filter.Glob("", "*.log"), filter.Glob("", "/x/cache"))
			r, sent := ownRig(t, func(r *rig) {
				r.opts.Filter = rules
				r.opts.Targets = append(r.opts.Targets, r.target("two", nil))
			})
			for _, dir := range []string{"a", "b"} {
				r.fill(dir, 30)
			}
			r.start()
			r.must(r.src.Sweep())
			r.wait()
			for _, p := range c.planted {
				r.put("one", p)
				r.put("two", p)
			}
			before := sent.Load()
			if c.paused {
				r.must(r.src.Pause("one"))
			}
			c.steps(r)
			r.wait("two")
			if c.paused {
				r.must(r.src.Resume("one"))
			}
			r.wait()
			dropped := func(rel string) bool {
				return ofOurs(rel) || strings.HasSuffix(rel, ".log") || rel == "x/cache" || holds(rel, c.planted)
			}
			for _, module := range []string{"one", "two"} {
				r.eventually("the target is the filtered source", func() bool {
					source, target := treetest.Snapshot(t, r.dir, dropped), treetest.Snapshot(t, r.daemon.Dir(module), dropped)
					return treetest.Diff(files(source), files(target)) == ""
				})
				for _, p := range c.planted {
					if there := r.there(module, p); there != "of the target" {
						t.Errorf("%s of %s is %q", p, module, there)
					}
				}
			}
			if n := sent.Load() - before; n > c.sent {
				t.Errorf("%d files were sent", n)
			}
		})
	}
}
