package fanotify

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

func open(root *scan.Root) (watch.Watcher, error) {
	return New(root)
}

// openShort makes a watcher whose queue holds 64 events. The limit is read when the group is made, so it is the old one
// again at once.
func openShort(root *scan.Root) (watch.Watcher, error) {
	const limit = "/proc/sys/fs/fanotify/max_queued_events"
	old, err := os.ReadFile(limit)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(limit, []byte("64"), 0); err != nil {
		return nil, fmt.Errorf("shorten the queue (needs root): %w", err)
	}
	fd, err := newGroup(0)
	if err := os.WriteFile(limit, old, 0); err != nil {
		return nil, fmt.Errorf("restore the queue: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return newWatcher(root, fd)
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
	if st := rig.Watcher.Status(); st.Overflows == 0 {
		t.Errorf("status: %+v", st)
	}
	rig.Write("e/f", "by the new path")
	rig.Write("new/sub/f", "y")
	rig.Equal()
}
