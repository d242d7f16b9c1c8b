package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

const day = "2021-02-03"

// onDiskAndInMemory runs a test in directories on a file system that a loss of power concerns, and on one that it does not.
func onDiskAndInMemory(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Run("disk", func(t *testing.T) { test(t, newRig(t, all())) })
	t.Run("memory", func(t *testing.T) {
		dir, err := os.MkdirTemp("/dev/shm", "apply")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		test(t, openRig(t, dir, all()))
	})
}

func (r *rig) discard(p change.Path) {
	r.Helper()
	if done, err := r.Discard(p, day); err != nil || !done.Changed {
		r.Fatalf("discard %s: %+v, %v", p, done, err)
	}
	r.lacks(p)
}

// over puts something in the place of something else, which goes to the trash.
func (r *rig) over(p change.Path, a Attr, content string) {
	r.Helper()
	if a.kind() != unix.S_IFREG {
		if _, err := r.Put(p, a, Old{Day: day}); err != nil {
			r.Fatal(err)
		}
		return
	}
	f, err := r.Create(p, a, Old{Day: day})
	r.must(err)
	_, err = f.Write([]byte(content))
	r.must(err)
	_, err = f.Place()
	r.must(err)
}

func (r *rig) inode(p change.Path) uint64 {
	r.Helper()
	var st unix.Stat_t
	r.must(unix.Lstat(r.at(p), &st))
	return st.Ino
}

func (r *rig) leads(p change.Path, to string) {
	r.Helper()
	if got, err := os.Readlink(r.at(p)); err != nil || got != to {
		r.Errorf("%s leads to %q, %v; want %q", p, got, err, to)
	}
}

func TestWhatIsDiscardedIsInTheTrash(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, r *rig) {
		long := change.Path(strings.Repeat("n", 255))
		r.put("d", Attr{Mode: unix.S_IFDIR | 0o2710, UID: 12, GID: 34, Mtime: someTime})
		r.put("d/"+long, dirAttr())
		r.put("d/sub", dirAttr())
		r.put("empty", dirAttr())
		for _, p := range []change.Path{"d/" + long + "/" + long, "d/sub/f", "d/f", "f"} {
			r.file(p, string(p))
		}
		r.put("link", linkAttr("nowhere"))
		r.put(change.Root, dirAttr())
		moved := r.inode("d/sub")
		for _, p := range []change.Path{"d/sub", "d/f", "d/" + long + "/" + long} {
			r.discard(p)
		}
		r.same(change.Root, dirAttr()) // though the trash was made in it
		for _, p := range []change.Path{"link", "f", "empty", "d"} {
			r.discard(p)
		}
		for _, p := range []change.Path{"d/" + long + "/" + long, "d/sub/f", "d/f", "f"} {
			r.has(Trashed(day, p), string(p))
		}
		r.leads(Trashed(day, "link"), "nowhere")
		r.lacks(Trashed(day, "empty"))
		if is := r.inode(Trashed(day, "d/sub")); is != moved {
			t.Errorf("the directory is %d in the trash, and was %d: it was not renamed", is, moved)
		}
		above, err := r.Describe(Trashed(day, "d"))
		if err != nil || above.Mode != unix.S_IFDIR|0o2710 || above.UID != 12 || above.GID != 34 {
			t.Errorf("what is above in the trash: %+v, %v", above, err)
		}
		if done, err := r.Discard("never", day); err != nil || done.Changed {
			t.Errorf("what is not there: %+v, %v", done, err)
		}
		r.clean()
	})
}

func TestDiscardExactLeavesADirectoryThatIsNotEmpty(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, r *rig) {
		r.put("d", dirAttr())
		r.file("d/f", "kept")
		r.file("d/g", "goes")
		for _, p := range []change.Path{"d/g", "d"} {
			if _, err := r.DiscardExact(p, day); err != nil {
				t.Error(err)
			}
		}
		r.has("d/f", "kept")
		r.lacks("d/g")
		r.has(Trashed(day, "d/g"), "goes")
		r.lacks(Trashed(day, "d/f"))
		r.clean()
	})
}

