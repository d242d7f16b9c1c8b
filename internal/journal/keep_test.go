package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
)

const source = "/srv/data"

// reread is what a new journal finds in a copy of the file: what a kill at this moment would leave.
func reread(t *testing.T, path string) *Journal {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	j, l := kept(t, copied)
	if l.Lost != nil || l.Fresh {
		t.Fatalf("the copy was read as %+v", l)
	}
	return j
}

// kept is a journal that is kept at path until the test ends.
func kept(t *testing.T, path string) (*Journal, Loaded) {
	t.Helper()
	j := New(0)
	l, err := j.Keep(path, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close(false) })
	return j, l
}

func fileRow(ctime int64) change.Stat {
	return change.Stat{Mode: unix.S_IFREG | 0o644, Links: 1, Dev: 7, Ino: uint64(ctime) + 1, Size: 5, Mtime: 1700000000e9, Ctime: 1700000000e9 + ctime}
}

func directory(ctime int64) change.Stat {
	st := fileRow(ctime)
	st.Mode = unix.S_IFDIR | 0o755
	return st
}

// What a journal that was read owes is given out as before: what was in flight or under way is ready again.
func TestWhatIsOwedIsGivenOutAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	j.Open("y")
	for i, p := range []change.Path{"a", "b", "c", "d"} {
		j.Record(scan.Finding{Path: p, Stat: fileRow(int64(i)), Mark: true, Since: time.Now()})
	}
	x.Ack(x.Take(1)...)
	x.Fail(x.Take(1)[0], errTest, time.Now().Add(time.Hour), true)
	x.Take(1)
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	again := reread(t, path)
	x = again.Open("x")
	y := again.Open("y")
	if got := paths(x.Take(10)); !slices.Equal(got, []change.Path{"c", "d"}) {
		t.Errorf("x is given %q", got)
	}
	if dead, _ := x.List(10, Dead); len(dead) != 1 || dead[0].Path != "b" || dead[0].Err != errTest.Error() {
		t.Errorf("dead letters of x: %+v", dead)
	}
	if got := paths(y.Take(10)); !slices.Equal(got, []change.Path{"a", "b", "c", "d"}) {
		t.Errorf("y is given %q", got)
	}
}

// A damaged file is named and set aside, or reads as what it was: never as something else, and nothing crashes.
func TestDamagedFileIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	c := &chaos{r: rand.New(rand.NewPCG(1, 1)), j: j}
	for range 30 {
		for range 40 {
			c.step()
		}
		if err := j.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	want := dump(j)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for i := range 120 {
		data := slices.Clone(whole)
		if i%10 == 0 {
			data = data[:c.r.IntN(len(data))]
		}
		for range 1 + c.r.IntN(30) {
			if len(data) > 0 {
				data[c.r.IntN(len(data))] ^= byte(1 << c.r.IntN(8))
			}
		}
		dir := t.TempDir()
		damaged := filepath.Join(dir, "journal.db")
		if err := os.WriteFile(damaged, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got := New(0)
		l, err := got.Keep(damaged, source)
		if err != nil {
			t.Fatalf("damage %d: %v", i, err)
		}
		if l.Lost == nil && !l.Fresh {
			// An older transaction is a lost tail; that of the last is what it was.
			if got.Seq() == j.Seq() {
				if diff := cmp.Diff(want, dump(got)); diff != "" {
					t.Errorf("damage %d was not noticed (-journal +file):\n%s", i, diff)
				}
			}
		} else if l.Lost != nil {
			lost++
			if strings.Contains(l.Lost.Error(), "nothing was ever written") {
				// cut short to nothing
			} else if _, err := os.Stat(l.Aside); err != nil || !strings.Contains(l.Lost.Error(), damaged) {
				t.Errorf("damage %d: %v; aside: %v", i, l.Lost, err)
			}
		}
		got.Record(scan.Finding{Path: "after", Stat: fileRow(1), Mark: true, Since: time.Now()})
		if err := got.Commit(); err != nil {
			// Damage that only writing finds: the next commit writes all to a new file.
			got.mu.Lock()
			got.tried = time.Time{}
			got.mu.Unlock()
			if err := got.Commit(); err != nil {
				t.Errorf("damage %d: the journal does not recover: %v", i, err)
			}
		}
		if err := got.Close(true); err != nil {
			t.Errorf("damage %d: close: %v", i, err)
		}
	}
	if lost < 12 {
		t.Errorf("only %d of 120 damages were noticed", lost)
	}
}

// A file of another source, and one of another program, are set aside.
func TestForeignFileIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := New(0)
	if _, err := j.Keep(path, "/srv/other"); err != nil {
		t.Fatal(err)
	}
	j.Record(scan.Finding{Path: "a", Stat: fileRow(1)})
	if err := j.Close(true); err != nil {
		t.Fatal(err)
	}
	_, l := kept(t, path)
	if l.Lost == nil || !strings.Contains(l.Lost.Error(), "/srv/other") || l.Aside == "" {
		t.Errorf("loaded: %+v", l)
	}
	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, []byte("no journal at all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, l := kept(t, text); l.Lost == nil {
		t.Errorf("loaded: %+v", l)
	}
}

// A file that another process has is no reason to take it away from that.
func TestFileInUseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	kept(t, path)
	if _, err := New(0).Keep(path, source); !errors.Is(err, ErrInUse) {
		t.Errorf("keep: %v", err)
	}
}

