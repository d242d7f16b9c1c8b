package inotify

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

// The limits that bind in a user namespace of our own; there they are nobody else's.
const (
	ourWatches   limit = "/proc/sys/user/max_inotify_watches"
	ourInstances limit = "/proc/sys/user/max_inotify_instances"
)

// inNamespace runs the calling test again in a process with its own user and mount namespaces, and
// reports whether this is that process.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const marker = "SERSYNC_TEST_NAMESPACE"
	if os.Getenv(marker) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("in namespaces of its own: %v\n%s", err, out)
	}
	return false
}

func (l limit) set(t *testing.T, n int) {
	t.Helper()
	must(t, os.WriteFile(string(l), []byte(strconv.Itoa(n)), 0))
}

func TestFullWatchLimitIsAGapThatHeals(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ourWatches.set(t, 10)
	rig := watchtest.NewRig(t, func(root *scan.Root) (watch.Watcher, error) {
		w, err := New(root, Options{Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			w.watches = ourWatches
		}
		return w, err
	})
	for i := range 30 {
		rig.Mkdir("d" + strconv.Itoa(i))
	}
	rig.Equal()
	errs := rig.CoverErrors()
	if len(errs) != 21 || !errors.Is(errs[0], unix.ENOSPC) || !strings.Contains(errs[0].Error(), "sysctl -w user.max_inotify_watches=20") {
		t.Fatalf("%d errors of Cover: %v", len(errs), errs)
	}
	st := rig.Watcher.Status()
	if st.Watches != 10 || len(st.Gaps) != 21 || !errors.Is(st.Gaps[0].Err, unix.ENOSPC) || st.Gaps[0].Since.IsZero() {
		t.Fatalf("status: %+v", st)
	}
	// A gap is looked at on a schedule: it keeps its age while it is not healed, ...
	since := st.Gaps[20].Since
	rig.Walk("")
	if st := rig.Watcher.Status(); len(st.Gaps) != 21 || !st.Gaps[20].Since.Equal(since) {
		t.Errorf("status after a second walk: %+v", st)
	}
	// ... ends when its directory does ...
	must(t, os.Remove(rig.Path(string(st.Gaps[0].Path))))
	rig.Equal()
	if got := len(rig.Watcher.Status().Gaps); got != 20 {
		t.Errorf("%d gaps after the removal of one", got)
	}
	// ... and when it can be watched.
	ourWatches.set(t, 100)
	rig.Walk("")
	if st := rig.Watcher.Status(); st.Watches != 30 || len(st.Gaps) != 0 {
		t.Errorf("status when the limit was raised: %+v", st)
	}
	for i := range 30 {
		if i != 9 {
			rig.Mkdir("d" + strconv.Itoa(i) + "/below")
		}
	}
	rig.Equal()
}

func TestWatchLimitIsRaisedByDoubling(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ourWatches.set(t, 10)
	var log bytes.Buffer
	rig := watchtest.NewRig(t, func(root *scan.Root) (watch.Watcher, error) {
		w, err := New(root, Options{RaiseLimits: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			w.watches = ourWatches
		}
		return w, err
	})
	for i := range 30 {
		rig.Mkdir("d" + strconv.Itoa(i))
	}
	rig.Equal()
	if st := rig.Watcher.Status(); st.Watches != 31 || len(st.Gaps) > 0 {
		t.Errorf("status: %+v", st)
	}
	if n, err := ourWatches.get(); n != 40 {
		t.Errorf("limit is %d (%v), not twice doubled", n, err)
	}
	rig.Close()
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "from=20 to=40") {
		t.Errorf("log: %s", log.String())
	}
}

func TestFullInstanceLimitIsNamed(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ourInstances.set(t, 0)
	root, err := scan.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	_, err = New(root, Options{Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "sysctl -w fs.inotify.max_user_instances=") {
		t.Errorf("new: %v", err)
	}
}

func TestLimitIsNeverLowered(t *testing.T) {
	file := limit(filepath.Join(t.TempDir(), "limit"))
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for _, c := range []struct{ is, to, want int }{{16384, 262144, 262144}, {262144, 262144, 262144}, {500000, 262144, 500000}} {
		must(t, os.WriteFile(string(file), []byte(strconv.Itoa(c.is)+"\n"), 0o644))
		log.Reset()
		must(t, file.raise(logger, c.is, c.to))
		got, err := file.get()
		must(t, err)
		if said := log.Len() > 0; got != c.want || said != (got != c.is) {
			t.Errorf("%d raised to %d: is %d, log %q", c.is, c.to, got, log.String())
		}
	}
}

func TestErrorsOfAddHaveARemedy(t *testing.T) {
	w := &Watcher{watches: maxUserWatches}
	for err, want := range map[error]string{
		unix.ENOSPC: "sysctl -w fs.inotify.max_user_watches=", unix.EACCES: "run as root", unix.ENOMEM: "no memory", unix.ENOENT: "mount /proc",
	} {
		if got := w.watchError(err).Error(); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
	// It would be taken for a directory that is gone.
	if errors.Is(w.watchError(unix.ENOENT), unix.ENOENT) {
		t.Error("a missing /proc is ENOENT")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
