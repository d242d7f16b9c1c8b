package replicate_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/replicate"
	"sersync/internal/transport/rsync"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/treetest"
)

// faultRig is a rig of which the target "one" is to meet a fault, and "two" is not. Its directory is the module's.
func faultRig(t *testing.T, dir string, lines []string, change func(*rsync.Options)) *rig {
	t.Helper()
	r := newRig(t, nil)
	two := r.target("two", nil)
	healthy := r.daemon
	lines = append([]string{"use chroot = yes"}, lines...)
	r.daemon = rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "one", Dir: dir, Lines: lines}}})
	r.opts.Targets = []replicate.TargetOptions{r.target("one", change), two}
	r.other = healthy.Dir("two")
	return r
}

// first is the status of the target that meets the fault.
func (r *rig) first() replicate.TargetStatus { return r.src.Status().Targets[0] }

// harm changes the source in every way while the first target meets a fault.
func (r *rig) harm(round string) {
	r.t.Helper()
	r.write("new/"+round, round)
	r.write("stays", round)
	r.must(os.Rename(filepath.Join(r.dir, "before/d"), filepath.Join(r.dir, "before/"+round)))
	r.must(os.Mkdir(filepath.Join(r.dir, "before/d"), 0o755))
	r.write("before/d/f", round)
	r.must(os.Remove(filepath.Join(r.dir, "goes")))
	r.write("goes", round)
	r.must(os.Chmod(filepath.Join(r.dir, "stays"), 0o600))
}

// meets plays a fault: while it lasts, the state of the target names it and the other target gets all; when it is mended,
// the target has all without anybody's help.
func (r *rig) meets(state string, fault, mend func()) {
	r.t.Helper()
	r.write("before/d/f", "x")
	r.write("before/e/f", "x")
	r.write("goes", "x")
	r.start()
	r.equal("one")
	fault()
	r.harm("during")
	r.must(os.RemoveAll(filepath.Join(r.dir, "before/e")))
	r.isNamed(state)
	mend()
	r.recovers()
}

// isNamed waits until the first target is in a state, with all that a person needs, and the second one has everything.
func (r *rig) isNamed(state string) {
	r.t.Helper()
	r.eventually("the state is "+state, func() bool { return r.first().State == state })
	if s := r.first(); s.Waiting == 0 || s.Lag == 0 || s.LastError == nil || s.NextTry == nil || s.Dead != 0 {
		r.t.Errorf("status: %+v", s)
	}
	r.wait("two")
	treetest.Equal(r.t, r.dir, r.other, nil)
	if s := r.src.Status().Targets[1]; s.State != "idle" || s.LastError != nil {
		r.t.Errorf("the other target: %+v", s)
	}
}

// recovers waits until the first target has all again.
func (r *rig) recovers() {
	r.t.Helper()
	r.equal("one")
	r.eventually("the state is idle", func() bool { return r.first().State == "idle" })
	if s := r.first(); s.NextTry != nil || s.Dead != 0 {
		r.t.Errorf("status when it is over: %+v", s)
	}
	r.write("after", "x")
	r.equal("one")
}

// hinted reports an error without a hint that says so.
func (r *rig) hinted(text string) {
	r.t.Helper()
	if e := r.first().LastError; e == nil || !strings.Contains(e.Hint, text) {
		r.t.Errorf("the hint does not say %q: %+v", text, e)
	}
}

// mountAt mounts a file system until the test ends.
func (r *rig) mountAt(dir, kind, device, data string) {
	r.t.Helper()
	r.must(unix.Mount(device, dir, kind, 0, data))
	r.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func TestTargetWithoutInodesGetsTheRestWhenThereAreSome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := faultRig(t, dir, nil, nil)
	r.mountAt(dir, "tmpfs", "tmpfs", "nr_inodes=40")
	r.meets("full", func() {
		for i := range 60 {
			r.write(fmt.Sprintf("many/f%d", i), "x")
		}
	}, func() { r.must(unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "nr_inodes=1000")) })
}

func TestTargetThatIsRemountedReadOnlyGetsTheRestWhenItCanBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := faultRig(t, dir, nil, nil)
	r.mountAt(dir, "tmpfs", "tmpfs", "size=10m")
	remount := func(flags uintptr) {
		// While a receiver writes it is busy.
		r.eventually("remounted", func() bool { return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, "") == nil })
	}
	r.meets("read-only", func() { remount(unix.MS_RDONLY) }, func() { remount(0) })
}

