package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
	"sersync/internal/scan"
)

// source is a configuration with one source and a target beside it.
func source(t *testing.T, more string) (*examination, string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	root := filepath.Join(dir, "data")
	must(t, os.Mkdir(root, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "copy"), 0o755))
	return configured(t, fmt.Sprintf("sources:\n  - path: %s\n    name: www\n    targets: [{url: %s}]\n%s", root, filepath.Join(dir, "copy"), more)), root
}

func TestMountsThatHideChangesAreNamed(t *testing.T) {
	e, root := source(t, "    exclude: [/dropped/]\n")
	write(t, filepath.Join(root, "x"), "x")
	table := "20 1 8:1 / / rw - ext4 /dev/root rw\n"
	for n, mount := range []string{"nfs nfs4 server:/export", "deep/s\\040p fuse.sshfs a@b:", "share cifs //s/x", "disk ext4 /dev/sdb1", "dropped nfs4 server:/no", "hidden/below nfs server:/h", "hidden xfs /dev/sdc1"} {
		f := strings.Fields(mount)
		table += fmt.Sprintf("%d 20 0:%d / %s rw - %s %s rw\n", 30+n, 30+n, root+"/"+f[0], f[1], f[2])
	}
	e.Proc = proc(t, map[string]string{"self/mountinfo": strings.TrimSuffix(table, "\n")})
	p := e.sources(t.Context())[0]
	want(t, p, OK, "root", "is on ext4, mounted from /dev/root at /", "")
	want(t, p, Warning, "blind", "nfs is on nfs4: ", "sweep")
	want(t, p, Warning, "blind", `"deep/s p" is on fuse.sshfs: `, "sweep")
	want(t, p, Warning, "blind", "share is on cifs: ", "sweep")
	want(t, p, Note, "mount", "disk is another file system, ext4 from /dev/sdb1", "")
	if text := listed(p); strings.Contains(text, "dropped") {
		t.Errorf("a mount that is excluded is told: %s", text)
	}
}

func TestSourceOnANetworkFileSystemIsNamed(t *testing.T) {
	e, root := source(t, "")
	e.Proc = proc(t, map[string]string{"self/mountinfo": "20 1 8:1 / / rw - ext4 /dev/root rw\n21 20 0:9 / " + root + " rw - nfs server:/export rw"})
	want(t, e.sources(t.Context())[0], Warning, "blind", root+" is on nfs: ", "run sersync on the machine that has the disk")
}

func TestSourceThatIsExportedIsNamed(t *testing.T) {
	e, root := source(t, "")
	e.Exports = []string{filepath.Join(t.TempDir(), "etab")}
	if text := listed(e.sources(t.Context())[0]); strings.Contains(text, "exported") {
		t.Errorf("it is not: %s", text)
	}
	write(t, e.Exports[0], filepath.Dir(root)+"\t*(rw)\n")
	want(t, e.sources(t.Context())[0], OK, "exports", "by the NFS server of this machine", "")
	e, root = source(t, "    watch: inotify\n")
	e.Exports = []string{filepath.Join(t.TempDir(), "etab")}
	write(t, e.Exports[0], root+"\t*(rw)\n")
	want(t, e.sources(t.Context())[0], Warning, "exports", "inotify does not tell", "CAP_SYS_ADMIN")
}

// The classical accident: the disk is not mounted, and its empty mount point is replicated.
func TestMountPointOfFstabThatIsNotMountedIsNamed(t *testing.T) {
	e, root := source(t, "")
	line := "# comment\nUUID=1 / ext4 defaults 0 1\nUUID=2 " + root + "/ xfs defaults 0 2\nUUID=3 none swap sw 0 0\nUUID=4 " + root + `/b\040c ext4 defaults` + "\n"
	e.Fstab = filepath.Join(t.TempDir(), "fstab")
	write(t, e.Fstab, line)
	p := e.sources(t.Context())[0]
	want(t, p, Problem, "fstab", root+" is empty or missing, and "+root+", which", "mount "+root)
	want(t, p, Warning, "fstab", `/b c", which `, "mount ")
	write(t, filepath.Join(root, "x"), "x")
	want(t, e.sources(t.Context())[0], Warning, "fstab", root+", which", "mount "+root)
	// Mounted, nothing is said of it.
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"))
	defer func() { _ = unix.Unmount(root, unix.MNT_DETACH) }()
	if text := listed(e.sources(t.Context())[0]); strings.Contains(text, "is empty") || strings.Contains(text, root+", which") {
		t.Errorf("it is mounted: %s", text)
	}
}

