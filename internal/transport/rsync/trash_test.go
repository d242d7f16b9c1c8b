package rsync

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/transport/transporttest"
)

// trashKinds are the targets that a trash must work on.
func trashKinds(t *testing.T, test func(t *testing.T, r *rig)) { eachKind(t, true, test) }

// eachKind runs a test with each kind of target.
func eachKind(t *testing.T, trash bool, test func(t *testing.T, r *rig)) {
	shell := startSSHD(t)
	for name, kind := range map[string]struct {
		lines  []string
		change func(o *Options, dir string)
	}{
		"chroot":         {lines: []string{"use chroot = yes"}},
		"no chroot":      {lines: []string{"use chroot = no"}},
		"below a module": {change: func(o *Options, _ string) { o.Dir = "sub/dir" }},
		"ssh":            {change: func(o *Options, dir string) { *o = shell.options(dir) }},
		"local":          {change: func(o *Options, dir string) { *o = Options{Dir: dir} }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Dir: dir, Lines: kind.lines}}}, func(o *Options) {
				if kind.change != nil {
					kind.change(o, dir)
				}
				o.Trash = trash
			})
			if r.tr.o.daemon() {
				r.dst = filepath.Join(dir, r.tr.o.Dir)
			}
			if err := os.MkdirAll(r.dst, 0o755); err != nil {
				t.Fatal(err)
			}
			test(t, r)
		})
	}
}

// today is the trash of today, below the target.
func today() string { return filter.TrashName + "/" + transport.Day(time.Now()) + "/" }

func TestWhatGoesIsInTheTrash(t *testing.T) {
	trashKinds(t, func(t *testing.T, r *rig) {
		r.write(r.dst, "d/sub/f", "in a directory")
		r.write(r.dst, "f", "removed")
		r.write(r.dst, "exact/listed", "by name")
		r.write(r.dst, "exact/kept", "x")
		r.write(r.dst, "dir-to-file/f", "1")
		r.write(r.dst, "dir-to-link/f", "2")
		r.write(r.dst, "file-to-dir", "3")
		r.write(r.dst, "file-to-link", "4")
		r.write(r.dst, "over", "overwritten")
		r.must(os.Symlink("nowhere", filepath.Join(r.dst, "link")))
		r.must(os.Chmod(filepath.Join(r.dst, "d"), 0o700))
		r.mustApply(transport.Remove, "d", "f", "link", "never-there")
		r.mustApply(transport.RemoveExact, "exact/listed", "exact")

		r.write(r.src, "dir-to-file", "new")
		r.must(os.Symlink("a", filepath.Join(r.src, "dir-to-link")))
		r.must(os.Mkdir(filepath.Join(r.src, "file-to-dir"), 0o755))
		r.must(os.Symlink("b", filepath.Join(r.src, "file-to-link")))
		r.write(r.src, "over", "new")
		r.mustApply(transport.Update, "dir-to-file", "dir-to-link", "file-to-dir", "file-to-link", "over")

		for name, content := range map[string]string{
			"d/sub/f": "in a directory", "f": "removed", "exact/listed": "by name",
			"dir-to-file/f": "1", "dir-to-link/f": "2", "file-to-dir": "3", "file-to-link": "4",
		} {
			r.dstHas(today()+name, content)
		}
		if to, err := os.Readlink(filepath.Join(r.dst, today()+"link")); to != "nowhere" {
			t.Errorf("the link in the trash leads to %q, %v", to, err)
		}
		if info, err := os.Stat(filepath.Join(r.dst, today()+"d")); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the directory in the trash: %v, %v", info.Mode(), err)
		}
		for _, name := range []string{"d", "f", "link", "exact/listed", today() + "over"} {
			r.dstLacks(name)
		}
		r.dstHas("dir-to-file", "new")
		r.dstHas("over", "new")
		r.dstHas("exact/kept", "x")
	})
}

func TestLargeFileInTheWayOfADirectoryAndItsPartsInTheTrash(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	r.write(r.dst, "large/f", "old")
	r.write(r.dst, ".sersync-partial/other", "part")
	r.write(r.src, "large", "new")
	r.mustApply(transport.UpdateLarge, "large")
	r.mustApply(transport.RemoveExact, ".sersync-partial/other", ".sersync-partial")
	r.dstHas("large", "new")
	r.dstHas(today()+"large/f", "old")
	r.dstLacks(".sersync-partial")
	r.dstLacks(today() + ".sersync-partial")
}

