package transport

import (
	"sync"

	"sersync/internal/change"
)

// Bounds of what Reads keeps, and of one file in it, in bytes.
const (
	readsMax    = 32 << 20
	readFileMax = 64 << 10
)

// Reads keeps what was read of small files of a source a moment ago, so that many targets cost one read. It is safe for
// concurrent use.
type Reads struct {
	mu    sync.Mutex
	at    map[change.Path]Read
	order []change.Path // in which they came; one that came again stands there twice
	bytes int
}

// Read is a file as it was read. Nobody changes Content.
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

// NewReads makes a Reads.
func NewReads() *Reads { return &Reads{at: map[change.Path]Read{}} }

// Get is what was read of a file since the change for which it was looked at, when that look saw the file that was read: somebody else may have
// been sent what came later, and is not to go back. A nil Reads has nothing.
func (r *Reads) Get(p change.Path, seen Seen) (Read, bool) {
	if r == nil {
		return Read{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	read, ok := r.at[p]
	return read, ok && seen.Seq > 0 && read.Seq >= seen.Seq && read.Stat == seen.Stat
}

// Put keeps what was read, for as long as there is room. It keeps a copy of the content.
func (r *Reads) Put(p change.Path, read Read) {
	if r == nil || len(read.Content) > readFileMax {
		return
	}
	read.Content = append([]byte(nil), read.Content...)
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.at[p]
	if known && old.Seq > read.Seq {
		return
	}
	r.bytes += len(read.Content) - len(old.Content)
	r.at[p] = read
	r.order = append(r.order, p)
	for r.bytes > readsMax || len(r.order) > readsMax/256 {
		oldest := r.order[0]
		r.order = r.order[1:]
		r.bytes -= len(r.at[oldest].Content)
		delete(r.at, oldest)
	}
}