// A journal whose file was taken away, or whose disk is full, says so, and has all in it when it can be written again.
func TestJournalIsWrittenAgainWhenItCanBe(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	path := filepath.Join(mount, "state", "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	long := strings.Repeat("n", 200)
	for i := range 5000 {
		j.Record(scan.Finding{Path: change.Path(fmt.Sprint(long, i)), Stat: fileRow(int64(i)), Mark: true, Since: time.Now()})
	}
	if err := j.Commit(); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("commit to a full disk: %v", err)
	}
	if k := j.Kept(); k.Err == nil || k.Failed.IsZero() || k.Unsaved < 5000 {
		t.Errorf("kept: %+v", k)
	}
	x.Ack(x.Take(2000)...)
	if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	j.tried = time.Time{} // a second later
	j.mu.Unlock()
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	if k := j.Kept(); k.Err != nil || k.Unsaved != 0 {
		t.Errorf("kept: %+v", k)
	}
	if diff := cmp.Diff(dump(j), dump(reread(t, path))); diff != "" {
		t.Errorf("after there was room (-journal +file):\n%s", diff)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	j.Record(scan.Finding{Path: "a", Stat: fileRow(1), Mark: true, Since: time.Now()})
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dump(j), dump(reread(t, path))); diff != "" {
		t.Errorf("after the file was removed (-journal +file):\n%s", diff)
	}
}

// What was below a directory that went is out of the file before anybody may remove it on a target.
func TestSettledTakesOutWhatWentWithADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	j.Record(scan.Finding{Path: "d", Stat: directory(1)}, scan.Finding{Path: "d/f", Stat: fileRow(2)}, scan.Finding{Path: "d-f", Stat: fileRow(3)})
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	j.Record(scan.Finding{Path: "d"}, scan.Finding{Path: "d", Stat: directory(1)})
	if !j.Settled() || j.Kept().Unsaved == 0 {
		t.Fatal("not settled, or more than that was written")
	}
	again := reread(t, path)
	if again.Stat("d/f").Exists() || !again.Stat("d-f").Exists() || !again.Stat("d").Exists() {
		t.Errorf("the file has d %v, d/f %v, d-f %v", again.Stat("d").Exists(), again.Stat("d/f").Exists(), again.Stat("d-f").Exists())
	}
}

// What was changed on a target in the last minute is owed again when the contact was lost, also when the journal was read anew.
func TestLookAgainOwesTheLastMinute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	j.Record(scan.Finding{Path: "old", Stat: fileRow(1), Mark: true, Since: time.Now()})
	x.Ack(x.Take(1)...)
	x.Changed(Changed{Path: "old"})
	j.mu.Lock()
	x.recent[0].second -= 61
	j.mu.Unlock()
	for _, p := range []change.Path{"a", "b"} {
		j.Record(scan.Finding{Path: p, Stat: fileRow(2), Mark: true, Since: time.Now()})
	}
	x.Changed(Changed{Path: "a"}, Changed{Path: "b", Bits: change.Extras | change.Content})
	x.Ack(x.Take(2)...)
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	again := reread(t, path)
	for _, target := range []*Target{x, again.Open("x")} {
		target.LookAgain()
		got := target.Take(10)
		if !slices.Equal(paths(got), []change.Path{"a", "b"}) || got[0].Bits != 0 || got[1].Bits != change.Extras|change.Content {
			t.Errorf("owed again: %v", got)
		}
	}
}

// After a kill what is owed, and what is marked by the walk, is marked once more when a receiver that was cut off is done.
func TestTwiceMarksOnceMore(t *testing.T) {
	j := New(0)
	x := j.Open("x")
	j.Record(scan.Finding{Path: "owed", Stat: fileRow(1), Mark: true, Since: time.Now()})
	due := time.Now().Add(50 * time.Millisecond)
	j.Twice(func(string) time.Time { return due })
	j.Record(scan.Finding{Path: "walked", Stat: fileRow(2), Mark: true, Since: time.Now()})
	j.Twice(nil)
	j.Record(scan.Finding{Path: "later", Stat: fileRow(3), Mark: true, Since: time.Now()})
	x.Ack(x.Take(10)...)
	for time.Now().Before(due) {
		<-time.After(time.Until(due))
	}
	got := paths(x.Take(10))
	slices.Sort(got)
	if !slices.Equal(got, []change.Path{"owed", "walked"}) {
		t.Errorf("marked once more: %q", got)
	}
}

// A clock that was set back while nobody ran delays nothing by more than an hour.
func TestClockThatWasSetBackDelaysNothingForLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	for _, p := range []change.Path{"a", "b"} {
		j.Record(scan.Finding{Path: p, Stat: fileRow(1), Mark: true, Since: time.Now()})
	}
	x.Fail(x.Take(1)[0], errTest, time.Now().AddDate(1, 0, 0), false)
	x.Again(time.Now().AddDate(1, 0, 0), x.Take(1)...)
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	again := reread(t, path).Open("x")
	again.Take(10)
	due, ok := again.Next()
	if !ok || time.Until(due) > time.Hour {
		t.Errorf("due at %v, %v", due, ok)
	}
	// Only a time of the monotonic clock stays where it is when the clock is set while we run.
	if due == due.Round(0) {
		t.Errorf("due at %v, by the clock on the wall", due)
	}
}

// What a clock that was ahead noticed was noticed in the past: whoever waits for all until now waits for it.
func TestWhatWasNoticedIsInThePast(t *testing.T) {
	for _, owed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "journal.db")
		j, _ := kept(t, path)
		x := j.Open("x")
		j.Record(scan.Finding{Path: "a", Stat: fileRow(1), Mark: true, Since: time.Now().AddDate(1, 0, 0)})
		if owed {
			x.PutBack(x.Take(1)...)
		}
		if err := j.Commit(); err != nil {
			t.Fatal(err)
		}
		if since, ok := reread(t, path).Open("x").Oldest(); !ok || since.After(time.Now()) {
			t.Errorf("owed %v: the oldest is of %v, %v", owed, since, ok)
		}
	}
}
