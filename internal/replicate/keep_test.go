package replicate_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/scan"
	"sersync/internal/treetest"
)

// sent are the paths that were handed to targets.
type sent struct {
	mu    sync.Mutex
	paths map[string]bool
}

func (s *sent) take(b replicate.BatchDone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range b.Paths {
		s.paths[p.String()] = true
	}
}

// reset forgets what was sent so far, and returns it in its order.
func (s *sent) reset() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	paths := slices.Sorted(maps.Keys(s.paths))
	s.paths = map[string]bool{}
	return paths
}

// keptRig is a rig whose journal is kept on disk, and which notes what is sent. Nothing is compared at its start.
func keptRig(t *testing.T, change func(*rig)) (*rig, *sent) {
	t.Helper()
	s := &sent{paths: map[string]bool{}}
	r := newRig(t, func(r *rig) {
		r.opts.Initial = false
		r.opts.StateDir = t.TempDir()
		r.opts.OnBatch = s.take
		if change != nil {
			change(r)
		}
	})
	return r, s
}

// restart stops the source, does what is to be done while it is down, and starts it again.
func (r *rig) restart(down func()) {
	r.t.Helper()
	names := []string{}
	for _, t := range r.opts.Targets {
		names = append(names, t.Name)
	}
	r.stop()
	if down != nil {
		down()
	}
	r.opts.Targets = nil
	for _, name := range names {
		r.opts.Targets = append(r.opts.Targets, r.target(name, nil))
	}
	r.start()
}

// journalFile is where the journal is kept.
func (r *rig) journalFile() string {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.opts.StateDir, "journal-*.db"))
	if err != nil || len(files) != 1 {
		r.t.Fatalf("journals %q, %v", files, err)
	}
	return files[0]
}

// saved waits until the file has all, and returns a copy of it: what a kill would leave.
func (r *rig) saved() []byte {
	r.t.Helper()
	r.eventually("the journal is written", func() bool {
		k := r.src.Status().Journal
		return k.Saved != nil && k.Unsaved == 0
	})
	data, err := os.ReadFile(r.journalFile())
	r.must(err)
	return data
}

// ticked waits until what changes now is later than the file by the kernel's clock.
func (r *rig) ticked(rel string) {
	r.t.Helper()
	r.eventually("the clock has ticked on", func() bool {
		info, err := os.Stat(filepath.Join(r.dir, rel))
		return err == nil && scan.Now().After(info.ModTime())
	})
}

// P3: after a restart what changed meanwhile is sent and nothing else, and no target is compared.
func TestP3RestartSendsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	r, sent := keptRig(t, nil)
	r.start()
	for i := range 200 {
		r.write(fmt.Sprintf("d%d/sub/f%d", i%10, i), "x")
	}
	r.write("gone/f", "x")
	r.equal("one")
	sent.reset()
	r.restart(nil)
	r.equal("one")
	if got := sent.reset(); len(got) > 0 {
		t.Errorf("after a restart in which nothing changed %q was sent", got)
	}
	r.restart(func() {
		r.write("d3/sub/f3", "other")
		r.write("new/f", "x")
		r.must(os.RemoveAll(filepath.Join(r.dir, "gone")))
		r.must(os.Chmod(filepath.Join(r.dir, "d4/sub/f4"), 0o600))
	})
	r.equal("one")
	got := slices.DeleteFunc(sent.reset(), func(p string) bool { return p == "." })
	if diff := cmp.Diff([]string{"d3/sub/f3", "d4/sub/f4", "gone", "new", "new/f"}, got); diff != "" {
		t.Errorf("sent after the restart (-want +got):\n%s", diff)
	}
	if s := r.src.Status().Targets[0]; s.Swept != nil {
		t.Errorf("the target was compared: %+v", s)
	}
}

