package replicate

import (
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/watch"
)

// A row is not believed after a kill while something that was written may still get its name.
func TestNothingIsSureThatCameAfterAFileWithoutAName(t *testing.T) {
	u := newUnnamed()
	at := time.Now()
	if got := u.sure(at); !got.Equal(at) {
		t.Errorf("without such a file: %v, want %v", got, at)
	}
	e := watch.Event{Kind: watch.Wrote, File: change.Inode{Dev: 1, Ino: 2}, At: at.Add(-time.Minute)}
	u.add(e)
	until := e.At.Add(-queueTime)
	if got := u.sure(at); !got.Equal(until) {
		t.Errorf("while it waits: %v, want %v", got, until)
	}
	files := u.take()
	if got := u.sure(at); !got.Equal(until) {
		t.Errorf("while its name is looked up: %v, want %v", got, until)
	}
	u.seek(files, true, false)
	if got := u.sure(at.Add(-queueTime)); !got.Equal(at.Add(-queueTime)) {
		t.Errorf("when it has none: %v, want %v", got, at.Add(-queueTime))
	}
}
