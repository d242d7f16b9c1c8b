package apply

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"sersync/internal/change"
)

// A process is killed in the middle: what it left goes, as soon as it no longer lives, and nothing else does.
func TestWhatAKilledProcessLeft(t *testing.T) {
	if dir := os.Getenv("APPLY_DIR"); dir != "" {
		leave(t, dir)
		return
	}
	for _, dir := range []string{t.TempDir(), shm(t)} {
		r := openRig(t, dir, all())
		r.put("d", dirAttr())
		cmd := childOf(t, dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
		out, err := cmd.StdoutPipe()
		r.must(err)
		r.must(cmd.Start())
		for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		}
		// What looks like ours and is not, and a directory with the time that it has to keep.
		r.must(os.WriteFile(r.at("d/.sersync-tmp"), []byte("x"), 0o600))
		r.put("d", dirAttr())

		// Those beside d come and go all the time: it would fail if one of them went.
		before := temps(t, r.at("d"))
		r.must(r.Recover(t.Context()))
		if after := temps(t, r.at("d")); len(after) < 3 || !slices.Equal(before, after) {
			t.Errorf("while it lives: %q of %q", after, before)
		}
		r.must(cmd.Process.Kill())
		said, _ := io.ReadAll(out)
		_ = cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
			t.Errorf("it ended by itself: %v: %s", status, said)
		}
		f, err := r.Create("d/mine", fileAttr("mine"), Old{})
		r.must(err)
		_, err = f.Write([]byte("mine"))
		r.must(err)
		r.put("d", dirAttr())

		r.must(r.Recover(t.Context()))
		if left := temps(t, dir); len(left) != 1 {
			t.Errorf("left: %q", left)
		}
		r.same("d", dirAttr())
		_, err = f.Place()
		r.must(err)
		r.has("d/mine", "mine")
		r.has("d/.sersync-tmp", "x")
		r.has("d/replaced", "new")
		for n := range 100 {
			p := change.Path(fmt.Sprint("many", n))
			if st, err := r.Look(p); err != nil || st.Exists() && st.Size != 4 {
				t.Errorf("%s: %+v, %v", p, st, err)
			}
		}
		r.clean()
	}
}

// leave puts things until it is killed, with some in the middle.
func leave(t *testing.T, dir string) {
	r := openRig(t, dir, all())
	r.file("d/replaced", "old")
	r.file("d/replaced", "new")
	for _, p := range []change.Path{"d/half", "d/replaced"} {
		f, err := r.Create(p, fileAttr("content"), Old{})
		r.must(err)
		_, err = f.Write([]byte("half"))
		r.must(err)
	}
	r.must(os.Mkdir(r.at("d/"+change.Path(r.temp("dir"))), 0o700))
	fmt.Println("ready")
	for n := 0; ; n++ {
		r.file(change.Path(fmt.Sprint("many", n%100)), "many")
	}
}

// A tree below, or above, that another has open is left alone.
func TestRecoverLeavesOtherTreesAlone(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	below := openRig(t, r.at("d"), all())
	theirs, err := below.Create("f", fileAttr("x"), Old{})
	r.must(err)
	ours, err := r.Create("f", fileAttr("x"), Old{})
	r.must(err)
	r.must(r.Recover(t.Context()))
	r.must(below.Recover(t.Context()))
	for _, f := range []*File{theirs, ours} {
		_, err := f.Write([]byte("x"))
		r.must(err)
		_, err = f.Place()
		r.must(err)
	}
	r.must(below.Sync())
	r.clean()
}

// Recover goes back only to what is from before the machine was started, and only where nothing came since.
func TestRecoverDoesNotGoBackBehindWhatCameSince(t *testing.T) {
	r := newRig(t, all())
	other := openRig(t, r.dir, all())
	for _, p := range []change.Path{"kept", "removed", "written"} {
		r.file(p, "old")
	}
	r.must(r.Sync())
	for _, p := range []change.Path{"kept", "removed", "written"} {
		r.file(p, "new") // old waits
	}
	waits := r.waiting.names
	r.waiting.names, r.waiting.count = nil, 0 // as after a kill
	r.must(other.Tree.Sync())
	r.token = "other"
	boot := later(t, r)
	_, err := r.Remove("removed")
	r.must(err)
	r.file("written", "since")
	r.recovery.boot = boot
	found := make(map[string][]string)
	for _, tmp := range waits[change.Root] {
		h, _, _ := parse(tmp)
		found[h] = append(found[h], tmp)
	}
	r.must(r.recoverNames(r.top, found))
	r.has("kept", "old")
	r.has("written", "since")
	r.lacks("removed")
	if n := r.recovery.restored; n != 1 {
		t.Errorf("%d went back", n)
	}
	r.clean()
}

// later waits until the clock of the file system has moved on, and returns a time in between.
func later(t *testing.T, r *rig) int64 {
	first := time.Now().UnixNano()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		r.must(os.WriteFile(r.at("clock"), nil, 0o600))
		st, err := r.Look("clock")
		r.must(err)
		r.must(os.Remove(r.at("clock")))
		if st.Ctime > first {
			return st.Ctime
		}
	}
	t.Fatal("the clock of the file system stands")
	return 0
}