// P2: what was sent last before a kill and is not in the journal on disk leaves nothing behind: neither what came and went
// in that time, nor what went while nobody ran.
func TestP2LostTailLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.start()
	for _, p := range []string{"a/f", "a/deep/g", "b/h", "quiet/deep/i", "quiet/j", "linked"} {
		r.write(p, "first")
	}
	r.equal("one")
	tail := r.saved()
	r.write("a/came", "x")
	r.write("a/newdir/sub/came", "x")
	r.write("a/f", "second")
	r.write("b/h", "a second one that stays")
	r.must(os.Remove(filepath.Join(r.dir, "linked")))
	r.must(os.Rename(filepath.Join(r.dir, "a/deep"), filepath.Join(r.dir, "b/deeper")))
	r.equal("one")
	quiet := filepath.Join(r.daemon.Dir("one"), "quiet/j")
	before, err := os.Stat(quiet)
	r.must(err)
	r.restart(func() {
		r.must(os.WriteFile(r.journalFile(), tail, 0o600))
		r.must(os.Remove(filepath.Join(r.dir, "a/came")))
		r.must(os.RemoveAll(filepath.Join(r.dir, "a/newdir")))
		r.write("a/f", "third!")
	})
	r.equal("one")
	if after, err := os.Stat(quiet); err != nil || !os.SameFile(before, after) {
		t.Errorf("quiet/j was sent anew (%v), and did not change", err)
	}
}

// P2: a directory that was moved away, removed on the target and moved back arrives again, wherever the kill falls.
func TestP2DirectoryThatCameBackBeforeTheKillArrives(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.start()
	r.write("d/deep/f", "x")
	r.equal("one")
	r.saved()
	outside := filepath.Join(t.TempDir(), "d")
	r.must(os.Rename(filepath.Join(r.dir, "d"), outside))
	r.equal("one")
	data, err := os.ReadFile(r.journalFile()) // as soon as the removal is acked
	r.must(err)
	r.restart(func() {
		r.must(os.WriteFile(r.journalFile(), data, 0o600))
		r.must(os.Rename(outside, filepath.Join(r.dir, "d")))
	})
	r.equal("one")
}

// A first start without a comparison indexes, sends nothing and removes nothing; what changes from then on is sent.
func TestFirstStartOnlyIndexes(t *testing.T) {
	t.Parallel()
	r, sent := keptRig(t, nil)
	r.write("here", "x")
	r.ticked("here")
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "there"), []byte("x"), 0o644))
	r.start()
	r.wait()
	r.write("new", "x")
	r.wait()
	if got := sent.reset(); !slices.Equal(got, []string{"new"}) {
		t.Errorf("sent: %q", got)
	}
	if !r.exists("one", "there") || r.exists("one", "here") || !r.exists("one", "new") {
		t.Error("the target is not what it was, and the new file")
	}
}

// A target that is new gets everything, and loses nothing; the others are left alone. One that is gone is forgotten.
func TestNewTargetIsFilledAndTheOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	r, sent := keptRig(t, nil)
	r.start()
	r.write("d/f", "x")
	r.equal("one")
	r.stop()
	r.must(os.WriteFile(filepath.Join(r.daemon.Dir("two"), "its own"), []byte("x"), 0o644))
	sent.reset()
	byTarget := map[string]int{}
	r.opts.OnBatch = func(b replicate.BatchDone) {
		sent.mu.Lock()
		defer sent.mu.Unlock()
		byTarget[b.Target] += len(b.Paths)
	}
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil), r.target("two", nil)}
	r.start()
	r.wait()
	if got := r.there("two", "d/f"); got != "x" || !r.exists("two", "its own") {
		t.Errorf("the new target has d/f %q; its own file is there: %v", got, r.exists("two", "its own"))
	}
	if byTarget["one"] != 0 {
		t.Errorf("%d paths were sent to the old target", byTarget["one"])
	}
	r.stop()
	r.opts.Targets = []replicate.TargetOptions{r.target("two", nil)}
	r.start()
	r.wait()
	if !strings.Contains(r.logged.String(), "no longer configured") {
		t.Error("nothing was said of the target that is gone")
	}
}

// A journal that was damaged is named and replaced: updates go at once, what the target has too much is held.
func TestDamagedJournalHoldsRemovals(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.start()
	r.write("d/f", "x")
	r.equal("one")
	r.restart(func() {
		r.must(os.WriteFile(r.journalFile(), []byte(strings.Repeat("no journal ", 1000)), 0o600))
		r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "d/extra"), []byte("x"), 0o644))
		r.write("d/f", "other")
	})
	r.eventually("the update is there and the removal is held", func() bool {
		s := r.src.Status()
		return r.there("one", "d/f") == "other" && s.Brake != nil && s.Brake.Kind == "journal-lost" && s.Brake.Held == 1
	})
	if log := r.logged.String(); !strings.Contains(log, "unusable-") {
		t.Error("the log does not say where the damaged file is")
	}
	if !r.exists("one", "d/extra") {
		t.Fatal("the extra file was removed")
	}
	r.restart(nil) // also now
	r.eventually("the removal is held still", func() bool {
		s := r.src.Status()
		return s.State == "watching" && s.Brake != nil && s.Brake.Kind == "journal-lost" && s.Brake.Held == 1
	})
	r.src.Approve()
	r.equal("one")
}

