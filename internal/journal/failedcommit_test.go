package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// A disk that is full now and then makes no difference to what the file holds when it can be written.
func TestCommitsThatFailLoseNothing(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	failed := 0
	for seed := range uint64(6) {
		path := filepath.Join(mount, fmt.Sprint("state", seed), "journal.db")
		j, _ := kept(t, path)
		c := &chaos{r: rand.New(rand.NewPCG(seed, 4)), j: j}
		filler := filepath.Join(mount, "filler")
		for commits := range 40 {
			for range c.r.IntN(40) {
				c.step()
			}
			j.mu.Lock()
			j.tried = time.Time{} // a second later
			j.mu.Unlock()
			if c.r.IntN(2) == 0 {
				if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
					t.Fatalf("fill the disk: %v", err)
				}
				done := make(chan error)
				go func() { done <- j.Commit() }()
				for range c.r.IntN(200) { // while it is written
					c.step()
				}
				if <-done != nil {
					failed++
				}
				if err := j.consistent(); err != nil {
					t.Fatalf("seed %d, commit %d: %v", seed, commits, err)
				}
				if err := os.Remove(filler); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := j.Commit(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(dump(j), dump(reread(t, path))); diff != "" {
				t.Fatalf("seed %d, commit %d (-journal +file):\n%s", seed, commits, diff)
			}
		}
		if err := j.Close(true); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("no commit failed")
	}
	t.Logf("%d commits failed", failed)
}

// What is made anew while a transaction is written that fails, and goes again, is not in the file.
func TestRowMadeAnewDuringAFailedCommitLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := kept(t, path)
	x := j.Open("x")
	there := func() { j.Record(scan.Finding{Path: "f", Stat: fileRow(1), Mark: true, Since: time.Now()}) }
	gone := func() { j.Record(scan.Finding{Path: "f"}) }
	there()
	x.Take(1)
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	gone()
	x.Ack(change.Mark{Path: "f", Seq: 1})
	j.mu.Lock()
	failing := j.transaction()
	j.mu.Unlock()
	there()
	marks := x.Take(1)
	j.mu.Lock()
	j.takeBack(failing)
	j.mu.Unlock()
	gone()
	x.Ack(marks...)
	if err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dump(j), dump(reread(t, path))); diff != "" {
		t.Errorf("-journal +file:\n%s", diff)
	}
}
