package replicate_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/replicate"
	"sersync/internal/treetest"
)

// apart runs the test in a process of its own, of which prepare changes the thread that starts it. It reports whether this is
// that process.
func apart(t *testing.T, attr *syscall.SysProcAttr, prepare func() error) bool {
	t.Helper()
	const marker = "SERSYNC_TEST_APART"
	if os.Getenv(marker) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	done := make(chan error, 1)
	go func() {
		// The thread ends with this goroutine: nobody else gets what was prepared.
		runtime.LockOSThread()
		err := prepare()
		if err == nil {
			err = cmd.Run()
		}
		done <- err
	}()
	if err := <-done; err != nil || !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name())) {
		t.Errorf("in a process of its own: %v\n%s", err, out.Bytes())
	}
	return false
}

// Without descriptors nobody knows what is there: nothing is taken for removed, the state says what is missing, and all is
// sent when there are some again.
func TestProcessWithoutDescriptorsRemovesNothingAndGoesOnWhenItHasSome(t *testing.T) {
	if !apart(t, &syscall.SysProcAttr{}, func() error { return nil }) {
		return
	}
	r := newRig(t, nil)
	for _, p := range []string{"d/a", "d/b", "e/c"} {
		r.write(p, "x")
	}
	r.start()
	r.equal("one")
	limit := descriptors(t, 0)
	// Each of these works without a descriptor of this process.
	r.must(unix.Mknod(filepath.Join(r.dir, "d/new"), unix.S_IFREG|0o644, 0))
	r.must(os.Truncate(filepath.Join(r.dir, "d/new"), 1000))
	r.must(os.Rename(filepath.Join(r.dir, "d/a"), filepath.Join(r.dir, "e/a")))
	r.must(os.Mkdir(filepath.Join(r.dir, "newdir"), 0o755))
	r.must(unix.Mknod(filepath.Join(r.dir, "newdir/f"), unix.S_IFREG|0o644, 0))
	r.eventually("the state says so", func() bool { return r.src.Status().Targets[0].State == "misconfigured" })
	s := r.src.Status()
	if e := s.Targets[0].LastError; e == nil || !strings.Contains(e.Text, "too many open files") || !strings.Contains(e.Hint, "limits of open files") {
		t.Errorf("last error: %+v", e)
	}
	if s.Targets[0].Waiting == 0 || s.Targets[0].Dead != 0 {
		t.Errorf("status: %+v", s.Targets[0])
	}
	for _, p := range []string{"d/a", "d/b", "e/c"} {
		if !r.exists("one", p) {
			t.Errorf("%s was removed", p)
		}
	}
	descriptors(t, limit)
	r.eventually("all is read again", func() bool { s := r.src.Status(); return len(s.Gaps) == 0 && s.Targets[0].State == "idle" })
	r.equal("one")
	r.write("newdir/after", "x")
	r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
	r.equal("one")
}

// descriptors sets the limit of open files, 0 for what is open now, and returns the one that was.
func descriptors(t *testing.T, n uint64) uint64 {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	was := limit.Cur
	if limit.Cur = n; n == 0 {
		limit.Cur = 3
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return was
}

// unprivileged starts the test without the rights by which root reads everything.
func unprivileged(t *testing.T) bool {
	t.Helper()
	return apart(t, &syscall.SysProcAttr{}, func() error {
		for _, right := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, right, 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d: %w", right, err)
			}
		}
		return nil
	})
}

// A directory that may not be read is named, and nothing below it is removed; what changed in it arrives when it may.
func TestDirectoryThatMayNotBeReadIsNamedAndSentWhenItMay(t *testing.T) {
	if !unprivileged(t) {
		return
	}
	r := newRig(t, nil)
	closed := filepath.Join(r.dir, "closed")
	r.write("closed/below/f", "x")
	r.write("closed/g", "x")
	r.write("open/h", "x")
	r.start()
	r.equal("one")
	r.must(os.Remove(filepath.Join(closed, "g")))
	r.write("closed/new", "x")
	r.write("closed/below/f", "other")
	r.must(os.Chmod(closed, 0))
	r.must(r.src.Sweep()) // looks at everything
	r.write("open/h", "goes on")
	r.eventually("what is open arrives", func() bool { return r.there("one", "open/h") == "goes on" })
	r.eventually("the directory is named", func() bool {
		for _, g := range r.src.Status().Gaps {
			if strings.HasPrefix(g.Path, "closed") && strings.Contains(g.Reason, "permission denied") {
				return true
			}
		}
		return r.first().LastError != nil && strings.Contains(r.first().LastError.Text, "ermission denied")
	})
	r.must(os.Chmod(filepath.Join(r.daemon.Dir("one"), "closed"), 0o755)) // the daemon has no more rights than we
	if !r.exists("one", "closed/below/f") {
		t.Error("something below was removed")
	}
	r.must(os.Chmod(closed, 0o755))
	r.equal("one")
	r.eventually("the directory is read", func() bool { return len(r.src.Status().Gaps) == 0 })
}

