package replicate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/replicate"
	"sersync/internal/transport/rsync"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/treetest"
	"sersync/internal/watch/mixed"
)

// P1 and P2 while the target is stopped and started and runs are killed: it equals the source in the end.
// A failing seed is run again by: go test ./internal/replicate -run Nemesis -seed N
func TestP2NemesisKillsRunsAndTheTarget(t *testing.T) {
	seeds := []uint64{4, 5}
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	byEach(t, func(t *testing.T, by mixed.Options) {
		for _, seed := range seeds {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				survive(t, seed, by)
			})
		}
	})
}

func survive(t *testing.T, seed uint64, by mixed.Options) {
	r := newRig(t, func(r *rig) {
		o := r.target("one", func(o *rsync.Options) { o.Timeout = 2 * time.Second })
		o.Large = 4096
		r.opts.Targets = []replicate.TargetOptions{o}
		r.opts.MoveLeast = 1
		noBudget(r)
		r.watchedBy(by)
	})
	r.start()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range uint64(2) {
		w := treetest.NewWriter(r.dir, seed, i)
		wg.Go(func() { write(t, w, stop) })
	}
	nemesis(r, rand.New(rand.NewPCG(seed, 99)), 6*time.Second)
	close(stop)
	wg.Wait()
	r.equalButTemporary("one")
}

// write writes until stop is closed.
func write(t *testing.T, w *treetest.Writer, stop <-chan struct{}) {
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case <-stop:
			return
		case <-pause.C:
		}
		if err := w.Step(); err != nil {
			t.Error(err)
			return
		}
	}
}

// nemesis harms the target for as long as it is told.
func nemesis(r *rig, rnd *rand.Rand, d time.Duration) {
	end := time.After(d)
	for {
		select {
		case <-end:
			return
		case <-time.After(time.Duration(rnd.IntN(200)) * time.Millisecond):
		}
		if rnd.IntN(5) == 0 {
			r.daemon.Stop()
			<-time.After(time.Duration(rnd.IntN(300)) * time.Millisecond)
			r.daemon.Restart()
			continue
		}
		for _, pid := range clients(r.t, r.address("one")) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				r.t.Error(err)
			}
		}
	}
}

// ofReceiver are the names under which a receiver makes a file, and anything else with the number of its process.
var ofReceiver = regexp.MustCompile(`^\.(?s:.+)\.([A-Za-z0-9]{6}|[0-9]{1,7})$`)

// equalButTemporary is equal, without the temporary files of receivers that were killed: only a sweep can know them.
func (r *rig) equalButTemporary(module string) {
	r.t.Helper()
	r.wait(module)
	temporary := func(rel string) bool {
		name := filepath.Base(rel)
		return name == ".sersync-partial" || ofOurs(rel) || ofReceiver.MatchString(name)
	}
	strip := func(m map[string]string) map[string]string {
		for p, line := range m {
			if strings.HasPrefix(line, "d") { // such a file gave its directory another time
				m[p] = line[:strings.Index(line, "mtime")]
			}
		}
		return m
	}
	// A receiver that was cut off may put back something old, or half of it, until it ends: what it was at work on is sent
	// once more a minute later.
	late := time.After(100 * time.Second)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		a := strip(treetest.Snapshot(r.t, r.dir, temporary))
		b := strip(treetest.Snapshot(r.t, r.daemon.Dir(module), temporary))
		diff := treetest.Diff(a, b)
		if diff == "" {
			return
		}
		select {
		case <-late:
			r.t.Fatalf("the target is not what the source is:\n%s", diff)
		case <-again.C:
		}
	}
}

// A target that has no room says so, goes on with what fits in, and gets the rest when there is room.
func TestTargetThatIsFullGetsTheRestWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	full := filepath.Join(t.TempDir(), "full")
	r.must(os.Mkdir(full, 0o755))
	r.must(unix.Mount("tmpfs", full, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { _ = unix.Unmount(full, unix.MNT_DETACH) })
	r.daemon = rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "one", Dir: full, Lines: []string{"use chroot = yes"}}}})
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
	r.start()
	r.write("first", "x")
	r.equal("one")
	for i := range 8 {
		r.write(fmt.Sprintf("f%d", i), strings.Repeat("x", 256<<10))
	}
	r.eventually("the target is full", func() bool { return r.src.Status().Targets[0].State == "full" })
	if s := r.src.Status().Targets[0]; s.Waiting == 0 || s.LastError == nil || s.Dead != 0 {
		t.Errorf("status: %+v", s)
	}
	r.must(unix.Mount("tmpfs", full, "tmpfs", unix.MS_REMOUNT, "size=10m"))
	r.equal("one")
	if s := r.src.Status().Targets[0]; s.State != "idle" {
		t.Errorf("state %q once there is room", s.State)
	}
}

// Two targets, one of which is away: each has its own state, and both have all in the end.
func TestP4TargetsHaveStatesOfTheirOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	other := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "two", Lines: []string{"use chroot = yes"}}}})
	two := r.target("two", func(o *rsync.Options) { o.Port, o.PasswordFile = other.Port(), other.PasswordFile() })
	r.opts.Targets = append(r.opts.Targets, two)
	r.write("d/a", "x")
	r.start()
	r.wait()
	other.Stop()
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.write("e", "x")
	r.equal("one")
	r.eventually("the other one is away", func() bool { return r.src.Status().Targets[1].State == "away" })
	if s := r.src.Status(); s.Targets[0].Waiting != 0 || s.Targets[0].State != "idle" || s.Targets[1].Waiting == 0 {
		t.Errorf("status: %+v", s.Targets)
	}
	other.Restart()
	r.wait()
	treetest.Equal(t, r.dir, other.Dir("two"), nil)
}

// Nothing is left running or open when Run has returned.
func TestRunLeavesNothingBehind(t *testing.T) {
	r := newRig(t, nil)
	for range 2 { // what is opened once and for all is open after the first round
		before := openFiles(t)
		r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
		r.start()
		r.write("d/f", time.Now().String())
		r.equal("one")
		r.stop()
		if left := clients(t, r.address("one")); len(left) > 0 {
			t.Errorf("processes %d are left", left)
		}
		if after := openFiles(t); after > before+4 {
			t.Errorf("%d descriptors are open, %d were before", after, before)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
