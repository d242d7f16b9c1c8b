package transporttest

import (
	"errors"
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
)

// RunTrash runs the suite of a Keeper whose target has a trash.
func RunTrash(t *testing.T, start func(t *testing.T) Target) {
	run(t, start, []testCase{
		{"WhatGoesIsInTheTrash", trashHolds},
		{"TheTrashIsNoReasonToMakeWay", trashKeeps},
		{"TheNewestOfADayIsInTheTrash", trashNewest},
		{"APartIsNotWantedBack", trashParts},
		{"ATrashThatCannotBeUsedLosesNothing", trashUnusable},
		{"SweepDoesNotSeeTheTrash", trashSweep},
		{"ExpireRemovesOldDaysAndNothingElse", trashExpires},
		{"ATrashThatIsASymlinkIsNotEmptied", trashLink},
		{"FetchBringsBackWhatTheTrashHolds", trashFetch},
		{"FetchWritesInItsDirectoryAlone", trashFetchOutside},
		{"FetchFollowsNoSymlinkOfTheTrash", trashFetchLink},
		{"ErrorsOfWhoAsksAreHis", trashYield},
	})
}

func (b *bench) keeper() transport.Keeper {
	b.Helper()
	k, ok := b.Transport.(transport.Keeper)
	if !ok {
		b.Fatal("it keeps no trash")
	}
	return k
}

// today is the trash of today, below the target. A test that runs over midnight fails.
func today() string { return filter.TrashName + "/" + transport.Day(time.Now()) + "/" }

// batch applies a batch of which some paths may fail.
func (b *bench) batch(op transport.Op, keep bool, paths ...change.Path) ([]change.Path, error) {
	b.Helper()
	report, err := b.Transport.Apply(b.Context(), transport.Batch{Op: op, Root: b.root, Paths: paths, Keep: keep})
	var failed []change.Path
	for _, f := range report.Failed {
		failed = append(failed, f.Path)
	}
	slices.Sort(failed)
	return failed, err
}

func (b *bench) targetLink(name, to string) {
	b.Helper()
	if got, err := os.Readlink(filepath.Join(b.Dir, name)); err != nil || got != to {
		b.Errorf("target %q leads to %q, %v; want %q", name, got, err, to)
	}
}

func trashHolds(t *testing.T, b *bench) {
	for name, content := range map[string]string{
		"d/sub/f": "in a directory", "f": "removed", "exact/listed": "by name", "exact/kept": "x", "dir-to-file/f": "1", "dir-to-link/f": "2",
		"file-to-dir": "3", "file-to-link": "4", "over": "overwritten", "large/f": "5",
	} {
		b.write(b.Dir, name, content)
	}
	b.must(os.Symlink("nowhere", filepath.Join(b.Dir, "link")))
	b.must(os.Symlink("old", filepath.Join(b.Dir, "link-to-link")))
	b.must(os.Chmod(filepath.Join(b.Dir, "d"), 0o700))
	b.apply(transport.Remove, "d", "f", "link", "never-there")
	b.apply(transport.RemoveExact, "exact/listed", "exact")

	b.write(b.src, "dir-to-file", "new")
	b.must(os.Symlink("a", filepath.Join(b.src, "dir-to-link")))
	b.must(os.Mkdir(filepath.Join(b.src, "file-to-dir"), 0o755))
	b.must(os.Symlink("b", filepath.Join(b.src, "file-to-link")))
	b.must(os.Symlink("new", filepath.Join(b.src, "link-to-link")))
	b.write(b.src, "over", "new")
	b.write(b.src, "large", "new")
	b.apply(transport.Update, "dir-to-file", "dir-to-link", "file-to-dir", "file-to-link", "link-to-link", "over")
	b.apply(transport.UpdateLarge, "large")
	for name, content := range map[string]string{
		"d/sub/f": "in a directory", "f": "removed", "exact/listed": "by name", "dir-to-file/f": "1", "dir-to-link/f": "2", "file-to-dir": "3",
		"file-to-link": "4", "large/f": "5",
	} {
		b.targetHas(today()+name, content)
	}
	b.targetLink(today()+"link", "nowhere")
	b.targetLink(today()+"link-to-link", "old")
	b.targetLink("link-to-link", "new")
	if info, err := os.Stat(filepath.Join(b.Dir, today()+"d")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory in the trash: %v, %v", info, err)
	}
	for _, name := range []string{"d", "f", "link", "exact/listed", today() + "over"} {
		b.targetLacks(name)
	}
	b.targetHas("dir-to-file", "new")
	b.targetHas("over", "new")
	b.targetHas("large", "new")
	b.targetHas("exact/kept", "x")
}

