package apply

import (
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"
	"time"
)

// log is what was placed and what was synced of it.
type log struct {
	mu             sync.Mutex
	placed, synced map[int]int
	syncs          int
}

func (l *log) place(k, v int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.placed[k] = v
}

// sync notes what was placed before it, once it has been done.
func (l *log) sync(do func() error) error {
	l.mu.Lock()
	before := maps.Clone(l.placed)
	l.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced = before
	l.syncs++
	return nil
}

func (l *log) now() (synced map[int]int, syncs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced, l.syncs
}

// The power is lost at any time, in the middle of a Sync too: nothing that was synced goes back, and every file is a version of it.
// The image lies on a file system that takes a copy of it in one moment. It is small, so that what waits fills it now and then.
func TestALossOfPowerAtAnyTime(t *testing.T) {
	for kind, size := range map[string]int64{"ext4": 24, "xfs": 320} {
		t.Run(kind, func(t *testing.T) {
			outer := newImage(t, "xfs", 8192, t.TempDir())
			loseAtAnyTime(t, newImage(t, kind, size, outer.dir))
		})
	}
}

func loseAtAnyTime(t *testing.T, i *image) {
	const cuts = 12
	r := openImage(t, i)
	l := &log{placed: make(map[int]int)}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(do func(n int)) {
		wg.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
					do(n)
				}
			}
		})
	}
	for first := range 2 {
		loop(func(n int) {
			k := n%(files/2)*2 + first
			if _, err := r.write(name(k), versionText(k, n), fileAttr(versionText(k, n)), false); err != nil {
				t.Error(err)
				return // it is what it was
			}
			l.place(k, n)
		})
	}
	loop(func(int) {
		if err := l.sync(r.Sync); err != nil {
			t.Error(err)
		}
	})
	synced := make([]map[int]int, cuts)
	deadline := time.Now().Add(time.Minute)
	for cut := range cuts {
		syncs := 0
		for tick := time.NewTicker(7 * time.Millisecond); (syncs <= cut || len(synced[cut]) < files) && time.Now().Before(deadline); <-tick.C {
			synced[cut], syncs = l.now()
		}
		i.run("cp", "--reflink=always", i.file, fmt.Sprint(i.file, cut))
	}
	close(stop)
	wg.Wait()
	r.must(r.Close())
	back := 0
	for cut := range cuts {
		i.unmount()
		r.must(os.Rename(fmt.Sprint(i.file, cut), i.file))
		i.mount()
		r := reopen(t, i)
		restored, _ := r.recovered()
		back += restored
		for k := range files {
			if v := r.version(k); v < synced[cut][k] {
				t.Errorf("cut %d: %s has version %d, and %d was synced", cut, name(k), v, synced[cut][k])
			}
		}
		r.clean()
		r.must(r.Close())
	}
	if back == 0 || len(synced[0]) == 0 {
		t.Errorf("%d went back, %d synced: this proves nothing", back, len(synced[0]))
	}
	t.Logf("%d went back", back)
}