// A file that may not be read is owed, and says why; the others are not delayed.
func TestFileThatMayNotBeReadIsOwedUntilItMay(t *testing.T) {
	if !unprivileged(t) {
		return
	}
	r := newRig(t, nil)
	r.write("d/secret", "x")
	r.start()
	r.equal("one")
	secret := filepath.Join(r.dir, "d/secret")
	r.must(os.Chmod(secret, 0o200))
	r.must(os.Truncate(secret, 100))
	r.write("d/other", "x")
	r.eventually("the other one arrives", func() bool { return r.exists("one", "d/other") })
	r.eventually("it is owed and says why", func() bool {
		s := r.first()
		return s.Retrying > 0 && s.LastError != nil && strings.Contains(s.LastError.Text, "ermission denied")
	})
	r.must(os.Chmod(secret, 0o600))
	r.equal("one")
}

// A disk below the source that gives errors takes nothing along on the target, and is replicated again when it is well.
func TestDirectoryThatCannotBeListedRemovesNothingAndIsSentWhenItCan(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	r := newRig(t, nil)
	at := filepath.Join(r.dir, "disk")
	r.must(os.Mkdir(at, 0o755))
	disk.move(at)
	r.write("disk/d/f", "x")
	r.write("disk/g", "x")
	r.write("other", "x")
	r.start()
	r.equal("one")
	disk.fail()
	r.must(r.src.Sweep())
	r.write("other", "goes on")
	r.eventually("the rest arrives", func() bool { return r.there("one", "other") == "goes on" })
	r.restart(nil) // it looks at everything
	r.write("new", "x")
	r.eventually("the rest arrives after a start", func() bool { return r.exists("one", "new") })
	r.eventually("the directory is named", func() bool {
		for _, g := range r.src.Status().Gaps {
			if strings.Contains(g.Reason, `"disk`) && strings.Contains(g.Reason, "input/output error") {
				return true
			}
		}
		return false
	})
	if !r.exists("one", "disk/d/f") || !r.exists("one", "disk/g") {
		t.Fatal("something was removed that cannot be seen")
	}
	disk.repair()
	r.write("disk/d/after", "x")
	r.must(os.Remove(filepath.Join(r.dir, "disk/g")))
	r.equal("one")
}

// A source that cannot be written any more is replicated as before.
func TestSourceThatIsRemountedReadOnlyIsReplicatedAsBefore(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.mountAt(r.dir, "tmpfs", "tmpfs", "size=10m")
	r.write("d/f", "x")
	r.start()
	r.equal("one")
	r.write("d/g", "the last one")
	r.must(unix.Mount("tmpfs", r.dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	r.equal("one")
	r.must(r.src.Sweep())
	r.equal("one")
	if s := r.src.Status(); s.Brake != nil || s.State != "watching" || s.Targets[0].LastError != nil {
		t.Errorf("status: %+v", s)
	}
	r.must(unix.Mount("tmpfs", r.dir, "tmpfs", unix.MS_REMOUNT, ""))
	r.write("d/h", "x")
	r.must(os.Remove(filepath.Join(r.dir, "d/g")))
	r.equal("one")
	treetest.Equal(t, r.dir, r.daemon.Dir("one"), nil)
}

// Without an instance of inotify a source cannot start, and says what to raise; one whose root comes back is watched again
// when there is one.
func TestSourceWithoutInotifyInstancesSaysSoAndIsWatchedWhenThereIsOne(t *testing.T) {
	namespaces := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}, GidMappingsEnableSetgroups: true,
	}
	if !apart(t, namespaces, func() error { return nil }) {
		return
	}
	r := newRig(t, nil)
	instances := func(n string) { r.must(os.WriteFile("/proc/sys/user/max_inotify_instances", []byte(n), 0)) }
	r.write("d/f", "x")
	instances("0")
	src, err := replicate.New(r.opts)
	r.must(err)
	if err := src.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "max_user_instances") {
		t.Errorf("the start: %v", err)
	}
	instances("100")
	r.opts.Targets = []replicate.TargetOptions{r.target("one", nil)}
	r.start()
	r.equal("one")
	away := r.dir + ".away"
	r.must(os.Rename(r.dir, away))
	r.eventually("the root is gone", func() bool { return r.src.Status().State == "root-gone" })
	instances("0")
	r.must(os.Rename(away, r.dir))
	r.eventually("the status says why it is not watched", func() bool { return strings.Contains(r.src.Status().Error, "max_user_instances") })
	r.write("d/f", "changed while nobody watched")
	r.must(os.Mkdir(filepath.Join(r.dir, "new"), 0o755))
	instances("100")
	r.eventually("it is watched again", func() bool { s := r.src.Status(); return s.State == "watching" && s.Error == "" && s.Brake == nil })
	r.equal("one")
}