func TestNewestOfADayIsInTheTrash(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, r *rig) {
		fill := func(version string, names ...change.Path) {
			for _, p := range names {
				for above := range len(p) {
					if p[above] == '/' {
						r.put(p[:above], dirAttr())
					}
				}
				r.file(p, version)
			}
		}
		fill("1", "d/first", "d/both", "d/sub/first", "file-then-dir", "dir-then-file/f", "over/first", "over/both")
		for _, p := range []change.Path{"d", "file-then-dir", "dir-then-file", "over"} {
			r.discard(p)
		}
		fill("2", "d/second", "d/both", "d/sub/second", "file-then-dir/f", "dir-then-file", "over/second", "over/both")
		for _, p := range []change.Path{"d", "file-then-dir", "dir-then-file"} {
			r.discard(p)
		}
		r.over("over", fileAttr("new"), "new")
		for p, version := range map[change.Path]string{
			"d/first": "1", "d/both": "2", "d/second": "2", "d/sub/first": "1", "d/sub/second": "2", "file-then-dir/f": "2", "dir-then-file": "2",
			"over/first": "1", "over/both": "2", "over/second": "2",
		} {
			r.has(Trashed(day, p), version)
		}
		r.has("over", "new")
		r.clean()
	})
}

func TestWhatMakesWayIsInTheTrash(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, r *rig) {
		for _, p := range []change.Path{"dir-to-file", "dir-to-link", "empty-to-file"} {
			r.put(p, dirAttr())
		}
		for _, p := range []change.Path{"dir-to-file/f", "dir-to-link/f", "file-to-dir", "file-to-link", "over"} {
			r.file(p, "old")
		}
		for _, p := range []change.Path{"link-to-link", "link-to-file", "link-to-dir"} {
			r.put(p, linkAttr("old"))
		}
		for range 2 { // the second time there is nothing that has to go
			for _, p := range []change.Path{"dir-to-file", "link-to-file", "over", "empty-to-file"} {
				r.over(p, fileAttr("new"), "new")
			}
			for _, p := range []change.Path{"dir-to-link", "file-to-link", "link-to-link"} {
				r.over(p, linkAttr("new"), "")
			}
			for _, p := range []change.Path{"file-to-dir", "link-to-dir"} {
				r.over(p, dirAttr(), "")
			}
			for _, p := range []change.Path{"dir-to-file/f", "dir-to-link/f", "file-to-dir", "file-to-link"} {
				r.has(Trashed(day, p), "old")
			}
			for _, p := range []change.Path{"link-to-link", "link-to-file", "link-to-dir"} {
				r.leads(Trashed(day, p), "old")
			}
			for _, p := range []change.Path{"dir-to-file", "link-to-file", "over", "empty-to-file"} {
				r.has(p, "new")
			}
			for _, p := range []change.Path{"dir-to-link", "file-to-link", "link-to-link"} {
				r.leads(p, "new")
			}
			r.lacks(Trashed(day, "over"))
			r.lacks(Trashed(day, "empty-to-file"))
			r.clean()
		}
		var st unix.Stat_t
		r.must(unix.Lstat(r.at(Trashed(day, "file-to-link")), &st))
		if st.Nlink != 1 {
			t.Errorf("what is in the trash has %d names", st.Nlink)
		}
		r.put("kept", dirAttr())
		r.file("kept/f", "kept")
		if _, err := r.Put("kept", linkAttr("x"), Old{Keep: true, Day: day}); !errors.Is(err, ErrInTheWay) {
			t.Errorf("a directory that is to stay: %v", err)
		}
		r.has("kept/f", "kept")
	})
}

// Who looks while a directory makes way for a file, or a link for another one, finds one of both.
func TestThereIsSomethingWhileTheOtherGoesToTheTrash(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, r *rig) {
		r.put("link", linkAttr("0"))
		r.file("f", "x")
		stop := make(chan struct{})
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, p := range []change.Path{"link", "f"} {
					var st unix.Stat_t
					if err := unix.Lstat(r.at(p), &st); err != nil {
						t.Errorf("%s: %v", p, err)
						return
					}
				}
			}
		})
		for n := range 100 {
			of := fmt.Sprint("2021-", n)
			second := func(_ Done, err error) error { return err }
			r.must(errors.Join(
				second(r.Put("link", linkAttr(fmt.Sprint(n+1)), Old{Day: of})),
				second(r.Put("f", dirAttr(), Old{Day: of})),
			))
			r.file("f/g", "y")
			f, err := r.Create("f", fileAttr("x"), Old{Day: fmt.Sprint("2022-", n)})
			r.must(err)
			_, err = f.Write([]byte("x"))
			r.must(err)
			_, err = f.Place()
			r.must(err)
		}
		close(stop)
		reading.Wait()
		r.clean()
	})
}

