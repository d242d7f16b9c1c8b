package replicate_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync"
	"sersync/internal/treetest"
	"sersync/internal/watch"
	"sersync/internal/watch/mixed"
)

// 2.5.4 ran a shell for each event: such a name was a command (its bug 27). It also lost
// names with quotes, backticks and backslashes (18).
func TestFileNamesAreNeverCommands(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	canary := filepath.Join(t.TempDir(), "canary")
	for _, name := range []string{
		"`touch " + strings.ReplaceAll(canary, "/", "${HOME%%[a-z]*}") + "`", "$(touch canary)", "\"; touch canary; \"", "';touch canary;'",
		"|touch canary", "\nnewline", "-e touch", "--rsh=touch", "\\", "\"",
	} {
		r.write(name, name)
		r.write("d/"+name, name)
	}
	r.equal("one")
	for _, p := range []string{canary, "canary", filepath.Join(r.dir, "canary"), filepath.Join(r.daemon.Dir("one"), "canary")} {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("a file name was run as a command: %q is there", p)
		}
	}
}

// 2.5.4 deleted by unanchored, unquoted patterns: "*" took everything with it, "br[1]" stayed (16, 17, 3).
func TestRemovedNamesAreNotPatterns(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.opts.Initial = false })
	remote := r.daemon.Dir("one")
	for _, p := range []string{"keep", "br1", "d/d/f", "remote-only"} {
		r.must(os.MkdirAll(filepath.Dir(filepath.Join(remote, p)), 0o755))
		r.must(os.WriteFile(filepath.Join(remote, p), []byte("remote"), 0o644))
	}
	r.start()
	names := []string{"*", "br[1]", "d/f", "--exclude=zzz", "?", "**", "[a-z]*"}
	for _, name := range names {
		r.write(name, "x")
	}
	r.wait()
	for _, name := range names {
		r.must(os.Remove(filepath.Join(r.dir, name)))
	}
	r.wait()
	for _, name := range names {
		if r.exists("one", name) {
			t.Errorf("%q is still there", name)
		}
	}
	for _, p := range []string{"keep", "br1", "d/d/f", "remote-only"} {
		if !r.exists("one", p) {
			t.Errorf("%q was removed, too", p)
		}
	}
}

// 2.5.4 aborted when the queue of inotify overflowed (4).
func TestOverflowIsHealed(t *testing.T) {
	const limit = "/proc/sys/fs/inotify/max_queued_events"
	old, err := os.ReadFile(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(limit, old, 0o644) })
	// It is that of the machine: another process may raise it between our write and the start.
	for range 5 {
		if err := os.WriteFile(limit, []byte("64"), 0o644); err != nil {
			t.Fatal(err)
		}
		if overflows(t) >= 2 {
			return
		}
	}
	t.Error("the queue did not overflow: nothing was shown")
}

// overflows writes so much that a short queue overflows, compares, and says how often it did.
func overflows(t *testing.T) uint64 {
	r := newRig(t, func(r *rig) {
		noBudget(r)
		r.watchedBy(mixed.Options{Method: watch.Inotify})
	})
	r.write("kept", "so that the source is never found empty")
	for i := range 300 {
		r.write("gone/f"+strconv.Itoa(i), "x")
	}
	r.start()
	r.equal("one")
	for round := 0; r.src.Status().Overflows < 2 && round < 50; round++ {
		r.must(os.RemoveAll(filepath.Join(r.dir, "gone")))
		for i := range 300 {
			r.write("d"+strconv.Itoa(i%5)+"/f"+strconv.Itoa(i), strconv.Itoa(round))
			r.write("gone/g"+strconv.Itoa(i), "x")
		}
	}
	r.must(os.RemoveAll(filepath.Join(r.dir, "gone")))
	r.equal("one")
	defer r.stop()
	return r.src.Status().Overflows
}

