package apply

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// victims is how many directories go in a life.
const victims = 200

// What is discarded, and what makes way, by a process that is killed at some time is in its place or in the trash.
func TestAKillLeavesWhatGoesInItsPlaceOrInTheTrash(t *testing.T) {
	if dir := os.Getenv("APPLY_DIR"); dir != "" {
		discardAll(t, dir)
		return
	}
	for life := range 4 {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			dir := t.TempDir()
			tree, err := Open(dir, all())
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{t, tree, dir}
			text := func(k int) string { return fmt.Sprint("content of ", k) }
			for k := range victims {
				p := change.Path(fmt.Sprint("d", k))
				r.put(p, dirAttr())
				r.file(p+"/f", text(k))
				r.put(change.Path(fmt.Sprint("link", k)), linkAttr(text(k)))
			}
			r.must(r.Close())
			cmd := childOf(t, r.dir, nil)
			r.must(cmd.Start())
			// It is killed at another place each time.
			last := r.at(Trashed(day, change.Path(fmt.Sprint("link", 10+40*life))))
			tick := time.NewTicker(100 * time.Microsecond)
			defer tick.Stop()
			for end := time.Now().Add(time.Minute); time.Now().Before(end); <-tick.C {
				if _, err := os.Lstat(last); err == nil {
					break
				}
			}
			r.must(cmd.Process.Kill())
			_ = cmd.Wait() // it was killed
			r = openRig(t, dir, all())
			r.must(r.Recover(t.Context()))
			in := 0
			for k := range victims {
				dir, link := fmt.Sprint("d", k), fmt.Sprint("link", k)
				place, _ := os.ReadFile(filepath.Join(r.dir, dir, "f"))
				trash, _ := os.ReadFile(r.at(Trashed(day, change.Path(dir+"/f"))))
				if string(place) != text(k) && string(trash) != text(k) {
					t.Errorf("%s is %q in its place and %q in the trash", dir, place, trash)
				}
				here, _ := os.Readlink(r.at(change.Path(link)))
				there, _ := os.Readlink(r.at(Trashed(day, change.Path(link))))
				if here != text(k) && there != text(k) {
					t.Errorf("%s is %q in its place and %q in the trash", link, here, there)
				}
				if len(trash) > 0 {
					in++
				}
			}
			r.clean()
			if in == 0 {
				t.Error("nothing is in the trash: this proves little")
			}
			t.Logf("%d of %d had gone", in, victims)
		})
	}
}

// discardAll is the process that is killed.
func discardAll(t *testing.T, dir string) {
	tree, err := Open(dir, all())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, tree, dir}
	for k := range victims {
		d := change.Path(fmt.Sprint("d", k))
		switch k % 3 {
		case 0:
			r.discard(d)
		case 1:
			r.over(d, fileAttr("new"), "new")
		case 2:
			r.over(d, linkAttr("new"), "")
		}
		r.over(change.Path(fmt.Sprint("link", k)), linkAttr("new"), "")
	}
	for {
		_ = unix.Pause() // until it is killed
	}
}
