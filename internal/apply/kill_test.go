package apply

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// kill ends a tree as a kill of its process does.
func (r *rig) kill() {
	r.Helper()
	r.must(unix.Close(r.top.fd))
}

// The process is killed, another one goes on, and then the power is lost: a file whose content was not yet on the disk when its temporary
// name told so does not lack it now.
func TestALossOfPowerAfterAKill(t *testing.T) {
	for what, next := range map[string]func(r *rig){
		"recovered":             func(r *rig) { r.must(r.Recover(t.Context())) },
		"looked at":             func(r *rig) { r.look() },
		"looked at and synced":  func(r *rig) { r.look(); r.must(r.Sync()) },
		"synced and looked at":  func(r *rig) { r.must(r.Sync()); r.look() },
		"replaced":              func(r *rig) { r.all(3) },
		"replaced, then synced": func(r *rig) { r.all(3); r.must(r.Sync()) },
	} {
		t.Run(what, func(t *testing.T) {
			i := newImage(t, "ext4", 64, t.TempDir())
			r := openImage(t, i)
			r.all(1)
			r.must(r.Sync())
			r.all(2)
			r.kill()
			r = openImage(t, i)
			next(r)
			i.commit()
			i.copy()
			r.must(r.Close())
			i.restart()
			r = reopen(t, i)
			r.recovered()
			for k := range files {
				if v := r.version(k); v < 1 || what == "replaced, then synced" && v < 3 {
					t.Errorf("%s has version %d", name(k), v)
				}
			}
			r.clean()
			r.must(r.Close())
		})
	}
}

func (r *rig) look() {
	r.Helper()
	for k := range files {
		if st, err := r.Look(name(k)); err != nil || !st.Exists() {
			r.Errorf("%s: %+v, %v", name(k), st, err)
		}
	}
}

// Whatever is the first that is done in a directory finds what was left over there.
func TestADirectoryIsTheFirstThatIsPut(t *testing.T) {
	dir := t.TempDir()
	dead := &rig{TB: t, dir: dir}
	var err error
	dead.Tree, err = Open(dir, all())
	dead.must(err)
	dead.must(unix.Mkdir(dead.at(change.Path(dead.temp("d"))), 0o700))
	dead.kill()
	r := openRig(t, dir, all())
	done := make(chan error, 1)
	go func() { done <- second(r.Put("d", dirAttr(), Old{})) }()
	select {
	case err := <-done:
		r.must(err)
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
	}
	r.clean()
}

// A directory that made way for a file comes back, and what is in it goes back as well.
func TestADirectoryThatComesBackIsRecovered(t *testing.T) {
	i := newImage(t, "ext4", 64, t.TempDir())
	r := openImage(t, i)
	r.put("d", dirAttr())
	r.file("d/f", "old")
	r.must(r.Sync())
	r.file("d/f", "new")
	r.file("d", "a file now")
	i.commit()
	i.copy()
	r.must(r.Close())
	i.restart()
	r = reopen(t, i)
	r.recovered()
	r.has("d/f", "old")
	r.clean()
	r.must(r.Close())
}

// Directories are renamed while Recover walks: it misses none.
func TestRecoverFollowsRenames(t *testing.T) {
	dir := t.TempDir()
	dead := &rig{TB: t, dir: dir}
	var err error
	dead.Tree, err = Open(dir, all())
	dead.must(err)
	dead.put("a", dirAttr())
	dead.put("b", dirAttr())
	const dirs = 200
	moves := make([]Move, dirs)
	for n := range dirs {
		moves[n] = Move{From: change.Path(fmt.Sprint("a/", n)), To: change.Path(fmt.Sprint("b/", n))}
		dead.put(moves[n].From, dirAttr())
		dead.must(unix.Mkdir(dead.at(moves[n].From.Join(change.Path(dead.temp("x")).Name())), 0o700))
	}
	dead.kill()
	r := openRig(t, dir, all())
	done := make(chan error, 1)
	go func() { done <- r.Recover(t.Context()) }()
	for ended := false; !ended; {
		for n, m := range moves {
			if err := r.Rename([]Move{m})[0]; err != nil {
				t.Error(err)
			}
			moves[n] = Move{From: m.To, To: m.From}
		}
		select {
		case err := <-done:
			r.must(err)
			ended = true
		default:
		}
	}
	r.clean()
}