// Where removals are held or switched off, a directory makes no way, trash or not.
func TestTrashIsNoReasonToMakeWay(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	r.write(r.dst, "d/f", "kept")
	r.write(r.src, "d", "new")
	report, err := r.tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: r.root, Paths: []change.Path{"d"}, Keep: true})
	if err != nil || len(report.Failed) != 1 {
		t.Errorf("failed %v, %v", report.Failed, err)
	}
	r.dstHas("d/f", "kept")
	r.dstLacks(today())
}

func TestNewestOfADayIsInTheTrash(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	r.write(r.dst, "d/first", "1")
	r.write(r.dst, "d/both", "1")
	r.write(r.dst, "file-then-dir", "1")
	r.write(r.dst, "dir-then-file/f", "1")
	r.mustApply(transport.Remove, "d", "file-then-dir", "dir-then-file")
	r.write(r.dst, "d/second", "2")
	r.write(r.dst, "d/both", "2")
	r.write(r.dst, "file-then-dir/f", "2")
	r.write(r.dst, "dir-then-file", "2")
	r.mustApply(transport.Remove, "d", "file-then-dir", "dir-then-file")
	for name, content := range map[string]string{
		"d/first": "1", "d/both": "2", "d/second": "2", "file-then-dir/f": "2", "dir-then-file": "2",
	} {
		r.dstHas(today()+name, content)
	}
}

func TestTargetThatTakesNoTrashLosesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		lines   []string
		prepare func(r *rig)
	}{
		"refused":            {lines: []string{"refuse options = backup-dir"}},
		"refused b":          {lines: []string{"refuse options = backup"}},
		"a file":             {prepare: func(r *rig) { r.write(r.dst, filter.TrashName, "x") }},
		"a file for the day": {prepare: func(r *rig) { r.write(r.dst, strings.TrimSuffix(today(), "/"), "x") }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Lines: test.lines}}}, func(o *Options) { o.Trash = true })
			if test.prepare != nil {
				test.prepare(r)
			}
			facts, err := r.tr.Check(t.Context())
			if err != nil || !strings.Contains(strings.Join(facts.Limits, "\n"), "backup-dir") {
				t.Errorf("check: %q, %v", facts.Limits, err)
			}
			r.write(r.dst, "d/f", "kept")
			r.write(r.dst, "e/f", "kept")
			_, err = r.apply(transport.Remove, "d")
			if e := state(t, err, transport.RemovalsRefused); !strings.Contains(e.Hint, "backup-dir") {
				t.Errorf("hint %q", e.Hint)
			}
			r.dstHas("d/f", "kept")

			r.write(r.src, "e", "a file now")
			r.write(r.src, "new/f", "new")
			r.write(r.src, "g", "new")
			report, err := r.apply(transport.Update, "e", "new", "new/f", "g")
			if got := sorted(pathsOf(report.Failed)); err != nil || !slices.Equal(got, []change.Path{"e", "new"}) {
				t.Errorf("failed %v, %v", report.Failed, err)
			}
			r.dstHas("e/f", "kept")
			r.dstHas("new/f", "new")
			r.dstHas("g", "new")
		})
	}
}