// Where removals are held or switched off, a directory makes no way, trash or not.
func trashKeeps(t *testing.T, b *bench) {
	b.write(b.Dir, "d/f", "kept")
	b.write(b.src, "d", "new")
	if failed, err := b.batch(transport.Update, true, "d"); err != nil || !slices.Equal(failed, []change.Path{"d"}) {
		t.Errorf("failed %v, %v", failed, err)
	}
	b.targetHas("d/f", "kept")
	b.targetLacks(today())
}

func trashNewest(_ *testing.T, b *bench) {
	b.write(b.Dir, "d/first", "1")
	b.write(b.Dir, "d/both", "1")
	b.write(b.Dir, "file-then-dir", "1")
	b.write(b.Dir, "dir-then-file/f", "1")
	b.apply(transport.Remove, "d", "file-then-dir", "dir-then-file")
	b.write(b.Dir, "d/second", "2")
	b.write(b.Dir, "d/both", "2")
	b.write(b.Dir, "file-then-dir/f", "2")
	b.write(b.Dir, "dir-then-file", "2")
	b.apply(transport.Remove, "d", "file-then-dir", "dir-then-file")
	for name, content := range map[string]string{
		"d/first": "1", "d/both": "2", "d/second": "2", "file-then-dir/f": "2", "dir-then-file": "2",
	} {
		b.targetHas(today()+name, content)
	}
}

func trashParts(_ *testing.T, b *bench) {
	b.write(b.Dir, ".sersync-partial/other", "part")
	b.apply(transport.RemoveExact, ".sersync-partial/other", ".sersync-partial")
	b.targetLacks(".sersync-partial")
	b.targetLacks(today() + ".sersync-partial")
}

func trashUnusable(t *testing.T, b *bench) {
	b.write(b.Dir, filter.TrashName, "a file")
	facts, err := b.Transport.Check(t.Context())
	if err != nil || !strings.Contains(strings.Join(facts.Limits, "\n"), filter.TrashName) {
		t.Errorf("check: %q, %v", facts.Limits, err)
	}
	b.write(b.Dir, "d/f", "kept")
	b.write(b.Dir, "e/f", "kept")
	_, err = b.batch(transport.Remove, false, "d")
	var state *transport.Error
	if !errors.As(err, &state) || state.Kind != transport.RemovalsRefused || !strings.Contains(state.Hint, filter.TrashName) {
		t.Errorf("removal: %v", err)
	}
	b.targetHas("d/f", "kept")
	b.write(b.src, "e", "a file now")
	b.write(b.src, "new/f", "new")
	b.write(b.src, "g", "new")
	if failed, err := b.batch(transport.Update, false, "e", "new/f", "g"); err != nil || !slices.Equal(failed, []change.Path{"e"}) {
		t.Errorf("failed %v, %v", failed, err)
	}
	b.targetHas("e/f", "kept")
	b.targetHas("new/f", "new")
	b.targetHas("g", "new")
}

