// Package watch is the first step of the path of a change: it turns what the kernel says into
// events. It says where something happened; what there is to send is found by looking.
//
// The kernel mask is always the full one. Switches of the configuration decide later. A
// watcher never walks: the scan opens each directory, has it covered, and reads it then,
// so that nothing falls between.
package watch

import (
	"context"
	"time"

	"sersync/internal/change"
)

// Kind is what happened to a path.
type Kind uint8

const (
	// Created: the name is new: open with O_CREAT, mkdir, link, symlink, mknod.
	Created Kind = iota + 1
	// Wrote: its content was changed, and it is still open for writing.
	Wrote
	// Closed: it was closed after having been open for writing.
	Closed
	// Attrib: mode, owner, times, link count or extended attributes changed.
	Attrib
	// Removed: the name is gone.
	Removed
	// MovedFrom: the name is gone, what it named is somewhere else now.
	MovedFrom
	// MovedTo: the name is new or replaced; what it names was somewhere else before.
	MovedTo
	// Look: what happened here is not known (an overflow, a watch that was lost): look at
	// everything at and below the path.
	Look
	// RootGone: the root was removed, moved or unmounted. Nothing below can be seen from now on.
	RootGone
)

func (k Kind) String() string {
	return [...]string{"", "created", "wrote", "closed", "attrib", "removed", "moved-from", "moved-to", "look", "root-gone"}[k]
}

// Event is one thing that happened.
type Event struct {
	Path change.Path
	Kind Kind
	// Dir says that the path was a directory when it happened.
	Dir bool
	// At is when the watcher read the event.
	At time.Time
	// File is a file that was changed by who had its handle (an NFS server) while the kernel did not know where it is:
	// Path is the root until the names of the file are looked up. The zero Inode is that of all other events.
	File change.Inode
}

// Gap is a directory that is not watched: a named fact, not a surprise.
type Gap struct {
	Path  change.Path
	Since time.Time
	// Err is why, with the remedy.
	Err error
}

// Watcher watches the tree of one source. Cover and Run may be called at the same time; so may all else.
type Watcher interface {
	// Run reads events and hands them to sink, in one goroutine, until ctx ends (it returns
	// nil then) or the kernel's descriptor fails. The slice belongs to the watcher again when sink returns.
	// Everything that was lost on the way arrives as a Look.
	Run(ctx context.Context, sink func([]Event)) error
	// Cover makes sure that from now on what happens to the entries of the directory, which is
	// open as fd and found at p, is seen. It is called before the directory is read. A directory
	// that was covered under another path is known by the new one from now on. An error
	// is kept as a Gap of p until a later Cover of p succeeds or p is gone. fs.ErrNotExist says that the directory
	// is not at p any more: no gap, events say where it went.
	Cover(fd int, p change.Path) error
	// Sync returns when every event that the kernel had queued before the call was handed to sink.
	// It needs Run running; it ends with ctx.
	Sync(ctx context.Context) error
	// Status is what the watcher covers and does not.
	Status() Status
	// Close ends the watching; Run must have returned or never been called.
	Close() error
}

// Status is what a watcher covers and does not.
type Status struct {
	// Watches is the number of directories that are watched; a whole file system counts as 1.
	Watches   int
	Overflows uint64
	Gaps      []Gap
	// Parts are the file systems of the tree and how each is watched, the root's first.
	Parts []Part
}

// How a part of a tree is watched.
const (
	Fanotify = "fanotify"
	Inotify  = "inotify"
	// Poll: it is a gap, which is looked at on a schedule; changes made on this machine may be told all the same.
	Poll = "poll"
)

// Part is a part of a tree, down to where the next one begins, that is watched in one way.
type Part struct {
	Path   change.Path
	Method string
	// Reason is why it is not watched in a better way; empty when it is watched in the best one.
	Reason string
}
