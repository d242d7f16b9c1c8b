package rsync

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// rig is a source, a daemon and a transport between them.
type rig struct {
	*testing.T
	d    *rsyncdtest.Daemon
	tr   *Transport
	src  string
	dst  string
	root *os.File
}

func newRig(t *testing.T, o rsyncdtest.Options, change func(*Options)) *rig {
	t.Helper()
	r := &rig{T: t, d: rsyncdtest.Start(t, o), src: t.TempDir()}
	r.dst = r.d.Dir("data")
	options := toDaemon(r.d, "data")
	if change != nil {
		change(&options)
	}
	r.tr = open(t, options)
	var err error
	if r.root, err = os.Open(r.src); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.tr.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		r.root.Close()
	})
	return r
}

func (r *rig) write(dir, name, content string) {
	r.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) apply(op transport.Op, paths ...change.Path) (transport.Report, error) {
	return r.tr.Apply(r.Context(), transport.Batch{Op: op, Root: r.root, Paths: paths})
}

func (r *rig) mustApply(op transport.Op, paths ...change.Path) {
	r.Helper()
	report, err := r.apply(op, paths...)
	if err != nil || len(report.Failed) > 0 {
		r.Fatalf("%v %v: %+v, %v", op, paths, report, err)
	}
}

// kept are the lines for which a run is kept ready now.
func (r *rig) kept() []line {
	r.tr.warm.mu.Lock()
	defer r.tr.warm.mu.Unlock()
	var lines []line
	for l := range r.tr.warm.kept {
		lines = append(lines, l)
	}
	slices.Sort(lines)
	return lines
}

func (r *rig) warmed(lines ...line) {
	r.Helper()
	poll(r.T, "a warm rsync", func() bool { return slices.Equal(r.kept(), lines) })
}

// logins counts the runs that asked for the module. The fixture's own connections do not.
func (r *rig) logins() int { return strings.Count(r.d.Log(), "receiving file list") }

// uses applies a batch, and reports an error when the run that was kept for its line did not get the list.
func (r *rig) uses(l line, op transport.Op, paths ...change.Path) {
	r.Helper()
	r.tr.warm.mu.Lock()
	k := r.tr.warm.kept[l]
	r.tr.warm.mu.Unlock()
	r.mustApply(op, paths...)
	select {
	case <-k.run.handed:
	default:
		r.Errorf("%v %v: the run that was kept got no list", op, paths)
	}
}

func TestWarmRunsAreUsedAndReplaced(t *testing.T) {
	// None ends by its timer, however slow the machine is.
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.WarmIdle, o.Timeout = time.Hour, 2*time.Hour })
	r.mustApply(transport.Update, "f")
	r.warmed(update)
	for _, content := range []string{"one", "two"} {
		r.write(r.src, "f", content)
		r.uses(update, transport.Update, "f")
		r.dstHas("f", content)
		r.warmed(update)
	}
	r.mustApply(transport.Remove, "gone")
	r.warmed(update, remove)
	r.write(r.dst, "gone", "x")
	r.uses(remove, transport.Remove, "gone")
	r.dstLacks("gone")
	r.warmed(update, remove)
	r.write(r.src, "f", "warm")
	r.uses(update, transport.Update, "f")
	r.dstHas("f", "warm")
	r.warmed(update, remove)
	// Two that were started for their list, four that were kept and used, and two that are kept now.
	const all = 8
	poll(t, "the logins", func() bool { return r.logins() >= all })
	// The daemon's side of a finished run stays for some hundredths of a second.
	poll(t, "two connections", func() bool { return len(r.d.Children()) == 2 })
	// When nothing is on its way any more, there were no others.
	if err := r.tr.Close(); err != nil {
		t.Fatal(err)
	}
	if n := r.logins(); n != all {
		t.Errorf("%d logins, want %d", n, all)
	}
}

func TestWarmRunWhoseConnectionDiedIsReplacedUnseen(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.write(r.src, "f", "one")
	r.mustApply(transport.Update, "f")
	for i, end := range []func(){
		func() { // the daemon ends the connection; rsync here does not notice
			for _, pid := range r.d.Children() {
				// The end of one may have been that of another.
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
					t.Fatal(err)
				}
			}
		},
		func() { r.d.Stop(); r.d.Restart() },
		func() { // the process itself dies
			r.tr.warm.mu.Lock()
			defer r.tr.warm.mu.Unlock()
			k := r.tr.warm.kept[update].run
			k.signal(syscall.SIGKILL)
			<-k.done
		},
	} {
		r.warmed(update)
		// Each round is a run that was started for its list and the one that is kept then.
		poll(t, "its login", func() bool { return r.logins() == 2*(i+1) })
		end()
		poll(t, "the end of the connection", func() bool { return len(r.d.Children()) == 0 })
		r.write(r.src, "f", "after")
		r.mustApply(transport.Update, "f")
		r.dstHas("f", "after")
	}
}

func TestWarmRunIsThrownAwayWhenTheRootIsAnother(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.write(r.src, "f", "first root")
	r.mustApply(transport.Update, "f")
	r.warmed(update)
	other := t.TempDir()
	r.write(other, "f", "the other root")
	root, err := os.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	_, err = r.tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	if err != nil {
		t.Fatal(err)
	}
	r.dstHas("f", "the other root")
}

func TestWarmRunIsKeptForAWhileOnly(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.WarmIdle = 50 * time.Millisecond })
	r.mustApply(transport.Update, "f")
	poll(t, "the warm connection", func() bool { return strings.Contains(r.d.Log(), "connect from") })
	poll(t, "its end", func() bool { return len(r.kept()) == 0 && len(r.d.Children()) == 0 })
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.mustApply(transport.Update, "f")
	r.mustApply(transport.Remove, "g")
	r.warmed(update, remove)
	pids := []int{}
	for _, k := range r.tr.warm.kept {
		pids = append(pids, k.run.cmd.Process.Pid)
	}
	if err := r.tr.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is left: %v", pid, err)
		}
	}
	// The daemon of the fixture has goroutines of its own: the one that waits, the one that reads.
	poll(t, "the goroutines", func() bool { return runtime.NumGoroutine() <= before+2 })
}

// BenchmarkOneChange is a change of 4 KiB, from its batch to its ack, 20 ms apart.
func BenchmarkOneChange(b *testing.B) {
	for name, cold := range map[string]bool{"warm": false, "cold": true} {
		b.Run(name, func(b *testing.B) {
			d := rsyncdtest.Start(b, rsyncdtest.Options{})
			o := toDaemon(d, "data")
			o.NoWarm = cold
			tr, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			defer tr.Close()
			src := b.TempDir()
			root, err := os.Open(src)
			if err != nil {
				b.Fatal(err)
			}
			defer root.Close()
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				content := strings.Repeat(string(rune('a'+i%26)), 4096)
				if err := os.WriteFile(filepath.Join(src, "f"), []byte(content), 0o644); err != nil {
					b.Fatal(err)
				}
				<-pace.C
				start := time.Now()
				if _, err := tr.Apply(b.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds()), "p95-us")
		})
	}
}