// An overflow during the healing of another one is not lost: what happened before it may be where the walk has been already.
func TestOverflowDuringTheHealingOfAnotherIsHealedToo(t *testing.T) {
	names := func(i int) string { return fmt.Sprintf("d%02d/f", i) }
	inBubble(t, nil, func(f *fake) {
		var all []string
		for i := range 40 {
			all = append(all, names(i))
		}
		f.write(all...)
		f.rest(time.Minute)
		f.targets["one"].take()
		want := map[change.Path]bool{}
		for i := range 40 {
			// Nobody tells of it but the overflow, which the walk of the one before may not have ended for.
			if err := os.WriteFile(filepath.Join(f.dir, names(i)), []byte("of another size"), 0o644); err != nil {
				f.Fatal(err)
			}
			want[change.Path(names(i))] = true
			f.watcher.events <- []watch.Event{{Path: change.Root, Kind: watch.Look, Dir: true, At: time.Now()}}
		}
		f.rest(time.Minute)
		for _, c := range f.targets["one"].take() {
			for _, p := range c.paths {
				delete(want, p)
			}
		}
		if len(want) > 0 {
			t.Errorf("never sent: %v", slices.Sorted(maps.Keys(want)))
		}
	})
}

// 2.5.4 aborted when a directory was moved out with events pending (10), and after a rename inside
// it followed the old path (7).
func TestDirectoryMovedOutInAndAround(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	for i := range 50 {
		r.write("d/sub/f"+strconv.Itoa(i), "x")
	}
	outside := filepath.Join(filepath.Dir(r.dir), "outside")
	r.must(os.Rename(filepath.Join(r.dir, "d"), outside))
	r.must(os.WriteFile(filepath.Join(outside, "sub/later"), []byte("later"), 0o644))
	r.equal("one")
	r.must(os.Rename(outside, filepath.Join(r.dir, "e")))
	r.write("e/sub/new", "new")
	r.must(os.Rename(filepath.Join(r.dir, "e"), filepath.Join(r.dir, "f")))
	r.write("f/sub/newer", "newer")
	r.equal("one")
}

func TestRemovedAndMadeAgainDirectoryIsEmptyOnTheTarget(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	for round := range 5 {
		for i := range 20 {
			r.write("d/e/f"+strconv.Itoa(i), strconv.Itoa(round))
		}
		if round%2 == 0 {
			r.wait()
		}
		r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
		r.must(os.Mkdir(filepath.Join(r.dir, "d"), 0o755))
		r.equal("one")
	}
	// Nobody sees what is inside go when the directory itself is moved away.
	r.write("d/e/f", "x")
	r.wait()
	r.must(os.Rename(filepath.Join(r.dir, "d"), filepath.Join(t.TempDir(), "away")))
	r.must(os.Mkdir(filepath.Join(r.dir, "d"), 0o755))
	r.equal("one")
}

func TestFileToDirectoryAndBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	p := filepath.Join(r.dir, "x")
	for range 3 {
		r.must(os.WriteFile(p, []byte("file"), 0o644))
		r.equal("one")
		r.must(os.Remove(p))
		r.write("x/y/z", "in a directory")
		r.equal("one")
		r.must(os.RemoveAll(p))
		r.must(os.Symlink("nowhere", p))
		r.equal("one")
		r.must(os.Remove(p))
	}
}

// -u in the default parameters of 2.5.4 left the target stale (13).
func TestOlderFileMovedOverIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Targets = []replicate.TargetOptions{r.target("one", func(o *rsync.Options) { o.Params = []string{"-artuz"} })}
	})
	r.start()
	r.write("f", "new")
	r.wait()
	old := filepath.Join(r.dir, "old")
	r.must(os.WriteFile(old, []byte("restored from a backup"), 0o644))
	r.must(os.Chtimes(old, time.Unix(1e9, 0), time.Unix(1e9, 0)))
	r.must(os.Rename(old, filepath.Join(r.dir, "f")))
	r.equal("one")
}