func TestTrashThatCannotBeWrittenFailsItsPathsAndNoOthers(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{Global: []string{"uid = nobody", "gid = nogroup"}}, func(o *Options) { o.Trash = true })
	for _, name := range []string{"d/f", "f", "ok/f"} {
		r.write(r.dst, name, "kept")
	}
	r.write(r.dst, today()+"d/other", "x")
	for _, name := range []string{"", "d", "ok", today()} {
		r.must(os.Chmod(filepath.Join(r.dst, name), 0o777))
	}
	report, err := r.apply(transport.Remove, "d", "ok", "f")
	if got := pathsOf(report.Failed); err != nil || !slices.Equal(got, []change.Path{"d"}) {
		t.Errorf("failed %v, %v", report.Failed, err)
	}
	if len(report.Limits) > 0 {
		t.Errorf("attributes in the trash are nobody's business: %v", report.Limits)
	}
	r.dstHas("d/f", "kept")
	r.dstHas(today()+"ok/f", "kept")
	r.dstLacks("f")

	r.write(r.dst, "d/to-dir", "kept")
	r.write(r.dst, "d/to-link", "kept")
	r.write(r.dst, "d/to-file/f", "kept")
	r.must(os.Chmod(filepath.Join(r.dst, "d/to-file"), 0o777))
	r.write(r.src, "d/to-dir/f", "new")
	r.must(os.Symlink("a", filepath.Join(r.src, "d/to-link")))
	r.write(r.src, "d/to-file", "new")
	r.write(r.src, "d/g", "new")
	report, err = r.apply(transport.Update, "d/to-dir", "d/to-link", "d/to-file", "d/g")
	if got, want := sorted(pathsOf(report.Failed)), []change.Path{"d/to-dir", "d/to-file", "d/to-link"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("failed %v, %v", report.Failed, err)
	}
	for _, name := range []string{"d/to-dir", "d/to-link", "d/to-file/f"} {
		r.dstHas(name, "kept")
	}
	r.dstHas("d/g", "new")
}

func TestSweepDoesNotSeeTheTrash(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	r.write(r.dst, today()+"d/f", "x")
	r.write(r.dst, "extra", "x")
	var found []change.Path
	err := r.tr.Sweep(t.Context(), transport.Sweep{Root: r.root, Under: []change.Path{change.Root}, Extras: true}, func(d transport.Difference) error {
		if d.Extra {
			found = append(found, d.Path)
		}
		return nil
	})
	if want := []change.Path{"extra"}; err != nil || !slices.Equal(found, want) {
		t.Errorf("found %v, %v, want %v", found, err, want)
	}
}

func TestExpireRemovesOldDaysAndNothingElse(t *testing.T) {
	trashKinds(t, func(t *testing.T, r *rig) {
		kept := []string{
			"2020-01-01/f", filter.TrashName + "/2020-01-05/f", filter.TrashName + "/2020-01-06/f", filter.TrashName + "/2019-1-1/f",
			filter.TrashName + "/2019-13-40/f", filter.TrashName + "/2019-01-01.old/f", filter.TrashName + "/notes/2019-01-01/f",
			filter.TrashName + "/2019-03-03", "f",
		}
		for _, name := range kept {
			r.write(r.dst, name, "kept")
		}
		r.write(r.dst, filter.TrashName+"/2020-01-04/d/e/f", "old")
		r.write(r.dst, filter.TrashName+"/2019-12-31/f", "old")
		r.must(os.Symlink("../2020-01-01", filepath.Join(r.dst, filter.TrashName, "2019-02-02")))
		want := []string{"2019-12-31", "2020-01-04"}
		for range 2 {
			days, err := r.tr.Expire(t.Context(), time.Date(2020, 1, 5, 12, 0, 0, 0, time.Local))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(days, want) {
				r.Errorf("expired %q, want %q", days, want)
			}
			want = nil
		}
		for _, name := range kept {
			r.dstHas(name, "kept")
		}
		r.dstLacks(filter.TrashName + "/2020-01-04")
		r.dstLacks(filter.TrashName + "/2019-12-31")
	})
}

// The days are found without a look at what is in them.
func TestDaysAreFoundWithoutReadingThem(t *testing.T) {
	trashKinds(t, func(t *testing.T, r *rig) {
		r.write(r.dst, filter.TrashName+"/2021-02-03/d/sub/f", "x")
		r.write(r.dst, "beside/f", "x")
		r.must(r.tr.inEmpty(t.Context(), func(s *spawner) error {
			return r.tr.entries(t.Context(), s, []change.Path{trashRoot}, func(it item) error {
				if it.path != trashRoot && it.path != trashRoot.Join("2021-02-03") {
					t.Errorf("read %s", it.path)
				}
				return nil
			}, onlyDays)
		}))
	})
}

func TestTrashThatIsASymlinkIsNotEmptied(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	elsewhere := t.TempDir()
	r.write(elsewhere, "2019-01-01/f", "kept")
	r.must(os.Symlink(elsewhere, filepath.Join(r.dst, filter.TrashName)))
	if days, err := r.tr.Expire(t.Context(), time.Now()); err != nil || len(days) > 0 {
		t.Errorf("expired %q, %v", days, err)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "2019-01-01/f")); err != nil {
		t.Error(err)
	}
}

