package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// reopen opens the tree as if the machine had been started just now.
func reopen(t testing.TB, i *image) *rig {
	t.Helper()
	r := openImage(t, i)
	r.recovery.boot = time.Now().UnixNano()
	return r
}

// recovered recovers all, and says in how many files it went back, and how many names it removed.
func (r *rig) recovered() (restored, removed int) {
	r.Helper()
	r.must(r.recoverAll(context.Background()))
	return r.recovery.restored, r.recovery.removed
}

const files = 20

func versionText(k, v int) string {
	return string(bytes.Repeat(fmt.Appendf(nil, "%d.%d ", k, v), 2000))
}

// version is which one a file has: 0 when it is absent, -1 when it has content that never was.
func (r *rig) version(k int) int {
	got, err := os.ReadFile(r.at(name(k)))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	file, v := -1, -1
	if _, err := fmt.Sscanf(string(got), "%d.%d ", &file, &v); err != nil || file != k || string(got) != versionText(k, v) {
		return -1
	}
	return v
}

func name(k int) change.Path { return change.Path(fmt.Sprintf("f%d", k)) }

// The power is lost while new versions, some of files that were not there, are not yet on the disk: each file is afterwards what it was
// when everything was synced last, or later; never empty, and never a mixture.
func TestAfterALossOfPowerAFileIsOldOrNew(t *testing.T) {
	for _, kind := range kinds() {
		for _, c := range []struct {
			name string
			// What was acked as durable: the version of the files that were there at first, and of the others.
			old, fresh int
			do         func(r *rig, i *image)
		}{
			{"replaced", 1, 0, func(r *rig, _ *image) { r.all(2) }},
			{"replaced twice", 1, 0, func(r *rig, _ *image) { r.all(2); r.all(3) }},
			{"synced and replaced", 2, 2, func(r *rig, _ *image) { r.all(2); r.must(r.Sync()); r.all(3) }},
			{"written out, not synced", 1, 0, func(r *rig, _ *image) { r.all(2); r.must(unix.Syncfs(r.top.fd)) }},
			{"synced", 2, 2, func(r *rig, _ *image) { r.all(2); r.must(r.Sync()) }},
		} {
			t.Run(kind+" "+c.name, func(t *testing.T) {
				i := newImage(t, kind, 320, t.TempDir())
				r := openImage(t, i)
				if !r.lasting {
					t.Fatal("what is replaced does not wait")
				}
				for k := range files / 2 {
					r.file(name(k), versionText(k, 1))
				}
				r.must(r.Sync())
				c.do(r, i)
				if c.name != "synced" {
					i.commit()
				}
				i.copy()
				r.must(r.Close())
				i.restart()

				r = reopen(t, i)
				broken := 0
				for k := range files {
					if r.version(k) < 0 {
						broken++
					}
				}
				if kind != "btrfs" && c.name == "replaced" && broken == 0 {
					t.Error("nothing lost its content: this proves nothing")
				}
				// What a look finds is not taken back.
				found, err := r.Look(name(0))
				r.must(err)
				restored, removed := r.recovered()
				if later, err := r.Look(name(0)); err != nil || later != found {
					t.Errorf("%s was %+v, and is %+v, %v", name(0), found, later, err)
				}
				t.Logf("%d without content, %d went back, %d names removed", broken, restored, removed)
				for k := range files {
					synced := c.old
					if k >= files/2 {
						synced = c.fresh
					}
					if v := r.version(k); v < synced {
						t.Errorf("%s has version %d, and %d was synced", name(k), v, synced)
					}
				}
				for _, left := range temps(t, i.dir) {
					t.Errorf("left over: %s", left)
				}
				r.must(r.Close())
			})
		}
	}
}

// A file that waits is renamed, and the power is lost.
func TestAfterALossOfPowerARenamedFileIsOldOrNew(t *testing.T) {
	i := newImage(t, "ext4", 64, t.TempDir())
	r := openImage(t, i)
	r.put("d", dirAttr())
	r.file("d/old", versionText(0, 1))
	r.must(r.Sync())
	r.file("d/old", versionText(0, 2))
	r.file("new", versionText(1, 1))
	for _, m := range []Move{{From: "d/old", To: "f0"}, {From: "new", To: "d/none/x"}, {From: "new", To: "d/new"}, {From: "d/new", To: "f1"}} {
		if err := r.Rename([]Move{m})[0]; (err != nil) != (m.To == "d/none/x") {
			t.Error(m, err)
		}
	}
	if n := len(temps(t, r.dir)); n != 2 {
		t.Errorf("%d wait", n)
	}
	i.commit()
	i.copy()
	r.must(r.Sync())
	if left := temps(t, r.dir); len(left) > 0 {
		t.Errorf("left over: %s", left)
	}
	r.must(r.Close())
	i.restart()
	other := openImage(t, i) // one more does not keep us from it
	r = reopen(t, i)
	r.recovered()
	r.must(other.Close())
	if old, fresh := r.version(0), r.version(1); old != 1 || fresh != 0 {
		t.Errorf("versions are %d and %d", old, fresh)
	}
	r.clean()
	r.must(r.Close())
}

// A file replaced a directory in which others wait, and the power is lost: all of the directory is as it was.
func TestAfterALossOfPowerADirectoryThatIsBackIsRecovered(t *testing.T) {
	i := newImage(t, "ext4", 64, t.TempDir())
	r := openImage(t, i)
	r.put("d", dirAttr())
	r.put("d/sub", dirAttr())
	r.file("d/sub/f", "old")
	r.must(r.Sync())
	r.file("d/sub/f", "new")
	r.file("d/sub/fresh", "fresh")
	r.file("d", "a file")
	i.commit()
	i.copy()
	r.must(r.Close())
	i.restart()
	r = reopen(t, i)
	r.recovered()
	r.has("d/sub/f", "old")
	r.lacks("d/sub/fresh")
	for _, left := range temps(t, i.dir) {
		t.Errorf("left over: %s", left)
	}
	r.must(r.Close())
}

// What was a file for a moment is a directory, and the power is lost: nothing keeps the rest from being recovered.
func TestAfterALossOfPowerADirectoryThatWasANewFileIsNoObstacle(t *testing.T) {
	i := newImage(t, "ext4", 64, t.TempDir())
	r := openImage(t, i)
	r.file("d", "first")
	r.file("d", "second")
	r.put("d", dirAttr())
	i.commit()
	i.copy()
	r.must(r.Close())
	i.restart()
	r = reopen(t, i)
	r.recovered()
	r.same("d", dirAttr())
	for _, left := range temps(t, i.dir) {
		t.Errorf("left over: %s", left)
	}
	r.must(r.Close())
}

// all gives every file a version.
func (r *rig) all(v int) {
	r.Helper()
	for k := range files {
		r.file(name(k), versionText(k, v))
	}
}