func TestRewriteOfSameSizeInTheSameSecondIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	for i := range 20 {
		r.write("f", "content "+strconv.Itoa(i+10))
		r.wait()
		if got := r.there("one", "f"); got != "content "+strconv.Itoa(i+10) {
			t.Fatalf("round %d: the target has %q", i, got)
		}
	}
}

func TestRewriteWithRestoredTimeIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("f", "content one")
	r.start()
	r.wait()
	p := filepath.Join(r.dir, "f")
	info, err := os.Stat(p)
	r.must(err)
	r.must(os.WriteFile(p, []byte("content two"), 0o644))
	r.must(os.Chtimes(p, info.ModTime(), info.ModTime()))
	r.equal("one")
}

// The switches that ship with 2.5.4 forgot these (14).
func TestLinksModesAndOwnersAreReplicated(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("f", "x")
	r.write("d/g", "y")
	r.start()
	r.wait()
	r.must(os.Symlink("f", filepath.Join(r.dir, "l")))
	r.must(os.Link(filepath.Join(r.dir, "f"), filepath.Join(r.dir, "hard")))
	r.must(os.Link(filepath.Join(r.dir, "l"), filepath.Join(r.dir, "m")))
	r.must(syscall.Mkfifo(filepath.Join(r.dir, "pipe"), 0o600))
	r.must(os.Chmod(filepath.Join(r.dir, "f"), 0o600))
	r.must(os.Chmod(filepath.Join(r.dir, "d"), 0o700))
	r.must(os.Lchown(filepath.Join(r.dir, "d/g"), 1, 2))
	r.equal("one")
	// A change through one name is a change of all.
	r.must(os.Lchown(filepath.Join(r.dir, "m"), 1, 2))
	f, err := os.OpenFile(filepath.Join(r.dir, "hard"), os.O_WRONLY|os.O_APPEND, 0)
	r.must(err)
	_, err = f.WriteString("more")
	r.must(err)
	r.must(f.Close())
	r.equal("one")
}

// Removing a file while it was uploaded left it on the target of 2.5.4 for good (5).
func TestFileRemovedWhileItIsSentIsNotThereLater(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.opts.Targets = []replicate.TargetOptions{r.target("one", func(o *rsync.Options) { o.Bandwidth = 4000 })}
	})
	r.start()
	p := filepath.Join(r.dir, "big")
	r.must(os.WriteFile(p, bytes.Repeat([]byte("x"), 6<<20), 0o644))
	r.eventually("the transfer begins", func() bool {
		found, _ := filepath.Glob(filepath.Join(r.daemon.Dir("one"), ".big.*"))
		return len(found) > 0
	})
	r.must(os.Remove(p))
	r.equal("one")
}

// A directory that was swapped for a symlink to a secret sends nothing of it.
func TestSwappedSymlinkSendsNothingFromOutside(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	secret := t.TempDir()
	r.must(os.WriteFile(filepath.Join(secret, "shadow"), []byte("the secret"), 0o600))
	r.start()
	d := filepath.Join(r.dir, "d")
	for range 60 {
		r.write("d/shadow", "harmless")
		r.write("d/other", "harmless")
		r.must(os.RemoveAll(d))
		r.must(os.Symlink(secret, d))
		r.must(os.Remove(d))
	}
	r.must(os.Symlink(secret, d))
	r.equal("one")
	for _, rel := range []string{"d/shadow", "shadow"} {
		if info, err := os.Lstat(filepath.Join(r.daemon.Dir("one"), rel)); err == nil && info.Mode().IsRegular() && rel == "shadow" {
			t.Errorf("%q came from outside of the source", rel)
		}
	}
	if to, err := os.Readlink(filepath.Join(r.daemon.Dir("one"), "d")); err != nil || to != secret {
		t.Errorf("d is not the symlink that it is at the source: %q, %v", to, err)
	}
}

