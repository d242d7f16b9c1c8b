package transport_test

import (
	"testing"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// What was read for one target is for another one only when that saw the same file, and no change since: it must not go back to what is older.
func TestReadsGiveWhatWasSeenAndNothingOlder(t *testing.T) {
	older := change.Stat{Mode: 0o100644, Ino: 1, Size: 1, Mtime: 1, Ctime: 1}
	newer := older
	newer.Ctime++
	r := transport.NewReads()
	r.Put("a", transport.Read{Seq: 5, Stat: older, Content: []byte("x")})
	for _, c := range []struct {
		what string
		path change.Path
		seen transport.Seen
		want bool
	}{
		{"the same", "a", transport.Seen{Stat: older, Seq: 5}, true},
		{"an older change", "a", transport.Seen{Stat: older, Seq: 4}, true},
		{"a newer change", "a", transport.Seen{Stat: older, Seq: 6}, false},
		{"another file", "a", transport.Seen{Stat: newer, Seq: 4}, false},
		{"another path", "b", transport.Seen{Stat: older, Seq: 5}, false},
		{"no change", "a", transport.Seen{Stat: older}, false},
	} {
		if _, ok := r.Get(c.path, c.seen); ok != c.want {
			t.Errorf("%s: found %v, want %v", c.what, ok, c.want)
		}
	}
}
