package transport

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

func regular(size int64) change.Stat { return change.Stat{Mode: unix.S_IFREG | 0o644, Size: size} }

// put is a read from its begin to its end.
func (r *Reads) put(p change.Path, read Read) { r.Put(p, r.Begin(), read) }

// What was read for one target is for another one only when that saw the same file, and no change since: it must not go back to what is older.
func TestReadsGiveWhatWasSeenAndNothingOlder(t *testing.T) {
	older := change.Stat{Mode: 0o100644, Ino: 1, Size: 1, Mtime: 1, Ctime: 1}
	newer := older
	newer.Ctime++
	r := NewReads()
	r.put("a", Read{Seq: 5, Stat: older, Content: []byte("x")})
	for _, c := range []struct {
		what string
		path change.Path
		seen Seen
		want bool
	}{
		{"the same", "a", Seen{Stat: older, Seq: 5}, true},
		{"an older change", "a", Seen{Stat: older, Seq: 4}, true},
		{"a newer change", "a", Seen{Stat: older, Seq: 6}, false},
		{"another file", "a", Seen{Stat: newer, Seq: 4}, false},
		{"another path", "b", Seen{Stat: older, Seq: 5}, false},
		{"no change", "a", Seen{Stat: older}, false},
	} {
		if read := r.Get(c.path, c.seen); (read != nil) != c.want {
			t.Errorf("%s: found %v, want %v", c.what, read != nil, c.want)
		}
	}
}

// Of what was read at the same time nobody knows which is newer, though both have the same number: neither is given to anybody.
func TestReadsAtTheSameTimeAreGivenToNobody(t *testing.T) {
	given := func(r *Reads, size int64) bool { return r.Get("f", Seen{Stat: regular(size), Seq: 5}) != nil }
	for _, c := range []struct {
		what  string
		other func(r *Reads, began Ticket)
	}{
		{"another read", func(r *Reads, began Ticket) { r.Put("f", began, Read{Seq: 5, Stat: regular(2)}) }},
		{"a read that is not kept", func(r *Reads, _ Ticket) { r.Drop("f") }},
		{"a read of much", func(r *Reads, began Ticket) { r.Put("f", began, Read{Seq: 5, Content: make([]byte, readFileMax+1)}) }},
		{"a move", func(r *Reads, _ Ticket) { r.DropAll() }},
		{"what is not known any more", func(r *Reads, began Ticket) {
			r.Drop("f")
			r.forget()
		}},
	} {
		for _, first := range []bool{false, true} {
			r := NewReads()
			one, two := r.Begin(), r.Begin()
			put := func() { r.Put("f", one, Read{Seq: 5, Stat: regular(1)}) }
			if first {
				put()
			}
			c.other(r, two)
			if !first {
				put()
			}
			if given(r, 1) || given(r, 2) {
				t.Errorf("%s, after it: %v: one of them is given", c.what, first)
			}
			r.put("f", Read{Seq: 5, Stat: regular(3)})
			if !given(r, 3) {
				t.Errorf("%s: a newer read is not given", c.what)
			}
		}
	}
}

func TestReadsKeepSmallFilesAlone(t *testing.T) {
	r := NewReads()
	r.put("large", Read{Seq: 1, Content: make([]byte, readFileMax+1)})
	if r.Get("large", Seen{Seq: 1}) != nil {
		t.Error("a large file is kept")
	}
	var none *Reads
	none.put("f", Read{Seq: 1})
	none.Drop("f")
	none.DropAll()
	if none.Get("f", Seen{Seq: 1}) != nil {
		t.Error("there is something where nothing is kept")
	}
}

// However much is read, what is kept is bounded, and it is the newest.
func TestReadsAreBounded(t *testing.T) {
	r := NewReads()
	const size, files = 32 << 10, 3 * readsMax / (32 << 10)
	for i := range files {
		for _, p := range []change.Path{change.Path(fmt.Sprint("f", i)), "often"} {
			r.put(p, Read{Seq: uint64(i + 1), Stat: regular(size), Content: make([]byte, size)})
		}
	}
	kept := 0
	for _, k := range r.at {
		kept += k.size()
	}
	if kept != r.bytes || kept > readsMax || len(r.order) > readsMax/keptBytes {
		t.Errorf("%d bytes of %d files are kept, %d are counted, %d stand in order", kept, len(r.at), r.bytes, len(r.order))
	}
	if r.Get(change.Path(fmt.Sprint("f", files-1)), Seen{Stat: regular(size), Seq: files}) == nil {
		t.Error("the newest file is not kept")
	}
	for range 3 * readsMax / keptBytes {
		r.Drop("hot")
	}
	if len(r.order) > readsMax/keptBytes {
		t.Errorf("%d stand in order", len(r.order))
	}
}

// What was read an hour ago is not given, though nothing is known to have happened since.
func TestReadsOfLongAgoAreNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReads()
		r.put("f", Read{Seq: 5, Stat: regular(1)})
		time.Sleep(readsTime)
		if r.Get("f", Seen{Stat: regular(1), Seq: 5}) == nil {
			t.Error("forgotten too soon")
		}
		time.Sleep(time.Millisecond)
		if r.Get("f", Seen{Stat: regular(1), Seq: 5}) != nil {
			t.Error("given after a long time")
		}
	})
}
