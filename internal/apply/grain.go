package apply

import (
	"math"
	"sync"
)

// grain is how a file system stores times: in steps of so many nanoseconds, between two bounds.
type grain struct{ step, low, high int64 }

var exact = grain{1, math.MinInt64, math.MaxInt64}

// usual reports whether every file system can store the second: it fits 31 bits.
func usual(ns int64) bool { return ns >= 0 && ns < math.MaxInt32*1e9 }

// store is what becomes of a time.
func (g grain) store(ns int64) int64 {
	ns = min(max(ns, g.low), g.high)
	rest := ns % g.step
	if rest < 0 {
		rest += g.step
	}
	return ns - rest
}

// grains are those of the file systems (by device) of which something was learned: by reading back what was set.
type grains struct {
	mu sync.RWMutex
	at map[uint64]grain
}

// of is exact for a file system of which nothing is known.
func (g *grains) of(dev uint64) (grain, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if found, ok := g.at[dev]; ok {
		return found, true
	}
	return exact, false
}

// learn takes what was read back. A time with nothing below the step says nothing of it.
func (g *grains) learn(dev uint64, set, got int64) {
	now, known := g.of(dev)
	if known && now.store(set) == got || set == got && set%1e9 == 0 {
		return
	}
	now.step = stepOf(set, got, now.step)
	switch stored := now.store(set); {
	case got < stored:
		now.high = got
	case got > stored:
		now.low = got
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at == nil {
		g.at = make(map[uint64]grain)
	}
	g.at[dev] = now
}

// stepOf is the smallest step that makes got of set: of NTFS and SMB, of protocols, of ext3, and of FAT.
func stepOf(set, got, now int64) int64 {
	for _, step := range []int64{1, 100, 1e3, 1e6, 1e9, 2e9} {
		if (grain{step, math.MinInt64, math.MaxInt64}).store(set) == got {
			return max(step, now)
		}
	}
	return now
}