// A wiped or unmounted source with -r wiped every remote of 2.5.4 (19).
func TestP7EmptiedRootHoldsRemovals(t *testing.T) {
	t.Parallel()
	t.Run("empty at the start", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(os.WriteFile(filepath.Join(r.daemon.Dir("one"), "precious"), []byte("x"), 0o644))
		r.start()
		r.eventually("the removal is held", func() bool { s := r.src.Status(); return s.Brake != nil && s.Brake.Held > 0 })
		r.write("new", "transfers go on")
		r.eventually("the new file arrives", func() bool { return r.exists("one", "new") })
		if !r.exists("one", "precious") {
			t.Fatal("the target was wiped")
		}
		r.src.Approve()
		r.equal("one")
	})
	t.Run("unmounted", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(unix.Mount("tmpfs", r.dir, "tmpfs", 0, "size=10m"))
		mounted := true
		t.Cleanup(func() {
			if mounted {
				_ = unix.Unmount(r.dir, unix.MNT_DETACH)
			}
		})
		r.write("a/b", "x")
		r.start()
		r.equal("one")
		r.must(unix.Unmount(r.dir, unix.MNT_DETACH))
		mounted = false
		r.eventually("the brake is on", func() bool { return r.src.Status().Brake != nil })
		r.write("new", "on the directory below")
		r.eventually("the new file arrives", func() bool { return r.exists("one", "new") })
		if !r.exists("one", "a/b") {
			t.Fatal("what was on the unmounted file system was removed on the target")
		}
		r.src.Approve()
		r.equal("one")
	})
	t.Run("gone and back", func(t *testing.T) {
		r := newRig(t, nil)
		r.write("a/b", "x")
		r.start()
		r.equal("one")
		away := r.dir + "-away"
		r.must(os.Rename(r.dir, away))
		r.eventually("the brake is on", func() bool { return r.src.Status().Brake != nil })
		r.must(os.Remove(filepath.Join(away, "a/b")))
		r.must(os.Rename(away, r.dir))
		r.eventually("the brake is released", func() bool { return r.src.Status().Brake == nil })
		r.equal("one")
	})
	t.Run("removals that were watched are meant", func(t *testing.T) {
		r := newRig(t, nil)
		r.write("a/b", "x")
		r.write("c", "y")
		r.start()
		r.equal("one")
		r.must(os.RemoveAll(filepath.Join(r.dir, "a")))
		r.must(os.Remove(filepath.Join(r.dir, "c")))
		r.equal("one")
		if b := r.src.Status().Brake; b != nil {
			t.Errorf("a brake is on: %+v", b)
		}
	})
}

// One remote that accepts and never answers stopped everything in 2.5.4 (9).
func TestP4HangingAndDeadTargetsDoNotDelayTheOthers(t *testing.T) {
	t.Parallel()
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hanging.Close() })
	r := newRig(t, func(r *rig) {
		bad := func(port int) func(o *rsync.Options) { return func(o *rsync.Options) { o.Port = port } }
		slow, dead := r.target("two", bad(hanging.Addr().(*net.TCPAddr).Port)), r.target("three", bad(1))
		r.opts.Targets = append(r.opts.Targets, slow, dead)
	})
	r.start()
	for i := range 50 {
		r.write("f"+strconv.Itoa(i), "x")
		r.wait("one")
	}
	r.equal("one")
	r.eventually("the states are told apart", func() bool {
		s := r.src.Status()
		return s.Targets[1].State == "away" && s.Targets[2].State == "away" && s.Targets[0].State == "idle"
	})
	for _, target := range r.src.Status().Targets[1:] {
		if target.Waiting == 0 || target.Lag == 0 || target.LastError == nil {
			t.Errorf("target %q: %+v", target.Name, target)
		}
	}
}

