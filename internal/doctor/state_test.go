package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStateDirectoryIsJudged(t *testing.T) {
	e, root := source(t, "")
	dir := filepath.Join(filepath.Dir(root), "state", "x")
	e.Config.StateDir = dir
	state := func() Part {
		e.mounts, _ = e.readMounts()
		return e.state()
	}
	want(t, state(), OK, "directory", dir+" is not there yet, and can be made", "")
	must(t, os.MkdirAll(dir, 0o700))
	p := state()
	noWorse(t, p)
	want(t, p, OK, "directory", "mode 0700", "")
	must(t, os.Chmod(dir, 0o755))
	want(t, state(), Warning, "directory", "mode 0755", "chmod 700 "+dir)
	must(t, os.Chmod(dir, 0o777))
	want(t, state(), Problem, "directory", "mode 0777", "chmod 700 "+dir)
	must(t, os.Chown(dir, 65534, 65534))
	want(t, state(), Problem, "directory", "belongs to the user 65534", "chown 0 "+dir)
	must(t, os.Remove(dir))
	write(t, dir, "")
	want(t, state(), Problem, "directory", "is no directory", "state_dir")
	must(t, os.Remove(dir))
	must(t, unix.Mount("tmpfs", filepath.Dir(dir), "tmpfs", 0, "size=64k,nr_inodes=20"))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Dir(dir), unix.MNT_DETACH) })
	p = state()
	want(t, p, Warning, "file_system", "it is on tmpfs: all of it is lost at a reboot", "local disk")
	want(t, p, Problem, "space", "64 KiB free", "make room")
	want(t, p, Problem, "inodes", "inodes are free", "make room")
	must(t, unix.Mount("", filepath.Dir(dir), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	want(t, state(), Problem, "directory", "cannot be made in", "state_dir")
}

func TestStateDirectoryInASource(t *testing.T) {
	e, root := source(t, "")
	e.Config.StateDir = filepath.Join(root, "var", "state")
	want(t, e.state(), Note, "place", "lies in the source www and is left out", "")
	e.Config.StateDir = root
	want(t, e.state(), Problem, "place", "is the source www", "outside")
}

func TestStateOnANetworkFileSystem(t *testing.T) {
	e, root := source(t, "")
	e.Proc = proc(t, map[string]string{"self/mountinfo": "20 1 8:1 / / rw - nfs4 server:/export rw"})
	e.Config.StateDir = filepath.Join(filepath.Dir(root), "state")
	e.mounts, _ = e.readMounts()
	want(t, e.state(), Warning, "file_system", "on nfs4", "local disk")
}

func TestSpaceIsThatOfAJournal(t *testing.T) {
	for _, c := range []struct {
		paths int
		free  uint64
		want  Level
	}{{1_000_000, 149 << 20, Warning}, {1_000_000, 100 << 20, Problem}, {1_000_000, 1 << 30, OK}, {0, 0, Problem}} {
		var p Part
		space(&p, need{paths: c.paths}, c.free, 0, 0)
		if got := p.Findings[0].Level; got != c.want || len(p.Findings) != 1 {
			t.Errorf("%d paths, %d bytes free: %s", c.paths, c.free, listed(p))
		}
	}
}
