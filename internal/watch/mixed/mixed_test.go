package mixed

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(method string) watchtest.Open {
	return func(root *scan.Root) (watch.Watcher, error) {
		return New(root, Options{Method: method, Log: slog.New(slog.DiscardHandler)})
	}
}

// mountAt mounts until the test ends.
func mountAt(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	must(t, unix.Mount(source, target, kind, flags, data))
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

// overlay mounts a file system that fanotify cannot watch.
func overlay(t *testing.T, target string) {
	t.Helper()
	layers, err := os.MkdirTemp("/dev/shm", "layers")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(layers) })
	for _, name := range []string{"lower", "upper", "work"} {
		must(t, os.Mkdir(filepath.Join(layers, name), 0o755))
	}
	mountAt(t, "overlay", target, "overlay", 0, "lowerdir="+layers+"/lower,upperdir="+layers+"/upper,workdir="+layers+"/work")
}

func TestContractByTheBestMethod(t *testing.T) { watchtest.Run(t, open("")) }

func TestContractByInotifyAlone(t *testing.T) { watchtest.Run(t, open(watch.Inotify)) }

// The same where the root cannot be watched by fanotify.
func TestContractOnAnOverlay(t *testing.T) {
	dir := t.TempDir()
	overlay(t, dir)
	t.Setenv("TMPDIR", dir)
	watchtest.Run(t, open(""))
}

func methods(st watch.Status) map[change.Path]string {
	all := map[change.Path]string{}
	for _, p := range st.Parts {
		all[p.Path] = p.Method
	}
	return all
}

func TestEachFileSystemIsWatchedInItsBestWay(t *testing.T) {
	rig := watchtest.NewRig(t, open(""))
	for _, dir := range []string{"memory", "overlay", "sys"} {
		rig.Mkdir(dir)
	}
	mountAt(t, "tmpfs", rig.Path("memory"), "tmpfs", 0, "size=1m")
	overlay(t, rig.Path("overlay"))
	mountAt(t, "/sys/kernel/mm", rig.Path("sys"), "", unix.MS_BIND, "")
	for _, dir := range []string{"memory/d", "overlay/d"} {
		rig.Mkdir(dir)
	}
	rig.Walk("")
	st := rig.Watcher.Status()
	want := map[change.Path]string{"": watch.Fanotify, "memory": watch.Fanotify, "overlay": watch.Inotify, "sys": watch.Poll}
	if diff := cmp.Diff(want, methods(st)); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
	for _, p := range st.Parts {
		if (p.Reason != "") != (p.Method != watch.Fanotify) {
			t.Errorf("%v by %s: reason %q", p.Path, p.Method, p.Reason)
		}
	}
	// What is polled is a gap, once for all that is below it.
	if len(st.Gaps) != 1 || st.Gaps[0].Path != "sys" || !strings.Contains(st.Gaps[0].Err.Error(), "sysfs") {
		t.Errorf("gaps: %+v", st.Gaps)
	}
	rig.Seen()
	rig.Write("memory/d/f", "x")
	rig.Write("overlay/d/f", "x")
	rig.Write("f", "x")
	rig.Settle()
	seen := rig.Seen()
	for _, p := range []change.Path{"memory/d/f", "overlay/d/f", "f"} {
		if !slices.ContainsFunc(seen, func(e watch.Event) bool { return e.Path == p && e.Kind == watch.Closed }) {
			t.Errorf("the close of %v was not told: %v", p, seen)
		}
	}
	// Whoever waits for all that was changed has the gap looked at.
	if !slices.ContainsFunc(seen, func(e watch.Event) bool { return e.Path == "sys" && e.Kind == watch.Look }) {
		t.Error("sync does not look at what is polled")
	}
}

// Nobody covers or walks here but who is told to by an event.
func TestMountsAndUnmountsAreSeenAtOnce(t *testing.T) {
	for _, method := range []string{"", watch.Inotify} {
		rig := watchtest.NewRig(t, open(method))
		rig.Mkdir("m/under")
		rig.Equal()
		rig.Seen()
		mountAt(t, "tmpfs", rig.Path("m"), "tmpfs", 0, "size=1m")
		rig.AwaitEvent(watch.Look, "m")
		rig.Equal()
		rig.Mkdir("m/d")
		rig.Write("m/d/f", "x")
		rig.Equal()
		rig.Seen()
		must(t, unix.Unmount(rig.Path("m"), 0))
		rig.AwaitEvent(watch.Look, "m")
		rig.Equal()
		rig.Write("m/under/f", "x")
		rig.Equal()
		rig.Seen()
		// Another one at the same place.
		mountAt(t, "tmpfs", rig.Path("m"), "tmpfs", 0, "size=1m")
		rig.Write("m/f", "x")
		rig.Equal() // whoever waits for all that was changed need not wait for the bell
		rig.Write("m/f", "xx")
		rig.Equal()
	}
}

