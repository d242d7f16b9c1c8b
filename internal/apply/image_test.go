package apply

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kinds are the file systems to test on. btrfs-progs is on few machines.
func kinds() []string {
	if _, err := exec.LookPath("mkfs.btrfs"); err != nil {
		return []string{"ext4", "xfs"}
	}
	return []string{"ext4", "xfs", "btrfs"}
}

// image is a file system of its own in a file. A copy of the file is what a disk holds after a loss of power.
type image struct {
	testing.TB
	file, dir, kind string
	mounted         bool
}

// newImage makes one of so many MiB.
func newImage(t testing.TB, kind string, size int64, where string, options ...string) *image {
	t.Helper()
	work, err := os.MkdirTemp(where, "apply")
	if err != nil {
		t.Fatal(err)
	}
	i := &image{TB: t, file: filepath.Join(work, "image"), dir: filepath.Join(work, "mount"), kind: kind}
	t.Cleanup(func() {
		i.unmount()
		os.RemoveAll(work)
	})
	if err := os.Mkdir(i.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(i.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(i.file, size<<20); err != nil {
		t.Fatal(err)
	}
	if kind == "ext4" { // the kernel would write its tables while we measure
		options = append(options, "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0")
	} else {
		options = append(options, "-f")
	}
	i.run("mkfs."+kind, append(options, "-q", i.file)...)
	i.mount()
	return i
}

// openImage opens a tree that has to be closed before the image is unmounted.
func openImage(t testing.TB, i *image) *rig {
	t.Helper()
	tree, err := Open(i.dir, all())
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, tree, i.dir}
}

func (i *image) run(program string, args ...string) {
	i.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		i.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
	}
}

func (i *image) mount() {
	i.Helper()
	options := "loop"
	if i.kind == "xfs" { // it refuses the copy of what somebody's mount namespace still holds
		options += ",nouuid"
	}
	i.run("mount", "-o", options, "-t", i.kind, i.file, i.dir)
	i.mounted = true
}

func (i *image) unmount() {
	i.Helper()
	if i.mounted {
		i.run("umount", i.dir)
		i.mounted = false
	}
}

// copy takes what the disk holds now, with nothing synced.
func (i *image) copy() { i.Helper(); i.run("cp", "--sparse=always", i.file, i.file+".cut") }

// restart goes on with what copy took.
func (i *image) restart() {
	i.Helper()
	i.unmount()
	if err := os.Rename(i.file+".cut", i.file); err != nil {
		i.Fatal(err)
	}
	i.mount()
}

// commit has the file system write its journal, and not the content of other files.
func (i *image) commit() {
	i.Helper()
	f, err := os.Create(filepath.Join(i.dir, "other"))
	if err != nil {
		i.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		i.Fatal(err)
	}
}