func TestSymlinkToASourceIsSaid(t *testing.T) {
	e, root := source(t, "")
	real := root + ".real"
	must(t, os.Rename(root, real))
	must(t, os.Symlink(real, root))
	want(t, e.sources(t.Context())[0], Note, "symlink", root+" is reached by a symlink and is "+real, "")
}

func TestWalkCountsWhatAWatcherWouldNeed(t *testing.T) {
	e, root := source(t, "    exclude: [/no/, \"*.tmp\"]\n")
	for _, name := range []string{"a/b/file", "a/file.tmp", "no/x/y", "c/\x1b"} {
		write(t, filepath.Join(root, name), "x")
	}
	p := e.sources(t.Context())[0]
	// The root, a, a/b, c; the two files.
	if e.need.dirs != 4 || e.need.paths != 6 || e.need.sources != 1 || e.need.targets != 1 {
		t.Errorf("%+v", e.need)
	}
	want(t, p, OK, "tree", "6 paths, 4 directories", "")
}

// As another user, whose rights this thread has for the files it opens.
func TestDirectoryThatCannotBeReadIsNamed(t *testing.T) {
	_, dir := source(t, "")
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	write(t, filepath.Join(dir, "open/x"), "x")
	write(t, filepath.Join(dir, "cl osed/x"), "x")
	must(t, os.Chmod(filepath.Join(dir, "cl osed"), 0o700))
	root, err := scan.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	done := make(chan tree)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its rights
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Error(err)
		}
		counted, err := count(t.Context(), root, nil)
		if err != nil {
			t.Error(err)
		}
		done <- counted
	}()
	counted := <-done
	if counted.closedCount != 1 || len(counted.closed) != 1 || counted.closed[0].path != "cl osed" || !errors.Is(counted.closed[0].err, unix.EACCES) {
		t.Errorf("%+v", counted)
	}
	if counted.dirs != 3 {
		t.Errorf("%d directories", counted.dirs)
	}
}

func TestGapsOfTheDaemonAreNamed(t *testing.T) {
	e, root := source(t, "")
	status := replicate.Status{Name: "www", Path: root, Watcher: "inotify", Watches: 7, Indexed: 1234, Overflows: 3}
	for n := range listMax + 5 {
		status.Gaps = append(status.Gaps, replicate.Gap{Path: fmt.Sprintf("d%d", n), Since: time.Now(), Reason: "no space left on device: the limit is 8"})
	}
	e.Running = &httpd.Status{Sources: []replicate.Status{status}}
	p := e.sources(t.Context())[0]
	want(t, p, OK, "watcher", "by inotify: 7 watched, 1234 paths known", "")
	want(t, p, Problem, "gap", "d0 is not watched since ", "every 30s")
	want(t, p, Problem, "gap", "5 more are not watched", "sersync status")
	want(t, p, Note, "overflows", "3 times", "fs.inotify.max_queued_events = ")
	if e.need.dirs != 7+listMax+5 || e.need.paths != 1234 {
		t.Errorf("%+v", e.need)
	}
}

func TestWhatTheDaemonHoldsBackIsNamed(t *testing.T) {
	e, root := source(t, "")
	want(t, e.daemon(), Note, "running", "no sersync runs", "sersync run "+e.File)
	e.Running = &httpd.Status{PID: 7, ReloadError: "line 3", Sources: []replicate.Status{{
		Name: "www", Path: root, State: "root-gone", Brake: &replicate.Brake{Reason: "it is empty", Held: 12},
		Targets: []replicate.TargetStatus{
			{Name: "one", State: "full", Waiting: 3, LastError: &replicate.LastError{Text: "no space", Hint: "make room"}, Dead: 2},
			{Name: "two", State: "paused", Waiting: 1},
		},
	}}}
	p := e.daemon()
	want(t, p, Problem, "reload", "line 3", "HUP")
	want(t, p, Problem, "brake", "12 removals of the source www held", "sersync deletes approve")
	want(t, p, Problem, "root", "www is gone", "bring the directory back")
	want(t, p, Problem, "target", "one is full", "make room")
	want(t, p, Problem, "dead_letters", "2 paths failed too often on one", "sersync failed retry")
	want(t, p, Note, "paused", "two is paused, and 1 path wait", "sersync resume --target two")
	e.Silent = errors.New("no answer")
	want(t, e.daemon(), Problem, "running", "does not answer: no answer", "log")
}
