package apply

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory is renamed while a Sync is about to remove what waits in it: left over, it would take back what was synced.
func TestRenameOfADirectoryDuringASync(t *testing.T) {
	i := newImage(t, "ext4", 64, t.TempDir())
	r := openImage(t, i)
	r.put("d", dirAttr())
	at, other := Move{From: "d", To: "e"}, Move{From: "e", To: "d"}
	for range 100 {
		for _, content := range []string{"old", "new"} {
			r.file(at.From.Join("f"), content)
			r.file(at.From.Join("g"), content)
		}
		var beside sync.WaitGroup
		beside.Go(func() { r.must(r.Sync()) })
		for _, m := range []Move{at, {From: at.To.Join("f"), To: at.To.Join("h")}, {From: at.To.Join("h"), To: at.To.Join("f")}} {
			if err := r.Rename([]Move{m})[0]; err != nil {
				t.Error(err)
			}
		}
		beside.Wait()
		r.clean()
		at, other = other, at
	}
	r.must(r.Close())
}

// A Sync that was not asked for fails: what is to be replaced is not, the old version of what was stays, and the next Sync says so.
func TestASyncBesideThatFails(t *testing.T) {
	i := newImage(t, "ext4", 64, t.TempDir())
	r := openImage(t, i)
	r.put("d", dirAttr())
	for _, content := range []string{"old", "new"} {
		r.file("d/f", content)
		r.file("f", content)
	}
	r.must(r.Sync())
	r.file("d/f", "newer")
	immutable(r, unix.STATX_ATTR_IMMUTABLE)
	r.waiting.bytes = maxWaitingBytes + 1
	if _, err := r.write("f", "newer", fileAttr("newer"), false); KindOf(err) != Forbidden {
		t.Errorf("write: %v", err)
	}
	r.has("f", "new")
	if waits := len(temps(t, r.dir)); waits != 1 {
		t.Errorf("%d wait", waits)
	}
	immutable(r, 0)
	if err := r.Sync(); KindOf(err) != Forbidden {
		t.Errorf("the next Sync: %v", err)
	}
	r.file("f", "newer")
	r.clean()
	r.must(r.Close())
}

// immutable sets or clears the flag of d.
func immutable(r *rig, flag int) {
	d, err := os.Open(r.at("d"))
	r.must(err)
	defer d.Close()
	flags, err := unix.IoctlGetInt(int(d.Fd()), unix.FS_IOC_GETFLAGS)
	r.must(err)
	r.must(unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, flags&^unix.STATX_ATTR_IMMUTABLE|flag))
}