func TestOneFileSystemLeavesOutWhatIsMounted(t *testing.T) {
	rig := watchtest.NewRig(t, func(root *scan.Root) (watch.Watcher, error) {
		return New(root, Options{OneFileSystem: true, Log: slog.New(slog.DiscardHandler)})
	})
	rig.Mkdir("m")
	rig.Mkdir("d")
	rig.Equal()
	mountAt(t, "tmpfs", rig.Path("m"), "tmpfs", 0, "size=1m")
	rig.AwaitEvent(watch.Look, "m")
	rig.Settle()
	rig.Mkdir("m/in")
	rig.Seen()
	rig.Write("m/in/f", "x")
	rig.Write("d/f", "x")
	rig.Settle()
	for _, e := range rig.Seen() {
		if e.Path.Below("m") {
			t.Errorf("%v of %v", e.Kind, e.Path)
		}
	}
	if st := rig.Watcher.Status(); len(st.Parts) != 1 || len(st.Gaps) != 0 {
		t.Errorf("status: %+v", st)
	}
	dir, err := rig.Root.OpenDir("m")
	must(t, err)
	defer dir.Close()
	if err := rig.Watcher.Cover(int(dir.Fd()), "m"); err == nil || !strings.Contains(err.Error(), scan.ErrNotEntered.Error()) {
		t.Errorf("cover: %v", err)
	}
}

func TestPollIsAGapOfTheRootThatIsLookedAtWhenItIsAskedFor(t *testing.T) {
	rig := watchtest.NewRig(t, open(watch.Poll))
	rig.Mkdir("d")
	rig.Write("d/f", "x")
	rig.Equal() // by the Look of Sync
	st := rig.Watcher.Status()
	if st.Watches != 0 || len(st.Gaps) != 1 || st.Gaps[0].Path != change.Root || methods(st)[change.Root] != watch.Poll {
		t.Errorf("status: %+v", st)
	}
	must(t, os.Rename(rig.Dir, rig.Dir+".away"))
	rig.AwaitEvent(watch.RootGone, change.Root)
}

// asNobody runs f in a thread without rights.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		// Of this thread alone: the rights, and the owner by which the kernel grants them.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			t.Errorf("setresuid: %v", errno)
			return
		}
		f()
	}()
	<-done
}

func TestWithoutRightsInotifyIsUsedAndFanotifySaysWhatItNeeds(t *testing.T) {
	dir, err := os.MkdirTemp("", "rights")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o777))
	root, err := scan.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	fd := int(root.File().Fd())
	asNobody(t, func() {
		w, err := New(root, Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		if err := w.Cover(fd, change.Root); err != nil {
			t.Errorf("cover: %v", err)
		}
		st := w.Status()
		if len(st.Parts) != 1 || st.Parts[0].Method != watch.Inotify || !strings.Contains(st.Parts[0].Reason, "CAP_SYS_ADMIN") || len(st.Gaps) > 0 {
			t.Errorf("status: %+v", st)
		}
		only, err := New(root, Options{Method: watch.Fanotify, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			defer only.Close()
			err = only.Cover(fd, change.Root)
		}
		if err == nil || !strings.Contains(err.Error(), "CAP_SYS_ADMIN") || !strings.Contains(err.Error(), "watch: auto") {
			t.Errorf("fanotify alone: %v", err)
		}
	})
}

func TestFanotifyAloneIsRefusedWhereItDoesNotSeeAll(t *testing.T) {
	root, err := scan.OpenRoot("/sys/kernel/mm")
	must(t, err)
	defer root.Close()
	for method, refused := range map[string]bool{"": false, watch.Fanotify: true} {
		w, err := New(root, Options{Method: method, Log: slog.New(slog.DiscardHandler)})
		must(t, err)
		err = w.Cover(int(root.File().Fd()), change.Root)
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "sysfs does not tell of all changes; or set watch: auto") {
			t.Errorf("by %q: %v", method, err)
		}
		must(t, w.Close())
	}
}
