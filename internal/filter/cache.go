package filter

import (
	"strings"
	"sync"

	"sersync/internal/change"
)

// maxDirs bounds the directories whose verdicts are kept: some 10 MB of paths of usual length.
const maxDirs = 1 << 16

// dirCache keeps verdicts on directories in two generations: when the young one is full it becomes
// the old one, and what is used moves back to the young one.
type dirCache struct {
	mu         sync.RWMutex
	max        int
	young, old map[change.Path]Verdict
}

func newDirCache(max int) *dirCache {
	return &dirCache{max: max / 2, young: make(map[change.Path]Verdict)}
}

func (c *dirCache) get(p change.Path) (Verdict, bool) {
	c.mu.RLock()
	v, ok := c.young[p]
	if ok {
		c.mu.RUnlock()
		return v, true
	}
	v, ok = c.old[p]
	c.mu.RUnlock()
	if ok {
		c.put(p, v)
	}
	return v, ok
}

func (c *dirCache) put(p change.Path, v Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.max {
		c.young, c.old = make(map[change.Path]Verdict), c.young
	}
	// The path may be a part of a long one, which must not stay in memory for it.
	c.young[change.Path(strings.Clone(string(p)))] = v
}