// What waits for the next Sync follows to the trash, and goes there.
func TestWhatWaitsFollowsToTheTrash(t *testing.T) {
	r := newRig(t, all())
	for _, p := range []change.Path{"d", "d/sub", "made"} {
		r.put(p, dirAttr())
	}
	for _, p := range []change.Path{"d/sub/f", "d/f", "f", "g", "made/way"} {
		r.file(p, "1")
		r.file(p, "2")
	}
	r.discard("f")
	r.discard("d")
	r.over("g", linkAttr("x"), "")
	r.over("made", fileAttr("new"), "new")
	r.must(r.Sync())
	for _, p := range []change.Path{"d/sub/f", "d/f", "f", "g", "made/way"} {
		r.has(Trashed(day, p), "2")
	}
	r.clean()
}

func TestTrashThatCannotBeUsedLosesNothing(t *testing.T) {
	outside := t.TempDir()
	for name, prepare := range map[string]func(r *rig){
		"a file":           func(r *rig) { r.must(os.WriteFile(r.at(".sersync-trash"), nil, 0o600)) },
		"a link":           func(r *rig) { r.must(os.Symlink(outside, r.at(".sersync-trash"))) },
		"a day of a file":  func(r *rig) { r.put(".sersync-trash", dirAttr()); r.file(Trashed(day, ""), "x") },
		"a day of a link":  func(r *rig) { r.put(".sersync-trash", dirAttr()); r.put(Trashed(day, ""), linkAttr(outside)) },
		"a link to itself": func(r *rig) { r.must(os.Symlink(".sersync-trash", r.at(".sersync-trash"))) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, all())
			prepare(r)
			r.put("d", dirAttr())
			r.file("d/f", "kept")
			r.put("link", linkAttr("kept"))
			for p, do := range map[change.Path]func() error{
				"d":    func() error { return second(r.Discard("d", day)) },
				"d/f":  func() error { return second(r.DiscardExact("d/f", day)) },
				"link": func() error { return second(r.Put("link", linkAttr("new"), Old{Day: day})) },
			} {
				if err := do(); KindOf(err) != NoTrash {
					t.Errorf("%s: %v", p, err)
				}
			}
			r.has("d/f", "kept")
			r.leads("link", "kept")
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("outside is %v", left)
			}
		})
	}
}

// Somebody empties the trash by hand, while it is used.
func TestATrashThatIsRemovedMeanwhileIsMadeAgain(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	for n := range 20 {
		p := change.Path(fmt.Sprint("d/f", n))
		r.file(p, "x")
		r.put("link", linkAttr(fmt.Sprint(n)))
		r.discard(p)
		r.has(Trashed(day, p), "x")
		r.over("link", linkAttr("new"), "")
		r.leads(Trashed(day, "link"), fmt.Sprint(n))
		r.must(os.RemoveAll(r.at([]change.Path{".sersync-trash", Trashed(day, ""), Trashed(day, "d")}[n%3])))
	}
	r.clean()
}

// A link in the trash, in the place of a directory above, leads nowhere either: it makes way.
func TestALinkInTheTrashLeadsNowhere(t *testing.T) {
	r := newRig(t, all())
	outside := t.TempDir()
	r.put(".sersync-trash", dirAttr())
	r.put(Trashed(day, ""), dirAttr())
	r.put(Trashed(day, "d"), linkAttr(outside))
	r.put("d", dirAttr())
	r.file("d/f", "x")
	r.discard("d/f")
	r.has(Trashed(day, "d/f"), "x")
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside is %v", left)
	}
}