// P7: a brake survives a restart, and so does what it holds. What went while nobody ran is judged as well.
func TestP7BrakesSurviveARestart(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.start()
	for i := range 150 {
		r.write(fmt.Sprintf("d/f%d", i), "x")
	}
	r.equal("one")
	held := func() bool {
		s := r.src.Status()
		return s.State == "watching" && s.Brake != nil && s.Brake.Kind == "removal-budget" && s.Targets[0].Held > 0
	}
	r.restart(func() {
		for i := range 140 {
			r.must(os.Remove(filepath.Join(r.dir, fmt.Sprintf("d/f%d", i))))
		}
	})
	r.eventually("the removals are held", held)
	r.restart(nil)
	r.eventually("the removals are held after a restart", held)
	if !r.exists("one", "d/f0") {
		t.Fatal("a file was removed that was held")
	}
	r.src.Approve()
	r.equal("one")
}

// P7: a root that is another directory after a restart holds removals until a person approves.
func TestP7RootThatWasReplacedWhileDownHoldsRemovals(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.start()
	r.write("f", "x")
	r.write("g", "x")
	r.equal("one")
	r.restart(func() {
		r.must(os.Rename(r.dir, r.dir+".old"))
		r.must(os.Mkdir(r.dir, 0o700))
		r.write("new", "x")
	})
	r.eventually("the new file is there and removals are held", func() bool {
		s := r.src.Status()
		return r.exists("one", "new") && s.Brake != nil && s.Brake.Kind == "root-replaced" && s.Brake.Held >= 2
	})
	r.src.Approve()
	r.equal("one")
	r.restart(nil)
	r.equal("one")
	if b := r.src.Status().Brake; b != nil {
		t.Errorf("what was approved is held again: %+v", b)
	}
}

// A changed filter: what it newly drops is not removed, what it newly keeps is sent, and nothing else.
func TestChangedFilterConcernsOnlyWhatItNames(t *testing.T) {
	t.Parallel()
	rules := func(pattern string) *filter.Filter {
		f, err := filter.New(filter.Glob("test:1", pattern))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	r, sent := keptRig(t, func(r *rig) { r.opts.Filter = rules("*.tmp") })
	r.start()
	r.write("d/a.tmp", "x")
	r.write("d/b.log", "x")
	r.write("d/c", "x")
	r.wait()
	sent.reset()
	r.restart(func() { r.opts.Filter = rules("*.log") })
	r.wait()
	if got := sent.reset(); !slices.Equal(got, []string{"d/a.tmp"}) {
		t.Errorf("sent: %q", got)
	}
	if !r.exists("one", "d/b.log") {
		t.Error("what the filter newly drops was removed")
	}
}

// P2 and P4: what is owed to a target that is away survives restarts, also a kill, and arrives once it is there.
func TestP2WhatIsOwedToATargetThatIsAwaySurvivesARestart(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.write("before", "x")
	r.start()
	r.wait()
	r.daemon.Stop()
	for i := range 50 {
		r.write(fmt.Sprintf("d/f%d", i), "x")
	}
	r.eventually("the target is away", func() bool { return r.src.Status().Targets[0].State == "away" })
	tail := r.saved()
	r.restart(func() { r.must(os.WriteFile(r.journalFile(), tail, 0o600)) })
	r.eventually("it is owed", func() bool {
		s := r.src.Status()
		return s.State == "watching" && s.Targets[0].Waiting >= 50
	})
	if s := r.src.Status().Targets[0]; s.Lag < 0.001 {
		t.Errorf("status: %+v", s)
	}
	r.daemon.Restart()
	r.wait()
	for i := range 50 {
		if r.there("one", fmt.Sprintf("d/f%d", i)) != "x" {
			t.Errorf("f%d is not there", i)
		}
	}
}

// A state directory that is full stops nothing but removals of directories, says so, and recovers by itself.
func TestFullStateDirectoryStopsNoUpdate(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=128k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	r, _ := keptRig(t, func(r *rig) { r.opts.StateDir = filepath.Join(mount, "state") })
	r.start()
	long := strings.Repeat("n", 200)
	for i := range 3000 {
		r.write(fmt.Sprintf("d%d/%s%d", i%10, long, i), "x")
	}
	r.equal("one")
	r.eventually("the status says so", func() bool { return r.src.Status().Journal.Error != "" })
	r.write("d1/more", "x")
	r.equal("one")
	r.must(os.RemoveAll(filepath.Join(r.dir, "d2")))
	r.must(unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, "size=64m"))
	r.equal("one")
	r.eventually("the status says that it is well", func() bool { return r.src.Status().Journal.Error == "" })
	treetest.Equal(t, r.dir, r.daemon.Dir("one"), nil)
}

