package rsync

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

var past = time.Date(2020, 1, 2, 3, 4, 5, 678, time.UTC)

// large takes some seconds with slow.
var large = strings.Repeat("0123456789abcdef", 1<<16)

// slow makes a transfer last until something happens to it.
func slow(o *Options) { o.Bandwidth, o.Timeout, o.ConnectTimeout = 200, 2*time.Second, time.Second }

// during applies an update of a large file and calls what when the target has begun to write it.
func (r *rig) during(ctx context.Context, op transport.Op, what func()) error {
	r.Helper()
	r.write(r.src, "large", large)
	result := make(chan error, 1)
	go func() {
		_, err := r.tr.Apply(ctx, transport.Batch{Op: op, Root: r.root, Paths: []change.Path{"large"}})
		result <- err
	}()
	poll(r.T, "a temporary file on the target", func() bool {
		names, _ := filepath.Glob(filepath.Join(r.dst, ".large.*"))
		for _, name := range names {
			if st, err := os.Stat(name); err == nil && st.Size() > 0 {
				return true
			}
		}
		return false
	})
	what()
	select {
	case err := <-result:
		return err
	case <-time.After(30 * time.Second):
		r.Fatal("the batch does not end")
		return nil
	}
}

func TestKilledDaemonIsAnUncleanEnd(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, slow)
	e := state(t, r.during(t.Context(), transport.Update, r.d.Stop), transport.Away)
	if !e.Unclean || e.Settle != time.Minute {
		t.Errorf("%+v, want unclean for a minute", e)
	}
	_, err := r.apply(transport.Update, "large")
	if e := state(t, err, transport.Away); e.Unclean {
		t.Errorf("nobody listened, and the end was unclean: %+v", e)
	}
}

func TestFrozenReceiverIsAnUncleanEndWithinTheTimeOut(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, slow)
	err := r.during(t.Context(), transport.Update, r.d.Freeze)
	defer r.d.Thaw()
	if e := state(t, err, transport.Away); !e.Unclean {
		t.Errorf("%+v, want unclean", e)
	}
}

func TestCancelledTransferEndsSoonAndUnclean(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, slow)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var start time.Time
	err := r.during(ctx, transport.Update, func() { start = time.Now(); cancel() })
	var e *transport.Error
	if !errors.As(err, &e) || !e.Unclean || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want an unclean cancellation", err)
	}
	if took := time.Since(start); took > 2*killAfter+time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestCutLargeFileGoesOnFromWhereItWas(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, slow)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := r.during(ctx, transport.UpdateLarge, cancel); err == nil {
		t.Fatal("the transfer was not cut")
	}
	partial := filepath.Join(r.dst, partialDir, "large")
	poll(t, "the partial file", func() bool { st, err := os.Stat(partial); return err == nil && st.Size() > 0 })
	r.tr.o.Bandwidth = 0
	report, err := r.apply(transport.UpdateLarge, "large")
	if err != nil || len(report.Failed) > 0 || report.Bytes >= int64(len(large)) {
		t.Errorf("%+v, %v; want less than the whole file", report, err)
	}
	r.dstHas("large", large)
	r.dstLacks(partialDir)
}

func TestServerThatNeverAnswersIsAwayWithinTheConnectTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) {
		o.Port = l.Addr().(*net.TCPAddr).Port
		o.ConnectTimeout = time.Second
	})
	r.write(r.src, "f", "x")
	start := time.Now()
	_, err = r.apply(transport.Update, "f")
	if e := state(t, err, transport.Away); e.Unclean {
		t.Errorf("%+v: the list was never read", e)
	}
	if _, err = r.tr.Check(t.Context()); err == nil {
		t.Error("check: no error")
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestMaxConnectionsIsBusy(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{Global: []string{"max connections = 1"}}, nil)
	other := exec.Command("rsync", "-a", "--from0", "--files-from=-", "--password-file="+r.d.PasswordFile(), "/", r.d.URL("data"))
	list, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	r.write(r.src, "f", "x")
	poll(t, "the other's login", func() bool { return strings.Contains(r.d.Log(), "receiving file list") })
	_, err = r.apply(transport.Update, "f")
	state(t, err, transport.Busy)
	list.Close()
	if err := other.Wait(); err != nil {
		t.Errorf("the other: %v", err)
	}
	poll(t, "the end of the other's connection", func() bool { return len(r.d.Children()) == 0 })
	r.mustApply(transport.Update, "f")
	if r.kept() != nil {
		t.Error("an rsync is kept ready although connections are scarce")
	}
}