// A disk that fails gives an error for all it is asked, until it is repaired and mounted again.
func TestTargetWhoseDiskFailsGetsTheRestWhenItIsMountedAgain(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	// The mount point itself could be written while nothing is mounted there.
	r := faultRig(t, filepath.Join(disk.dir, "data"), nil, nil)
	r.meets("away", func() {
		disk.fail()
		// A receiver that was ready says it of the files, the next one cannot enter.
		r.write("told", "x")
		r.eventually("the disk's errors are told", func() bool { e := r.first().LastError; return e != nil && e.Hint != "" })
	}, disk.repair)
	if log := r.logged.String(); !strings.Contains(log, "disk") {
		t.Error("nothing is said of the disk")
	}
}

func TestModuleDirectoryThatIsMadeAgainIsFilledAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "module")
	r := faultRig(t, dir, nil, nil)
	r.meets("away", func() { r.must(os.RemoveAll(dir)) }, func() {
		r.hinted("directory of the daemon's module")
		r.must(os.Mkdir(dir, 0o755))
	})
}

func TestModuleThatIsRenamedIsRefusedUntilItHasItsName(t *testing.T) {
	t.Parallel()
	r := faultRig(t, t.TempDir(), nil, nil)
	called := func(name string) func() {
		return func() {
			r.daemon.Configure(rsyncdtest.Module{Name: name, Dir: r.daemon.Dir("one"), Lines: []string{"use chroot = yes"}})
			r.write("asks", name)
		}
	}
	r.meets("refused", called("another"), func() { r.hinted("module's name"); called("one")() })
}

func TestPasswordThatIsChangedIsRefusedUntilItIsKnown(t *testing.T) {
	t.Parallel()
	r := faultRig(t, t.TempDir(), nil, nil)
	r.meets("refused", func() { r.daemon.SetPassword("another"); r.write("asks", "x") }, func() {
		r.hinted("password")
		r.daemon.SetPassword(rsyncdtest.Password)
	})
}

func TestTargetWithAllConnectionsTakenIsBusyUntilOneIsFree(t *testing.T) {
	t.Parallel()
	r := faultRig(t, t.TempDir(), []string{"max connections = 1"}, func(o *rsync.Options) { o.NoWarm = true })
	r.write("goes", "x")
	r.write("before/d/f", "x")
	r.start()
	r.equal("one")
	release := r.holdConnection()
	r.harm("during")
	r.isNamed("busy")
	r.hinted("max connections")
	release()
	r.recovers()
}

// A target that did not work, and to which nothing is owed any more, is tried again: nobody would know that it works.
func TestTargetToWhichNothingIsOwedIsNoticedWhenItWorks(t *testing.T) {
	t.Parallel()
	r := faultRig(t, t.TempDir(), []string{"max connections = 1"}, func(o *rsync.Options) { o.NoWarm = true })
	r.opts.NoRemovals = true
	r.start()
	r.equal("one")
	release := r.holdConnection()
	r.write("f", "x")
	r.eventually("the state is busy", func() bool { return r.first().State == "busy" })
	r.must(os.Remove(filepath.Join(r.dir, "f")))
	r.eventually("nothing is owed", func() bool { return r.first().Waiting == 0 })
	if s := r.first(); s.State != "busy" {
		t.Errorf("the state is %q", s.State)
	}
	release()
	r.eventually("the state is idle", func() bool { return r.first().State == "idle" })
}

// holdConnection takes the one connection that the first target allows, when none of ours is left, until release.
func (r *rig) holdConnection() (release func()) {
	r.t.Helper()
	r.eventually("the end of our connections", func() bool { return len(r.daemon.Children()) == 0 })
	before := strings.Count(r.daemon.Log(), "receiving file list")
	other := exec.Command("rsync", "-a", "--from0", "--files-from=-", "--password-file="+r.daemon.PasswordFile(), "/", r.daemon.URL("one"))
	list, err := other.StdinPipe()
	r.must(err)
	r.must(other.Start())
	r.eventually("the other's login", func() bool { return strings.Count(r.daemon.Log(), "receiving file list") > before })
	return func() {
		list.Close()
		if err := other.Wait(); err != nil {
			r.t.Errorf("the other: %v", err)
		}
	}
}

