package transport

import (
	"sync"
	"sync/atomic"
	"time"

	"sersync/internal/change"
)

const (
	// readsMax bounds what Reads keeps, and readFileMax one file in it, in bytes. keptBytes is about what one takes without its content.
	readsMax    = 32 << 20
	readFileMax = 64 << 10
	keptBytes   = 256
	// readsTime is for how long it is given.
	readsTime = 5 * time.Second
)

// Reads keeps what was read of small files of a source a moment ago, so that many targets cost one read. It is safe for concurrent use. A nil
// Reads keeps nothing.
//
// What a target is sent of a path must not be older than what it was sent of it before: a reader there would see a file go back. Numbers of changes
// do not tell, as a file changes before anybody has noticed. So reads are told apart by a clock of their own: one is newer than another when it began
// after that one had ended. Of two at the same time nobody knows which saw the newer file. These rules hold:
//
//   - Whoever reads by himself for what he sends to a target says so when the read has ended, and before he asks for anything again: by Put, or by
//     Drop of what is not kept here, and DropAll when what a target has was moved.
//   - A read is kept when it is newer than all reads of its path that have ended. Otherwise it is not, and what was kept is given no more.
//     What is not known of reads that ended, as it was forgotten, is bounded by the floor: what began before that is not kept.
//   - A read is given for a change of its path when it began after that was recorded, and to who sees the file that was read: so not to whom was sent
//     that it went.
//
// So of two reads of a path that a target is sent, whoever made them, the later is the same one or newer.
type Reads struct {
	clock atomic.Uint64 // how many reads began

	mu    sync.Mutex
	at    map[change.Path]*kept
	order []ended // but for the newest of a path they are stale
	bytes int
	// floor is when the last read ended that is not known any more.
	floor uint64
}

// Ticket says when a read began.
type Ticket uint64

// Read is a file as it was read. Nobody changes it.
type Read struct {
	// Seq: all changes up to this number had happened before it was read.
	Seq     uint64
	Stat    change.Stat
	Content []byte
	// Xattrs are all extended attributes that replicate, when HasXattrs.
	HasXattrs bool
	Xattrs    []Xattr
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// ended says of a read when it ended, by the clock.
type ended struct {
	path change.Path
	end  uint64
}

// kept is the read of a path that ended last, by the clock and by that of the day.
type kept struct {
	end uint64
	at  time.Time
	// read is what is given; nil when nothing is.
	read *Read
}

// NewReads makes a Reads.
func NewReads() *Reads { return &Reads{at: map[change.Path]*kept{}} }

// Begin begins a read.
func (r *Reads) Begin() Ticket {
	if r == nil {
		return 0
	}
	return Ticket(r.clock.Add(1))
}

// Get is what was read of a file since the change for which it was seen, where that is the file that was seen; nil for nothing.
func (r *Reads) Get(p change.Path, seen Seen) *Read {
	if r == nil || seen.Seq == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.at[p]
	if k == nil || k.read == nil || k.read.Seq < seen.Seq || k.read.Stat != seen.Stat || time.Since(k.at) > readsTime {
		return nil
	}
	return k.read
}

// Put says what was read, and keeps a copy where it is small.
func (r *Reads) Put(p change.Path, began Ticket, read Read) {
	if r == nil {
		return
	}
	if len(read.Content) > readFileMax {
		r.Drop(p)
		return
	}
	read.Content = append([]byte(nil), read.Content...)
	r.end(p, began, &read)
}

// Drop says that something was read that is not kept here.
func (r *Reads) Drop(p change.Path) {
	if r != nil {
		r.end(p, 0, nil)
	}
}

// DropAll is Drop of all paths.
func (r *Reads) DropAll() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.floor = r.clock.Load()
	if len(r.at) > 0 {
		r.at, r.order, r.bytes = map[change.Path]*kept{}, nil, 0
	}
}

// end takes in a read that has ended; nil for one that is not kept.
func (r *Reads) end(p change.Path, began Ticket, read *Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &kept{end: r.clock.Load(), at: time.Now()}
	newest := r.floor
	if old := r.at[p]; old != nil {
		newest = old.end
		r.bytes -= old.size()
	}
	if uint64(began) > newest {
		k.read = read
	}
	r.at[p] = k
	r.order = append(r.order, ended{p, k.end})
	r.bytes += k.size()
	for r.bytes > readsMax || len(r.order) > readsMax/keptBytes {
		r.forget()
	}
}

// forget forgets what ended first.
func (r *Reads) forget() {
	oldest := r.order[0]
	r.order[0] = ended{}
	r.order = r.order[1:]
	if k := r.at[oldest.path]; k != nil && k.end == oldest.end {
		r.bytes -= k.size()
		r.floor = max(r.floor, k.end)
		delete(r.at, oldest.path)
	}
}

// size is about what it takes in memory. Extended attributes are few.
func (k *kept) size() int {
	if k.read == nil {
		return keptBytes
	}
	return keptBytes + len(k.read.Content)
}