// Nothing is copied: what is on another file system than the trash stays.
func TestWhatIsOnAnotherFileSystemIsNotDiscarded(t *testing.T) {
	r := newRig(t, all())
	r.put("mnt", dirAttr())
	r.must(unix.Mount("tmpfs", r.at("mnt"), "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { _ = unix.Unmount(r.at("mnt"), unix.MNT_DETACH) })
	r.put("mnt/d", dirAttr())
	r.file("mnt/d/f", "kept")
	r.file("mnt/f", "kept")
	for p, do := range map[change.Path]func() error{
		"mnt/d": func() error { return second(r.Discard("mnt/d", day)) },
		"mnt":   func() error { return second(r.Discard("mnt", day)) },
		"mnt/f": func() error { return second(r.Put("mnt/f", linkAttr("x"), Old{Day: day})) },
	} {
		if kind := KindOf(do()); kind != Never && kind != InTheWay {
			t.Errorf("%s: kind %d", p, kind)
		}
	}
	r.has("mnt/d/f", "kept")
	r.has("mnt/f", "kept")
}

// A directory of a lower layer cannot be renamed.
func TestDirectoryOfAnOverlayIsDiscarded(t *testing.T) {
	base := t.TempDir()
	r := &rig{TB: t}
	r.must(unix.Mount("tmpfs", base, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { _ = unix.Unmount(base, unix.MNT_DETACH) })
	for _, name := range []string{"lower/d/sub", "upper", "work", "all"} {
		r.must(os.MkdirAll(filepath.Join(base, name), 0o755))
	}
	r.must(os.WriteFile(filepath.Join(base, "lower/d/sub/f"), []byte("x"), 0o644))
	dir := filepath.Join(base, "all")
	r.must(unix.Mount("overlay", dir, "overlay", 0, "lowerdir="+base+"/lower,upperdir="+base+"/upper,workdir="+base+"/work"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r = openRig(t, dir, all())
	r.discard("d")
	r.has(Trashed(day, "d/sub/f"), "x")
}

func TestExpireRemovesADayAndNothingElse(t *testing.T) {
	r := newRig(t, all())
	outside := t.TempDir()
	r.must(os.WriteFile(filepath.Join(outside, "f"), nil, 0o600))
	r.put("d", dirAttr())
	r.file("d/f", "x")
	r.file("g", "x")
	r.discard("d")
	if _, err := r.Discard("g", "2021-02-04"); err != nil {
		t.Fatal(err)
	}
	r.must(os.Symlink(outside, r.at(Trashed("2021-02-05", ""))))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Expire(cancelled, day); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	for _, of := range []string{day, day, "2021-02-05", "2021-02-06"} {
		r.must(r.Expire(t.Context(), of))
	}
	r.lacks(Trashed(day, ""))
	r.has(Trashed("2021-02-04", "g"), "x")
	if _, err := os.Stat(filepath.Join(outside, "f")); err != nil {
		t.Error(err)
	}
	r.clean()
}

// The power is lost at different times after something was discarded or had to make way: it is in its place or in the trash, whole.
func TestAfterALossOfPowerWhatWentIsInItsPlaceOrInTheTrash(t *testing.T) {
	for _, kind := range kinds() {
		for what, cut := range map[string]func(r *rig, i *image){
			"nothing written": func(*rig, *image) {},
			"journal written": func(_ *rig, i *image) { i.commit() },
			"synced":          func(r *rig, _ *image) { r.must(r.Sync()) },
		} {
			t.Run(kind+" "+what, func(t *testing.T) {
				i := newImage(t, kind, 320, t.TempDir())
				r := openImage(t, i)
				paths := []change.Path{"file", "changed", "dir/f", "dir/changed", "to-file/f", "to-file/changed", "to-link"}
				for _, p := range []change.Path{"dir", "to-file"} {
					r.put(p, dirAttr())
				}
				for k, p := range paths {
					r.file(p, versionText(k, 1))
				}
				r.must(r.Sync())
				for _, k := range []int{1, 3, 5} {
					r.file(paths[k], versionText(k, 2))
				}
				for _, p := range []change.Path{"file", "changed", "dir"} {
					r.discard(p)
				}
				r.over("to-file", fileAttr("new"), "new")
				r.over("to-link", linkAttr("new"), "")
				cut(r, i)
				i.copy()
				r.must(r.Close())
				i.restart()
				r = reopen(t, i)
				r.recovered()
				for k, p := range paths {
					found := ""
					for _, at := range []change.Path{p, Trashed(day, p)} {
						if got, err := os.ReadFile(r.at(at)); err == nil {
							found = string(got)
						}
					}
					if found != versionText(k, 1) && found != versionText(k, 2) {
						t.Errorf("%s is neither in its place nor in the trash as it was: %.30q", p, found)
					}
				}
				if got, err := os.ReadFile(r.at("to-file")); err == nil && string(got) != "new" {
					t.Errorf("the new file holds %q", got)
				}
				r.clean()
				r.must(r.Close())
			})
		}
	}
}
