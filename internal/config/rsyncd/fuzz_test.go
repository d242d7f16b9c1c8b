package rsyncd

import (
	"errors"
	"path/filepath"
	"testing"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/filter"
)

func pathOf(name string) change.Path { return change.Path(name) }

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "[", "[a]", "a", "=", "\\", "a = \\\n", "[a]\npath = /tmp\n",
		"uid = nobody\ngid = *\n[a]\npath = /tmp\nauth users = a:rw, @b:deny\nsecrets file = /dev/null\n",
		"[a]\npath=/tmp\nhosts allow = 10.0.0.0/255.255.0.0, ::1/128 *.example fe80::1%eth0\n",
		"exclude = - a + b /c/*** !\nexclude from = /x\n[global]\n&include /x\n&merge /y\n[x]\n",
		"refuse options = * !delete [\ntimeout = -1\nport = 0\n[m]\nread only = unset\n",
	} {
		f.Add([]byte(seed))
	}
	none := func(string) ([]byte, error) { return nil, errors.New("no file") }
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems, err := parse("/nowhere/conf", data, Certificates{}, none)
		var invalid *config.InvalidError
		if (c == nil) != errors.As(err, &invalid) {
			t.Fatalf("config %v, error %v", c, err)
		}
		for _, p := range problems {
			if p.What == "" || p.Place.File == "" {
				t.Errorf("problem %+v says nothing", p)
			}
		}
		if c == nil {
			return
		}
		for _, m := range c.Modules {
			if m.Name == "" || !filepath.IsAbs(m.Path) || m.Path == "/" || !m.Anonymous && len(m.Secrets) == 0 {
				t.Errorf("module %+v", m)
			}
			if _, err := filter.New(m.Exclude...); err != nil {
				t.Errorf("exclude of a good configuration: %v", err)
			}
		}
	})
}
