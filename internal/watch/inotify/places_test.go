package inotify

import (
	"testing"
	"time"

	"sersync/internal/change"
)

// where asserts that the watch is known at want; "-" is nowhere.
func where(t *testing.T, p *places, wd int32, want change.Path) {
	t.Helper()
	got := change.Path("-")
	if n := p.byWD[wd]; n != nil {
		if at, ok := p.path(n); ok {
			got = at
		}
	}
	if got != want {
		t.Errorf("watch %d is at %v, not at %v", wd, got, want)
	}
}

func TestPlacesFollowWhatWasFound(t *testing.T) {
	now := time.Now()
	type at struct {
		wd   int32
		path change.Path
	}
	for _, c := range []struct {
		name   string
		places []at
		want   []at
	}{
		{"what is below comes along", []at{{1, ""}, {2, "a"}, {3, "a/b"}, {2, "c"}}, []at{{1, ""}, {2, "c"}, {3, "c/b"}}},
		{"what was there loses its place", []at{{1, ""}, {2, "a"}, {3, "a/b"}, {4, "a"}}, []at{{4, "a"}, {2, "-"}, {3, "-"}}},
		{"a directory below what it held", []at{{1, ""}, {2, "a"}, {3, "a/b"}, {3, "b"}, {2, "b/a"}}, []at{{3, "b"}, {2, "b/a"}}},
		{"a way that leads through itself", []at{{1, ""}, {2, "a"}, {3, "a/b"}, {2, "a/b/a"}}, []at{{2, "a/b/a"}, {3, "a/b/a/b"}}},
		{"a parent that is covered late", []at{{1, ""}, {3, "a/b"}, {2, "a"}}, []at{{2, "a"}, {3, "a/b"}}},
		{"the same again", []at{{1, ""}, {2, "a"}, {2, "a"}}, []at{{1, ""}, {2, "a"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlaces()
			for _, a := range c.places {
				p.place(a.wd, a.path, now)
			}
			for _, a := range c.want {
				where(t, &p, a.wd, a.path)
			}
			for _, wd := range p.sweep(now.Add(strayTime + 1)) {
				where(t, &p, wd, "-")
			}
			for _, a := range c.want {
				if known := p.byWD[a.wd] != nil; known != (a.path != "-") {
					t.Errorf("watch %d at %v: in the table %t", a.wd, a.path, known)
				}
			}
		})
	}
}

func TestPlacesAreDoubtedUntilFoundAgain(t *testing.T) {
	now := time.Now()
	p := newPlaces()
	for wd, path := range []change.Path{"", "kept", "kept/sub", "left", "left/sub"} {
		p.place(int32(wd+1), path, now)
	}
	p.epoch++
	p.place(1, "", now)
	p.place(2, "kept", now)
	p.place(3, "kept/sub", now)
	if lost := p.doubt(now); len(lost) != 1 || lost[0] != "left" {
		t.Errorf("doubted: %v", lost)
	}
	where(t, &p, 3, "kept/sub")
	where(t, &p, 5, "-")
	if gone := p.sweep(now.Add(strayTime + 1)); len(gone) != 2 {
		t.Errorf("watches let go: %v", gone)
	}
	if len(p.nodes) != 2 || len(p.strays) != 0 {
		t.Errorf("%d nodes and %d strays are left", len(p.nodes), len(p.strays))
	}
}

func TestPlacesForgetWhatIsIgnored(t *testing.T) {
	now := time.Now()
	p := newPlaces()
	p.place(1, "", now)
	p.place(2, "a", now)
	p.place(3, "a/b", now)
	p.ignored(2)
	where(t, &p, 3, "-")
	if gone := p.sweep(now); len(gone) != 1 || gone[0] != 3 {
		t.Errorf("watches let go: %v", gone)
	}
	p.ignored(3) // comes late
	p.ignored(1)
	if len(p.nodes) != 0 || len(p.byWD) != 0 || len(p.strays) != 0 {
		t.Errorf("%d nodes, %d watches, %d strays are left", len(p.nodes), len(p.byWD), len(p.strays))
	}
}
