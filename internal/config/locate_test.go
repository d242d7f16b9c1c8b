package config

import (
	"os"
	"testing"

	"sersync/internal/change"
)

func TestLocate(t *testing.T) {
	m := newMachine(t)
	for from, to := range map[string]string{"data/link": "/etc", "short": "data/sub", "root": "data", "data/broken": "nowhere"} {
		if err := os.Symlink(to, m.dir+"/"+from); err != nil {
			t.Fatal(err)
		}
	}
	s := Source{Path: m.dir + "/root"}
	for name, want := range map[string]change.Path{
		"/data": "", "/root/": "", "/data/sub": "sub", "/data/sub/": "sub", "/root/new/x": "new/x", "/short/x": "sub/x",
		"/data/link": "link", "/data/broken": "broken", "/data/../data/a b": "a b",
	} {
		if p, inside := s.Locate(m.dir + name); !inside || p != want {
			t.Errorf("%s is %q, inside %v; want %q", name, string(p), inside, string(want))
		}
	}
	for _, name := range []string{"", "/", "/data2", "/data/..", "/data/link/passwd"} {
		if p, inside := s.Locate(m.dir + name); inside {
			t.Errorf("%s is %q, and should be outside", name, string(p))
		}
	}
}