func trashSweep(t *testing.T, b *bench) {
	b.write(b.Dir, today()+"d/f", "x")
	b.write(b.Dir, "extra", "x")
	b.write(b.Dir, "sub/"+filter.TrashName+"/f", "x")
	b.must(os.Mkdir(filepath.Join(b.src, "sub"), 0o755))
	b.apply(transport.Update, change.Root, "sub")
	if diff := cmp.Diff([]string{"-extra"}, b.sweep(true, change.Root)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func trashExpires(t *testing.T, b *bench) {
	kept := []string{
		"2020-01-01/f", filter.TrashName + "/2020-01-05/f", filter.TrashName + "/2020-01-06/f", filter.TrashName + "/2019-1-1/f",
		filter.TrashName + "/2019-13-40/f", filter.TrashName + "/2019-01-01.old/f", filter.TrashName + "/notes/2019-01-01/f",
		filter.TrashName + "/2019-03-03", "f",
	}
	for _, name := range kept {
		b.write(b.Dir, name, "kept")
	}
	b.write(b.Dir, filter.TrashName+"/2020-01-04/d/e/f", "old")
	b.write(b.Dir, filter.TrashName+"/2019-12-31/f", "old")
	b.must(os.Symlink("../2020-01-01", filepath.Join(b.Dir, filter.TrashName, "2019-02-02")))
	want := []string{"2019-12-31", "2020-01-04"}
	for range 2 {
		days, err := b.keeper().Expire(t.Context(), time.Date(2020, 1, 5, 12, 0, 0, 0, time.Local))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(days, want) {
			t.Errorf("expired %q, want %q", days, want)
		}
		want = nil
	}
	for _, name := range kept {
		b.targetHas(name, "kept")
	}
	b.targetLacks(filter.TrashName + "/2020-01-04")
	b.targetLacks(filter.TrashName + "/2019-12-31")
}

func trashLink(t *testing.T, b *bench) {
	elsewhere := t.TempDir()
	b.write(elsewhere, "2019-01-01/f", "kept")
	b.must(os.Symlink(elsewhere, filepath.Join(b.Dir, filter.TrashName)))
	if days, err := b.keeper().Expire(t.Context(), time.Now()); err != nil || len(days) > 0 {
		t.Errorf("expired %q, %v", days, err)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "2019-01-01/f")); err != nil {
		t.Error(err)
	}
}

// found is what the trash holds.
func (b *bench) found(day string, under ...change.Path) []string {
	b.Helper()
	var found []string
	b.must(b.keeper().Removed(b.Context(), day, under, func(r transport.Removed) error {
		found = append(found, r.Day+" "+string(r.Path))
		return nil
	}))
	slices.Sort(found)
	return found
}

// fetch brings something into a directory.
func (b *bench) fetch(into, day string, paths ...change.Path) (transport.Report, error) {
	b.Helper()
	dir, err := os.Open(into)
	b.must(err)
	defer dir.Close()
	return b.keeper().Fetch(b.Context(), dir, day, paths)
}

func trashFetch(t *testing.T, b *bench) {
	day := filepath.Join(b.Dir, filter.TrashName, "2021-02-03")
	names := []string{"d/.sersync-partial/x", "other", "d/sub/f"}
	for _, name := range hostile() {
		names = append(names, "d/"+name)
	}
	for _, name := range names {
		b.write(day, name, name)
	}
	b.must(os.Symlink("/etc/passwd", filepath.Join(day, "d/link")))
	for _, at := range []struct {
		name string
		mode os.FileMode
	}{{"d", 0o751}, {"d/sub/f", 0o640 | os.ModeSetuid}, {"d/*", 0o600}, {"d/sub", 0o500}} {
		b.must(os.Chmod(filepath.Join(day, at.name), at.mode))
	}
	b.must(os.Lchown(filepath.Join(day, "d/*"), 1234, 1235))
	b.must(os.Chtimes(filepath.Join(day, "d/sub/f"), when, when))
	b.must(os.Chtimes(filepath.Join(day, "d"), when, when))
	b.write(b.Dir, filter.TrashName+"/2021-02-04/d/f", "later")

	want := []string{"2021-02-03 d/sub", "2021-02-03 d/sub/f", "2021-02-03 other", "2021-02-04 d/f"}
	if diff := cmp.Diff(want, b.found("", "d/sub", "other", "d/f", "no/such", "other/below")); diff != "" {
		t.Errorf("found below paths (-want +got):\n%s", diff)
	}
	if found := b.found("2021-02-03"); len(found) != len(names)+2 { // d, d/sub and d/link, without the partial file
		t.Errorf("found %q", found)
	}

	into := t.TempDir()
	report, err := b.fetch(into, "2021-02-03", "d")
	if err != nil || len(report.Failed) > 0 {
		t.Fatalf("failed %v, %v", report.Failed, err)
	}
	there, here := Tree(t, filepath.Join(day, "d")), Tree(t, filepath.Join(into, "d"))
	maps.DeleteFunc(there, func(name, _ string) bool { return strings.HasPrefix(name, ".sersync-partial") })
	if diff := cmp.Diff(there, here); diff != "" {
		t.Errorf("what came back is not what there was (-there +here):\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(into, "other")); err == nil {
		t.Error("more came back than was asked for")
	}
	into = t.TempDir()
	if report, err := b.fetch(into, "2021-02-03", "d/sub/f"); err != nil || len(report.Failed) > 0 {
		t.Fatalf("failed %v, %v", report.Failed, err)
	}
	if all := slices.Sorted(maps.Keys(Tree(t, into))); !slices.Equal(all, []string{".", "d", "d/sub", "d/sub/f"}) {
		t.Errorf("one file brought %q", all)
	}
	into = t.TempDir()
	if report, err := b.fetch(into, "2021-02-03", change.Root); err != nil || len(report.Failed) > 0 {
		t.Fatalf("failed %v, %v", report.Failed, err)
	}
	for _, name := range []string{"other", "d/sub/f"} {
		if _, err := os.Stat(filepath.Join(into, name)); err != nil {
			t.Error(err)
		}
	}
}

// A target that somebody else rules may send what it likes: it stays in the directory.
func trashFetchOutside(t *testing.T, b *bench) {
	outside, into := t.TempDir(), t.TempDir()
	b.write(b.Dir, filter.TrashName+"/2021-02-03/d/f", "x")
	b.must(os.Symlink(outside, filepath.Join(into, "d")))
	report, err := b.fetch(into, "2021-02-03", "d")
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside is %v; failed %v, %v", entries, report.Failed, err)
	}
}

// A symlink was removed, and a person asks for something below it: that was never removed.
func trashFetchLink(t *testing.T, b *bench) {
	outside := t.TempDir()
	b.write(outside, "sub/f", "outside")
	b.write(b.Dir, filter.TrashName+"/2021-02-03/d/g", "x")
	b.must(os.Symlink(outside, filepath.Join(b.Dir, filter.TrashName, "2021-02-03/d/link")))
	b.must(os.Symlink("d", filepath.Join(b.Dir, filter.TrashName, "2021-02-03/inside")))
	for _, p := range []change.Path{"d/link/sub", "d/link/sub/f", "inside/g"} {
		into := t.TempDir()
		if _, err := b.fetch(into, "2021-02-03", p); err == nil {
			t.Errorf("%s was fetched", p)
		}
		if entries, _ := os.ReadDir(into); len(entries) > 0 {
			t.Errorf("fetching %s brought %v", p, entries)
		}
	}
}

func trashYield(t *testing.T, b *bench) {
	b.write(b.Dir, filter.TrashName+"/2021-02-03/d/g", "x")
	own := errors.New("own")
	if err := b.keeper().Removed(t.Context(), "", nil, func(transport.Removed) error { return own }); err != own {
		t.Errorf("the error is %v", err)
	}
	if found := b.found(""); len(found) != 2 {
		t.Errorf("found %q afterwards", found)
	}
}