// behindRelay is a rig whose first target is reached by a relay.
func behindRelay(t *testing.T, timeout time.Duration, change func(*replicate.TargetOptions)) (*rig, *rsyncdtest.Relay) {
	t.Helper()
	var relay *rsyncdtest.Relay
	r := faultRig(t, t.TempDir(), nil, nil)
	relay = rsyncdtest.StartRelay(t, r.daemon)
	r.opts.Targets[0] = r.target("one", func(o *rsync.Options) {
		o.Port, o.Timeout, o.ConnectTimeout = relay.Port(), timeout, timeout
	})
	if change != nil {
		change(&r.opts.Targets[0])
	}
	return r, relay
}

func TestTargetThatAcceptsAndNeverAnswersGetsTheRestWhenItDoes(t *testing.T) {
	t.Parallel()
	r, relay := behindRelay(t, 2*time.Second, nil)
	r.meets("away", relay.Hang, relay.Pass)
}

// One that is slow is no fault, as long as something moves.
func TestSlowTargetGetsAllAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r, relay := behindRelay(t, 30*time.Second, nil)
	r.write("before/d/f", "x")
	r.write("goes", "x")
	r.start()
	r.equal("one")
	relay.Slow(10*time.Millisecond, 1<<10)
	r.write("large", strings.Repeat("a long text\n", 20<<10))
	r.harm("during")
	r.wait("two")
	treetest.Equal(t, r.dir, r.other, nil)
	r.recovers()
	if s := r.first(); s.LastError != nil {
		t.Errorf("it was said of a target that is slow: %+v", s.LastError)
	}
}

// Wherever the connection is cut: in the login, in the list, in a file.
func TestConnectionsThatAreCutAnywhereLoseNothing(t *testing.T) {
	t.Parallel()
	r, relay := behindRelay(t, 5*time.Second, nil)
	r.write("before/d/f", "x")
	r.write("goes", "x")
	r.start()
	r.equal("one")
	for i, bytes := range []int64{0, 1, 30, 100, 250, 700, 5_000, 50_000} {
		relay.CutAfter(bytes)
		r.write("large", strings.Repeat(fmt.Sprint("text of round ", i), 20<<10))
		r.harm(fmt.Sprint("round", i))
		r.eventually("the cut", func() bool { return relay.Cuts() == i+1 })
		r.equal("one")
		r.wait("two")
		treetest.Equal(t, r.dir, r.other, nil)
	}
	r.recovers()
}

// What arrived of a large file before a cut is not sent again.
func TestLargeFileThatIsCutInTheMiddleGoesOnFromThere(t *testing.T) {
	t.Parallel()
	r, relay := behindRelay(t, 5*time.Second, func(o *replicate.TargetOptions) { o.Large = 1 << 20 })
	r.write("small", "x")
	r.start()
	r.equal("one")
	large := make([]byte, 16<<20)
	for i := range large {
		large[i] = byte(i ^ i>>8 ^ i>>16)
	}
	relay.CutAfter(12 << 20)
	r.write("large", string(large))
	r.eventually("the cut", func() bool { return relay.Cuts() == 1 })
	r.eventually("the state is away", func() bool { s := r.first(); return s.State == "away" || r.there("one", "large") != "" })
	r.recovers()
	if sent := r.first().Bytes; sent > uint64(len(large))/2 {
		t.Errorf("%d of %d bytes were sent after the cut", sent, len(large))
	}
}

// An sshd that dies takes its rsync along, in the middle of a file.
func TestSSHDaemonThatDiesInTheMiddleGetsTheRestWhenItIsBack(t *testing.T) {
	t.Parallel()
	sshd, dir := rsyncdtest.StartSSHD(t), t.TempDir()
	r := faultRig(t, dir, nil, nil)
	r.opts.Targets[0] = r.target("one", func(o *rsync.Options) {
		*o = rsync.Options{
			Host: "127.0.0.1", Port: sshd.Port(), User: sshd.User(), Dir: dir, Timeout: 20 * time.Second, Log: o.Log, Bandwidth: 512,
			SSH: rsync.SSH{Identity: sshd.Key(), Args: []string{"-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"}},
		}
	})
	var left []string
	r.meets("away", func() {
		r.write("large", strings.Repeat("a long text\n", 256<<10)) // six seconds
		r.eventually("it is on its way", func() bool {
			var err error
			left, err = filepath.Glob(filepath.Join(dir, ".large.*"))
			return err == nil && len(left) > 0
		})
		sshd.Stop()
	}, func() {
		for _, name := range left { // of a receiver that was killed; only a comparison finds it
			if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
				r.must(err)
			}
		}
		sshd.Restart()
	})
}