// P2: a file that is being written when sersync is killed is sent by the next start, closed or not.
func TestP2FileThatIsBeingWrittenAtAKillIsSent(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.start()
	r.write("f", "first")
	r.equal("one")
	open, err := os.OpenFile(filepath.Join(r.dir, "f"), os.O_WRONLY, 0)
	r.must(err)
	defer open.Close()
	_, err = open.WriteAt([]byte("F"), 0)
	r.must(err)
	tail := r.saved()
	r.restart(func() { r.must(os.WriteFile(r.journalFile(), tail, 0o600)) })
	r.equal("one")
}

// While a journal of many paths is read and compared, live changes are sent.
func TestLiveChangesFlowWhileTheSourceIsCompared(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	for i := range 3000 {
		r.write(fmt.Sprintf("d%d/f%d", i%100, i), "x")
	}
	r.start()
	r.wait()
	r.restart(func() {
		for i := range 3000 {
			r.write(fmt.Sprintf("d%d/f%d", i%100, i), "other")
		}
	})
	r.write("live", time.Now().String())
	r.wait()
	for _, p := range []string{"live", "d0/f0", "d99/f2999"} {
		if !r.exists("one", p) {
			t.Errorf("%s is not there", p)
		}
	}
}

// P2: a file that was written after the last transaction, sent, and written again with the time of before arrives: after a kill
// a time that somebody set says nothing.
func TestP2FileWithASetTimeAfterAKillArrives(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.start()
	r.write("f", "before")
	r.write("other", "x")
	r.equal("one")
	tail := r.saved()
	set := time.Now() // later than what the journal has, and not in the future
	for _, p := range []string{"f", "new"} {
		r.write(p, "sent..")
		r.must(os.Chtimes(filepath.Join(r.dir, p), set, set))
	}
	r.equal("one")
	r.restart(func() {
		r.must(os.WriteFile(r.journalFile(), tail, 0o600))
		for _, p := range []string{"f", "new"} {
			r.write(p, "second")
			r.must(os.Chtimes(filepath.Join(r.dir, p), set, set))
		}
	})
	r.equal("one")
}

// P2: a kill in the first moments of the first start forgets nothing that changed since, and sends nothing that was there before.
func TestP2KillDuringTheFirstStartForgetsNothing(t *testing.T) {
	t.Parallel()
	r, _ := keptRig(t, nil)
	r.write("before/f", "x")
	r.ticked("before/f")
	r.start()
	first, err := os.ReadFile(r.journalFile()) // before any of the tree is in it, or soon after
	r.must(err)
	r.write("during/f", "x")
	r.wait()
	r.write("during/gone", "x")
	r.wait()
	r.restart(func() {
		r.must(os.WriteFile(r.journalFile(), first, 0o600))
		r.write("after", "x")
		r.must(os.Remove(filepath.Join(r.dir, "during/gone")))
	})
	r.wait()
	if r.exists("one", "before/f") {
		t.Error("what was there before the first start was sent")
	}
	if r.there("one", "during/f") != "x" || r.there("one", "after") != "x" || r.exists("one", "during/gone") {
		t.Errorf("the target has %v", treetest.Snapshot(t, r.daemon.Dir("one"), nil))
	}
}
