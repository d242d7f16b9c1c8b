package journal

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/scan"
)

func recordFiles(j *Journal, bits change.Bits, paths ...change.Path) {
	for i, p := range paths {
		j.Record(scan.Finding{Path: p, Stat: fileRow(int64(i)), Mark: true, Since: time.Now(), Bits: bits})
	}
}

func commit(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := j.consistent(); err != nil {
		t.Fatal(err)
	}
}

// rowsOf counts the rows of targets that the file holds.
func rowsOf(j *Journal) (n int) {
	for _, line := range dump(j) {
		if strings.HasPrefix(line, "owed ") {
			n++
		}
	}
	return n
}

// Whatever is in flight to however many targets is in the file once, by the log, and is owed again after a kill.
func TestWhatIsInFlightIsInTheFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	names := []string{"v", "w", "x"}
	for _, name := range names {
		j.Open(name)
	}
	recordFiles(j, change.Live, "a", "b", "c")
	flying := map[string][]change.Mark{}
	for _, name := range names {
		flying[name] = j.Open(name).Take(10)
	}
	commit(t, j)
	killed := reread(t, path)
	if n := rowsOf(killed); n != 0 {
		t.Errorf("the file has %d rows of what is in flight", n)
	}
	for _, name := range names {
		if diff := cmp.Diff(paths(flying[name]), paths(killed.Open(name).Take(10))); diff != "" {
			t.Errorf("after a kill %s is owed (-in flight +owed):\n%s", name, diff)
		}
		j.Open(name).Ack(flying[name]...)
	}
	commit(t, j)
	killed = reread(t, path)
	for _, name := range names {
		if again := killed.Open(name).Take(10); len(again) > 0 {
			t.Errorf("%s is owed %v, which it acked", name, paths(again))
		}
	}
	if len(j.entries) > 0 {
		t.Errorf("the log keeps %d entries that all have", len(j.entries))
	}
}

// What was taken is not forgotten when its entry in the log comes to stand for a newer change alone.
func TestWhatIsInFlightOutlivesItsEntry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	recordFiles(j, change.Content|change.Live, "a", "b")
	x.Take(10)
	recordFiles(j, change.Live, "a", "b")
	commit(t, j)
	for _, m := range reread(t, path).Open("x").Take(10) {
		if m.Bits&change.Content == 0 {
			t.Errorf("of %v only %b is left", m.Path, m.Bits)
		}
	}
}

// What is taken while a transaction is written that fails, and that would have taken an older row of it out of the file, takes its place.
func TestWhatIsTakenDuringAFailedCommitHasItsRow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	recordFiles(j, change.Live, "a")
	x.PutBack(x.Take(1)...)
	commit(t, j)
	x.Ack(x.Take(1)...)
	j.mu.Lock()
	failing := j.transaction()
	j.mu.Unlock()
	recordFiles(j, change.Live, "a")
	x.Take(1)
	j.mu.Lock()
	j.takeBack(failing)
	j.mu.Unlock()
	commit(t, j)
	if diff := cmp.Diff(dump(j), dump(reread(t, path))); diff != "" {
		t.Errorf("-journal +file:\n%s", diff)
	}
}

// A target that hangs, or that a comparison keeps busy, does not hold up the log of all for long.
func TestWhatIsInFlightForLongLeavesTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	recordFiles(j, change.Tree|change.Live, "dir")
	recordFiles(j, change.Live, "a", "b")
	x.Take(10)
	j.mu.Lock()
	if x.lent != 2 {
		t.Errorf("%d rows are lent, of 2 that wait for no comparison", x.lent)
	}
	x.lentAt = x.lentAt.Add(-lendTime)
	j.mu.Unlock()
	commit(t, j)
	if len(j.entries) > 0 {
		t.Errorf("the log keeps %d entries", len(j.entries))
	}
	killed := reread(t, path)
	if n := rowsOf(killed); n != 3 {
		t.Errorf("the file has %d rows of 3 in flight", n)
	}
	if n := len(killed.Open("x").Take(10)); n != 3 {
		t.Errorf("after a kill %d paths are owed of 3", n)
	}
}
