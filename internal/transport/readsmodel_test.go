package transport

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// reader is a target with what it was sent last of each path, and what it does.
type reader struct {
	sent map[change.Path]uint64
	// doing is a look or a read that has begun; nil for neither.
	doing *direct
}

// direct is what a target looks at or reads by itself.
type direct struct {
	path  change.Path
	looks bool
	began Ticket
	seq   uint64
	// seen says what was there at a time between begin and end; nil before that.
	seen map[change.Path]version
}

// version is what is at a path from some change on.
type version struct {
	number uint64
	exists bool
}

func (v version) stat() change.Stat {
	if !v.exists {
		return change.Stat{}
	}
	return change.Stat{Mode: unix.S_IFREG | 0o644, Ino: v.number}
}

// readsWorld is a source that changes, of which some targets read what they are sent, by turns of one step each. Where the index knows a file it is not
// looked at.
type readsWorld struct {
	t     *testing.T
	r     *rand.Rand
	reads *Reads
	now   map[change.Path]version
	last  uint64
	// noticed are the versions that were there when a change was recorded, by its number less one.
	noticed []map[change.Path]version
	readers []*reader
	given   int
}

var readsPaths = []change.Path{"d/f", "d/g", "h"}

func (w *readsWorld) change() {
	gone := func(p change.Path) { w.last++; w.now[p] = version{number: w.last} }
	switch w.r.IntN(8) {
	case 0:
		gone("d/f")
		gone("d/g")
	case 1:
		gone("h")
	default:
		w.last++
		w.now[readsPaths[w.r.IntN(len(readsPaths))]] = version{w.last, true}
	}
}

func (w *readsWorld) record() {
	w.noticed = append(w.noticed, maps.Clone(w.now))
}

// send checks that a target does not go back.
func (w *readsWorld) send(x *reader, p change.Path, number uint64, how string) {
	if number < x.sent[p] {
		w.t.Fatalf("a target that was sent version %d of %v is sent version %d by %s", x.sent[p], p, number, how)
	}
	x.sent[p] = number
}

// step lets a target go on with what it does, or begin something: for a change that was recorded, be it long ago.
func (w *readsWorld) step(x *reader) {
	switch {
	case x.doing == nil:
		w.begin(x)
	case x.doing.seen == nil:
		x.doing.seen = maps.Clone(w.now)
	default:
		w.end(x)
	}
}

func (w *readsWorld) begin(x *reader) {
	p := readsPaths[w.r.IntN(len(readsPaths))]
	newest := uint64(len(w.noticed))
	seq := 1 + w.r.Uint64N(newest)
	row := w.noticed[newest-1][p]
	read := w.reads.Get(p, Seen{Stat: row.stat(), Seq: seq})
	switch {
	case !row.exists:
		x.doing = &direct{path: p, looks: true, seq: newest}
	case read == nil:
		x.doing = &direct{path: p, began: w.reads.Begin(), seq: newest}
	default:
		if read.Stat.Ino < w.noticed[seq-1][p].number {
			w.t.Fatalf("of %v version %d is given for change %d, which made version %d", p, read.Stat.Ino, seq, w.noticed[seq-1][p].number)
		}
		w.given++
		w.send(x, p, read.Stat.Ino, "a read of another one")
	}
}

func (w *readsWorld) end(x *reader) {
	d := x.doing
	x.doing = nil
	seen := d.seen[d.path]
	switch {
	case !seen.exists && !d.looks: // it went: nothing is sent
	case !seen.exists:
		// The index knows it as well before the target loses it, with all that is in a directory that went.
		gone := []change.Path{d.path}
		if d.path != "h" && !d.seen["d/f"].exists && !d.seen["d/g"].exists {
			gone = readsPaths[:2]
		}
		rows := maps.Clone(w.noticed[len(w.noticed)-1])
		for _, p := range gone {
			if now := w.now[p]; now.number == d.seen[p].number {
				rows[p] = now
			} else {
				return // the look of the observer finds that it came back
			}
		}
		w.noticed = append(w.noticed, rows)
		for _, p := range gone {
			w.send(x, p, d.seen[p].number, "a look at nothing")
		}
	case d.looks:
		x.doing = &direct{path: d.path, began: w.reads.Begin(), seq: d.seq}
	case w.r.IntN(4) == 0:
		w.reads.Drop(d.path)
		w.send(x, d.path, seen.number, "a read that is not kept")
	default:
		w.reads.Put(d.path, d.began, Read{Seq: d.seq, Stat: seen.stat()})
		w.send(x, d.path, seen.number, "a read")
	}
}

// Whatever reads come at the same time, and however late one ends, no target is sent what is older than what it was sent, nor than the
// change for which it is sent. It replays a seed with -run 'TestNoTargetGoesBack/SEED'.
func TestNoTargetGoesBack(t *testing.T) {
	given := 0
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &readsWorld{t: t, r: rand.New(rand.NewPCG(seed, 7)), reads: NewReads(), now: map[change.Path]version{}}
			for range 2 + w.r.IntN(4) {
				w.readers = append(w.readers, &reader{sent: map[change.Path]uint64{}})
			}
			changes := 1 + w.r.IntN(8)
			w.record()
			for range 1000 {
				switch n := w.r.IntN(40); {
				case n < changes:
					w.change()
				case n < 10:
					w.record()
				case n == 10 && len(w.reads.order) > 0:
					w.reads.forget()
				default:
					w.step(w.readers[w.r.IntN(len(w.readers))])
				}
			}
			given += w.given
			if idle := slices.IndexFunc(w.readers, func(x *reader) bool { return len(x.sent) == 0 }); idle >= 0 {
				t.Errorf("target %d was sent nothing", idle)
			}
		})
	}
	t.Logf("%d were given", given)
}