func TestFetchBringsBackWhatTheTrashHolds(t *testing.T) {
	trashKinds(t, func(t *testing.T, r *rig) {
		day := filepath.Join(r.dst, filter.TrashName, "2021-02-03")
		names := []string{"d/sub/f", "d/#x", "d/;y", "d/-rf", "d/new\nline", "d/\xff\xfe", "d/*", `d/\#012`, "d/.sersync-partial/x", "other"}
		for _, name := range names {
			r.write(day, name, name)
		}
		r.must(os.Symlink("/etc/passwd", filepath.Join(day, "d/link")))
		r.must(os.Chmod(filepath.Join(day, "d"), 0o751))
		r.must(os.Chmod(filepath.Join(day, "d/sub/f"), 0o4640))
		r.must(os.Lchown(filepath.Join(day, "d/*"), 1234, 1235))
		r.must(os.Chmod(filepath.Join(day, "d/*"), 0o600))
		r.must(os.Chtimes(filepath.Join(day, "d/sub/f"), past, past))
		r.must(os.Chtimes(filepath.Join(day, "d"), past, past))
		r.write(r.dst, filter.TrashName+"/2021-02-04/d/f", "later")

		var found []string
		add := func(e transport.Removed) error {
			found = append(found, e.Day+" "+string(e.Path))
			return nil
		}
		r.must(r.tr.Removed(t.Context(), "", []change.Path{"d/sub", "other", "d/f", "no/such", "other/below"}, add))
		slices.Sort(found)
		want := []string{"2021-02-03 d/sub", "2021-02-03 d/sub/f", "2021-02-03 other", "2021-02-04 d/f"}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("found below paths (-want +got):\n%s", diff)
		}
		found = nil
		r.must(r.tr.Removed(t.Context(), "2021-02-03", nil, add))
		if len(found) != len(names)+2 { // d, d/sub and d/link, without the partial file
			t.Errorf("found %q", found)
		}

		into, err := os.Open(t.TempDir())
		r.must(err)
		defer into.Close()
		report, err := r.tr.Fetch(t.Context(), into, "2021-02-03", []change.Path{"d"})
		if err != nil || len(report.Failed) > 0 {
			t.Fatalf("failed %v, %v", report.Failed, err)
		}
		there, here := transporttest.Tree(t, filepath.Join(day, "d")), transporttest.Tree(t, filepath.Join(into.Name(), "d"))
		maps.DeleteFunc(there, func(name, _ string) bool { return strings.HasPrefix(name, ".sersync-partial") })
		if diff := cmp.Diff(there, here); diff != "" {
			t.Errorf("what came back is not what there was (-there +here):\n%s", diff)
		}
		if _, err := os.Lstat(filepath.Join(into.Name(), "other")); err == nil {
			t.Error("more came back than was asked for")
		}
		all, err := os.Open(t.TempDir())
		r.must(err)
		defer all.Close()
		if report, err := r.tr.Fetch(t.Context(), all, "2021-02-03", []change.Path{change.Root}); err != nil || len(report.Failed) > 0 {
			t.Fatalf("failed %v, %v", report.Failed, err)
		}
		for _, name := range []string{"other", "d/sub/f"} {
			if _, err := os.Stat(filepath.Join(all.Name(), name)); err != nil {
				t.Error(err)
			}
		}
	})
}

// A target that somebody else rules may send what it likes: it stays in the directory.
func TestFetchWritesInItsDirectoryAlone(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	outside := t.TempDir()
	r.write(r.dst, filter.TrashName+"/2021-02-03/d/f", "x")
	into, err := os.Open(t.TempDir())
	r.must(err)
	defer into.Close()
	r.must(os.Symlink(outside, filepath.Join(into.Name(), "d")))
	report, err := r.tr.Fetch(t.Context(), into, "2021-02-03", []change.Path{"d"})
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside is %v; failed %v, %v", entries, report.Failed, err)
	}
}

