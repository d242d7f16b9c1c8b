package replicate_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/journal"
	"sersync/internal/replicate"
)

// unwritten waits until the status says that the journal cannot be written, and sees to it that updates go on.
func (r *rig) unwritten() {
	r.t.Helper()
	r.write("d/makes", "it write")
	r.eventually("the status says so", func() bool { return r.src.Status().Journal.Error != "" })
	r.write("d/goes", "on")
	r.eventually("an update arrives", func() bool { return r.there("one", "d/goes") == "on" })
	if log := r.logged.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "hint=") {
		r.t.Error("nothing is said of the journal")
	}
}

// writtenAgain waits until the status says that the journal is written, and restarts: nothing is compared, and nothing is
// lost of what changed before or meanwhile.
func (r *rig) writtenAgain() {
	r.t.Helper()
	r.must(os.RemoveAll(filepath.Join(r.dir, "goes")))
	r.equal("one")
	r.saved()
	r.eventually("the status says that it is well", func() bool { return r.src.Status().Journal.Error == "" })
	r.restart(func() {
		r.must(os.RemoveAll(filepath.Join(r.dir, "below")))
		r.write("d/new", "x")
	})
	r.equal("one")
	if s := r.src.Status(); s.Targets[0].Swept != nil || s.Brake != nil {
		r.t.Errorf("after the restart: %+v", s)
	}
}

// stateRig is a rig with a journal in a directory, and something to replicate.
func stateRig(t *testing.T, state string) *rig {
	t.Helper()
	r, _ := keptRig(t, func(r *rig) { r.opts.StateDir = state })
	return r
}

func (r *rig) begin() {
	r.t.Helper()
	r.start()
	for i := range 20 {
		r.write(fmt.Sprintf("below/d%d/f", i), "x")
		r.write(fmt.Sprintf("goes/d%d/f", i), "x")
	}
	r.equal("one")
	r.saved()
}

// A file system that turns read-only by an error, as ext4 does, is mounted again by a person.
func TestStateDirectoryThatTurnsReadOnlyStopsNoUpdate(t *testing.T) {
	t.Parallel()
	mount, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	r := stateRig(t, filepath.Join(mount, "state"))
	r.must(os.WriteFile(image, nil, 0o600))
	r.must(os.Truncate(image, 64<<20))
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("mkfs.ext4", "-q", "-O", "^has_journal", image)
	device := run("losetup", "--find", "--show", image)
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	r.mountAt(mount, "ext4", device, "errors=remount-ro")
	r.begin()
	r.must(os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error"), []byte("a test"), 0))
	r.unwritten()
	r.must(unix.Unmount(mount, unix.MNT_DETACH))
	r.eventually("nobody has it open", func() bool {
		if unix.Mount(device, mount, "ext4", 0, "errors=remount-ro") != nil {
			return false
		}
		if os.WriteFile(filepath.Join(mount, "probe"), nil, 0o600) == nil {
			return true
		}
		r.must(unix.Unmount(mount, unix.MNT_DETACH))
		return false
	})
	r.writtenAgain()
}

// Every access fails, those to mapped memory too; another disk takes its place.
func TestStateDirectoryWhoseDiskFailsStopsNoUpdate(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	r := stateRig(t, disk.dir)
	r.must(os.Chmod(disk.dir, 0o700))
	r.begin()
	disk.fail()
	r.unwritten()
	r.mountAt(disk.dir, "tmpfs", "tmpfs", "size=64m,mode=700")
	r.writtenAgain()
}

func TestStateDirectoryThatIsRemovedIsMadeAgain(t *testing.T) {
	t.Parallel()
	r := stateRig(t, filepath.Join(t.TempDir(), "state"))
	r.begin()
	r.must(os.RemoveAll(r.opts.StateDir))
	r.write("d/makes", "it write")
	r.eventually("it is there again", func() bool {
		files, err := filepath.Glob(filepath.Join(r.opts.StateDir, "journal-*.db"))
		return err == nil && len(files) == 1
	})
	r.writtenAgain()
}

// A state directory that cannot be written at the start is used once it can be.
func TestStateDirectoryThatIsReadOnlyAtTheStartIsUsedOnceItCanBe(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	r := stateRig(t, filepath.Join(mount, "state"))
	r.mountAt(mount, "tmpfs", "tmpfs", "size=64m")
	r.must(unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	r.start()
	r.unwritten()
	r.must(unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, ""))
	r.eventually("the journal is kept", func() bool { s := r.src.Status().Journal; return s.Error == "" && s.Path != "" })
	r.write("below/f", "x")
	r.write("goes/f", "x")
	r.writtenAgain()
}

// What an unreadable journal knew is not known: what went meanwhile is found by a comparison, and held.
func TestJournalThatIsReadOnlyAtTheStartLosesNothing(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	r := stateRig(t, filepath.Join(mount, "state"))
	r.mountAt(mount, "tmpfs", "tmpfs", "size=64m")
	r.begin()
	r.restart(func() {
		r.must(unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		r.write("below/d1/f", "other")
		r.must(os.RemoveAll(filepath.Join(r.dir, "goes/d2")))
	})
	r.eventually("the update is there and the removal is held", func() bool {
		s := r.src.Status()
		return r.there("one", "below/d1/f") == "other" && s.Journal.Error != "" && s.Brake != nil && s.Brake.Kind == "journal-lost" && s.Brake.Held > 0
	})
	r.src.Approve()
	r.equal("one")
	r.must(unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, ""))
	r.eventually("the journal is kept", func() bool { s := r.src.Status().Journal; return s.Error == "" && s.Path != "" })
	r.writtenAgain()
}

// Two instances with one journal: the second one does not start, and says who has it.
func TestJournalThatAnotherProcessHasIsNamedAtTheStart(t *testing.T) {
	t.Parallel()
	r := stateRig(t, t.TempDir())
	r.begin()
	opts := r.opts
	opts.Targets = []replicate.TargetOptions{r.target("two", nil)}
	second, err := replicate.New(opts)
	r.must(err)
	err = second.Run(t.Context())
	if !errors.Is(err, journal.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("number ", os.Getpid())) {
		t.Errorf("the second one: %v", err)
	}
	r.write("d/f", "x")
	r.writtenAgain()
}