func TestP2TargetThatWasAwayGetsWhatItMissed(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("a/b", "x")
	r.start()
	r.equal("one")
	r.daemon.Stop()
	for i := range 100 {
		r.write("a/f"+strconv.Itoa(i%10), strconv.Itoa(i))
	}
	r.must(os.Remove(filepath.Join(r.dir, "a/b")))
	r.eventually("the target is away", func() bool { return r.src.Status().Targets[0].State == "away" })
	r.daemon.Restart()
	r.equal("one")
}

// Exit 23 was success to 2.5.4: what failed was forgotten (8).
func TestPathThatFailsIsOwedUntilItArrives(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("d/old", "x")
	r.start()
	r.equal("one")
	remote := filepath.Join(r.daemon.Dir("one"), "d")
	immutable(t, remote, true)
	t.Cleanup(func() { immutable(t, remote, false) })
	r.write("d/f", "x")
	r.write("other", "y")
	r.eventually("the other file arrives", func() bool { return r.exists("one", "other") })
	r.eventually("the failed path is said", func() bool {
		s := r.src.Status().Targets[0]
		return s.Waiting > 0 && s.LastError != nil
	})
	immutable(t, remote, false)
	r.equal("one")
}

// immutable sets or clears the attribute that keeps even root from writing into a directory.
func immutable(t *testing.T, dir string, on bool) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		t.Fatal(err)
	}
	const immutableFlag = 0x10
	flags &^= immutableFlag
	if on {
		flags |= immutableFlag
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
		t.Fatal(err)
	}
}

func TestTwoInstancesFacingEachOtherComeToRest(t *testing.T) {
	t.Parallel()
	a, b := newRig(t, nil), newRig(t, nil)
	a.opts.Path, a.dir = b.daemon.Dir("one"), b.daemon.Dir("one")
	b.opts.Path, b.dir = a.daemon.Dir("one"), a.daemon.Dir("one")
	a.opts.Initial, b.opts.Initial = false, false
	a.start()
	b.start()
	a.write("d/f", "from a")
	a.wait()
	b.write("d/g", "from b")
	b.wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for marks := uint64(0); ; {
		a.wait()
		b.wait()
		now := a.src.Status().Marks + b.src.Status().Marks
		if now == marks {
			break
		}
		marks = now
		if ctx.Err() != nil {
			t.Fatal("they do not come to rest")
		}
	}
	treetest.Equal(t, a.dir, b.dir, nil)
}

// A file may be removed, and another one of its size and time be in its place when rsync looks.
func TestFileOfTheSameSizeAndTimeInThePlaceOfOneThatIsBeingRemovedArrives(t *testing.T) {
	t.Parallel()
	var r *rig
	at := time.Now().Add(-time.Hour)
	put := func(content string) {
		r.write("a", content)
		r.must(os.Chtimes(filepath.Join(r.dir, "a"), at, at))
	}
	var once sync.Once
	r = newRig(t, func(r *rig) {
		r.opts.Targets[0].Transport = before{r.opts.Targets[0].Transport, func(b transport.Batch) {
			if b.Op == transport.Remove {
				once.Do(func() { put("other") })
			}
		}}
	})
	r.write("rest", "x")
	put("first")
	r.start()
	r.equal("one")
	r.must(os.Remove(filepath.Join(r.dir, "a")))
	r.equal("one")
}

// Files of the same size and time that take each other's names arrive, in the lane of large files as well.
func TestFilesOfTheSameSizeAndTimeThatChangeNamesArrive(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 20_000} {
		r := newRig(t, func(r *rig) { r.opts.Targets[0].Large = 10_000 })
		at := time.Now().Add(-time.Hour)
		for _, name := range []string{"a", "b"} {
			r.write(name, strings.Repeat(name, size))
			r.must(os.Chtimes(filepath.Join(r.dir, name), at, at))
		}
		r.start()
		r.equal("one")
		for _, move := range [][2]string{{"a", "c"}, {"b", "a"}, {"c", "b"}} {
			r.must(os.Rename(filepath.Join(r.dir, move[0]), filepath.Join(r.dir, move[1])))
		}
		r.equal("one")
	}
}