// A symlink was removed, and a person asks for something below it: that was never removed.
func TestFetchFollowsNoSymlinkOfTheTrash(t *testing.T) {
	trashKinds(t, func(t *testing.T, r *rig) {
		outside := t.TempDir()
		r.write(outside, "sub/f", "outside")
		r.write(r.dst, filter.TrashName+"/2021-02-03/d/g", "x")
		r.must(os.Symlink(outside, filepath.Join(r.dst, filter.TrashName, "2021-02-03/d/link")))
		r.must(os.Symlink("d", filepath.Join(r.dst, filter.TrashName, "2021-02-03/inside")))
		for _, p := range []change.Path{"d/link/sub", "d/link/sub/f", "inside/g"} {
			into, err := os.Open(t.TempDir())
			r.must(err)
			defer into.Close()
			if _, err := r.tr.Fetch(t.Context(), into, "2021-02-03", []change.Path{p}); err == nil {
				t.Errorf("%s was fetched", p)
			}
			if entries, _ := os.ReadDir(into.Name()); len(entries) > 0 {
				t.Errorf("fetching %s brought %v", p, entries)
			}
		}
	})
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// The directories above a file go along with it: what is there in their place goes to the trash as well, also when a batch names the file alone.
func TestFileInThePlaceOfADirectoryAboveIsInTheTrash(t *testing.T) {
	trashKinds(t, func(t *testing.T, r *rig) {
		r.write(r.dst, "kind", "a file")
		r.must(os.Symlink("nowhere", filepath.Join(r.dst, "link")))
		r.write(r.src, "kind/deep/f", "new")
		r.write(r.src, "link/large", "new")
		r.must(os.Chmod(filepath.Join(r.src, "kind"), 0o700))
		r.mustApply(transport.Update, "kind/deep/f")
		r.mustApply(transport.UpdateLarge, "link/large")
		r.dstHas("kind/deep/f", "new")
		r.dstHas("link/large", "new")
		r.dstHas(today()+"kind", "a file")
		if to, err := os.Readlink(filepath.Join(r.dst, today(), "link")); err != nil || to != "nowhere" {
			t.Errorf("the link in the trash leads to %q, %v", to, err)
		}
		if info, err := os.Stat(filepath.Join(r.dst, "kind")); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the directory above: %v, %v", info, err)
		}
		// What is removed and comes back as something else is not taken for the directory that it was.
		r.must(os.RemoveAll(filepath.Join(r.src, "kind")))
		r.mustApply(transport.Remove, "kind")
		r.write(r.dst, "kind", "a file again")
		r.write(r.src, "kind/deep/f", "newer")
		r.mustApply(transport.Update, "kind/deep/f")
		r.dstHas("kind/deep/f", "newer")
		r.dstHas(today()+"kind", "a file again")
	})
}

// Where the target takes no trash, such a file stays, and all else arrives.
func TestFileInThePlaceOfADirectoryAboveStaysWithoutATrash(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	r.write(r.dst, filter.TrashName, "a file")
	r.write(r.dst, "kind", "kept")
	r.write(r.dst, "d/f", "old")
	for _, name := range []string{"kind/f", "d/f", "new/deep/f", "g"} {
		r.write(r.src, name, "new of "+name)
	}
	r.must(os.Chmod(filepath.Join(r.src, "new"), 0o700))
	report, err := r.apply(transport.Update, "kind/f", "d/f", "new/deep/f", "g")
	if got := pathsOf(report.Failed); err != nil || !slices.Equal(got, []change.Path{"kind/f"}) {
		t.Errorf("failed %v, %v", report.Failed, err)
	}
	r.dstHas("kind", "kept")
	for _, name := range []string{"d/f", "new/deep/f", "g"} {
		r.dstHas(name, "new of "+name)
	}
	if info, err := os.Stat(filepath.Join(r.dst, "new")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory above: %v, %v", info, err)
	}
}

// What was changed is known: a loss of power of the target may take it back.
func TestWhatChangedOnATargetWithATrashIsTold(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Trash = true })
	r.write(r.src, "d/f", "new")
	r.write(r.src, "g", "new")
	report, err := r.apply(transport.Update, "d", "d/f", "g")
	slices.Sort(report.Changed)
	if got := slices.Compact(report.Changed); err != nil || !slices.Equal(got, []change.Path{"d", "d/f", "g"}) {
		t.Errorf("changed %q, %v", got, err)
	}
}
