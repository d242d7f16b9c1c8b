package drain

import (
	"time"

	"sersync/internal/change"
	"sersync/internal/watch"
)

// Batch gathers the events of one read.
type Batch struct {
	events []watch.Event
	path   []byte
	at     time.Time
}

// Begin begins an empty batch of events that were read at the time. Those of the one before are not good any more.
func (b *Batch) Begin(at time.Time) {
	b.events, b.at = b.events[:0], at
}

// Add reports kind for the entry name of dir; an empty name is dir itself. An event that says
// what the last one said is merged with it.
func (b *Batch) Add(kind watch.Kind, dir []byte, name []byte, isDir bool) {
	b.path = append(b.path[:0], dir...)
	if len(dir) > 0 && len(name) > 0 {
		b.path = append(b.path, '/')
	}
	b.path = append(b.path, name...)
	if i := len(b.events) - 1; i >= 0 {
		if last := &b.events[i]; last.Kind == kind && last.Dir == isDir && string(last.Path) == string(b.path) {
			return
		}
	}
	b.events = append(b.events, watch.Event{Path: change.Path(b.path), Kind: kind, Dir: isDir, At: b.at})
}

// AddFile reports kind for a file whose path is not known.
func (b *Batch) AddFile(kind watch.Kind, file change.Inode) {
	b.events = append(b.events, watch.Event{Kind: kind, File: file, At: b.at})
}

// Hand hands the events to sink, when there are any.
func (b *Batch) Hand(sink func([]watch.Event)) {
	if len(b.events) > 0 {
		sink(b.events)
		clear(b.events) // lets go of the paths
		b.events = b.events[:0]
	}
}
