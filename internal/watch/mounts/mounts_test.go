package mounts

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestParseTakesWhatIsBelowAndIsSeen(t *testing.T) {
	const text = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:40 / /data rw - tmpfs tmpfs rw
31 30 0:41 / /data/a\040b\134 rw - tmpfs tmpfs rw
32 31 0:42 / /data/a\040b\134 rw - tmpfs tmpfs rw
33 22 0:43 / /data2/x rw - tmpfs tmpfs rw
34 30 0:44 /sub /data/c/d rw shared:1 - nfs4 host:/x rw
`
	none := func(string) uint64 { return 0 }
	want := Table{`a b\`: "32 0:42 / 0", "c/d": "34 0:44 /sub 0"}
	got, err := parse([]byte(text), "/data", none)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("table (-want +got): %v\n%s", err, diff)
	}
	if all, err := parse([]byte(text), "/", none); len(all) != 4 || err != nil {
		t.Errorf("%d mounts below /: %v", len(all), err)
	}
	if _, err := parse([]byte("garbage\n"), "/", none); err == nil {
		t.Error("garbage is taken for a mount")
	}
}

func TestMountRingsAndIsADifference(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "m\n\\ 012")
	must(t, os.Mkdir(at, 0o755))
	root, err := os.Open(dir)
	must(t, err)
	defer root.Close()
	bell, err := NewBell()
	must(t, err)
	defer bell.Close()
	before, err := Read(root)
	must(t, err)
	rings := func(n int) {
		t.Helper()
		fds := []unix.PollFd{bell.Poll()}
		if _, err := unix.Poll(fds, 10_000); err != nil || fds[0].Revents == 0 {
			t.Fatalf("%d: no bell: %v", n, err)
		}
	}
	for n := range 3 {
		must(t, unix.Mount("tmpfs", at, "tmpfs", 0, "size=1m"))
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
		rings(n)
		now, err := Read(root)
		must(t, err)
		if got := before.Differ(now); !slices.Equal(got, []change.Path{change.Path(filepath.Base(at))}) {
			t.Errorf("%d: differs at %v", n, got)
		}
		before = now
		must(t, unix.Unmount(at, 0))
		rings(n)
		if n == 1 { // mounted again, and nobody looked meanwhile
			continue
		}
		now, err = Read(root)
		must(t, err)
		if got := before.Differ(now); len(got) != 1 {
			t.Errorf("%d: differs at %v", n, got)
		}
		before = now
	}
}

func TestFindTellsMountsApart(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a", 0o755))
	must(t, os.MkdirAll(dir+"/b", 0o755))
	must(t, unix.Mount(dir+"/a", dir+"/b", "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir+"/b", unix.MNT_DETACH) })
	find := func(name string) Found {
		f, err := os.Open(dir + name)
		must(t, err)
		defer f.Close()
		found, err := Find(int(f.Fd()))
		must(t, err)
		return found
	}
	a, b := find("/a"), find("/b")
	if a.Top || !b.Top || a.Place == b.Place || a.Place.Dev != b.Place.Dev || !a.Stat.SameFile(b.Stat) || a.Place != find("").Place {
		t.Errorf("a %+v, b %+v", a, b)
	}
}

func TestBlindNamesWhatTellsNothing(t *testing.T) {
	for name, want := range map[string]string{"/proc": "proc", "/sys": "sysfs", t.TempDir(): ""} {
		f, err := os.Open(name)
		must(t, err)
		if got, err := Blind(int(f.Fd())); got != want || err != nil {
			t.Errorf("%s is %q (%v)", name, got, err)
		}
		f.Close()
	}
}
