package inotify

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

func open(root *scan.Root) (watch.Watcher, error) {
	return New(root, Options{Log: slog.New(slog.DiscardHandler)})
}

// openShort makes a watcher whose queue holds 64 events. The limit is read when the instance
// is made, so it is the old one again at once.
func openShort(root *scan.Root) (watch.Watcher, error) {
	old, err := maxQueuedEvents.get()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(string(maxQueuedEvents), []byte("64"), 0); err != nil {
		return nil, fmt.Errorf("shorten the queue (needs root): %w", err)
	}
	w, err := open(root)
	if err := os.WriteFile(string(maxQueuedEvents), []byte(strconv.Itoa(old)), 0); err != nil {
		return nil, fmt.Errorf("restore the queue: %w", err)
	}
	return w, err
}

func TestContract(t *testing.T) { watchtest.Run(t, open) }

func TestRandomChangesWithAQueueThatIsTooShort(t *testing.T) { watchtest.Random(t, openShort) }

func TestOverflowIsALookOfTheRoot(t *testing.T) {
	rig := watchtest.NewRig(t, openShort)
	rig.Mkdir("d")
	rig.Mkdir("left")
	rig.Equal()
	release := rig.Hold()
	for i := range 200 {
		rig.Write("d/"+strconv.Itoa(i), "x")
	}
	// All of this is lost:
	rig.Rename("d", "e")
	rig.Mkdir("new/sub")
	rig.Write("new/sub/f", "x")
	if err := os.Rename(rig.Path("left"), rig.Dir+".out"); err != nil {
		t.Fatal(err)
	}
	release()
	rig.AwaitEvent(watch.Look, change.Root)
	rig.Equal()
	// What the reader had in hand when it was held may end with an overflow of its own: each is counted, and told once.
	told := 0
	for _, e := range rig.Seen() {
		if e.Kind == watch.Look && e.Path == change.Root {
			told++
		}
	}
	if st := rig.Watcher.Status(); st.Overflows != uint64(told) {
		t.Errorf("%d overflows were told; status: %+v", told, st)
	}
	rig.Write("e/f", "by the new path")
	rig.Write("new/sub/f", "y")
	rig.Equal()
}
