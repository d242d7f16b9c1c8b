package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/filter"
)

// sound checks what holds of whatever was parsed.
func sound(t *testing.T, file string, data []byte) {
	c, problems, err := Parse(file, data)
	var syntax *SyntaxError
	var invalid *InvalidError
	switch {
	case (c == nil) != (err != nil):
		t.Fatalf("config %v, error %v", c, err)
	case err != nil && !errors.As(err, &syntax) && !errors.As(err, &invalid):
		t.Fatalf("error %T %v", err, err)
	case failed(problems) != (invalid != nil):
		t.Fatalf("problems %v, error %v", problems, err)
	}
	for _, p := range problems {
		if p.What == "" || p.String() == "" {
			t.Errorf("problem %+v says nothing", p)
		}
	}
	if c == nil {
		return
	}
	for _, s := range c.Sources {
		if !filepath.IsAbs(s.Path) || s.Path == "/" || len(s.Targets) == 0 && len(s.Hooks) == 0 {
			t.Errorf("source %+v", s)
		}
		if _, err := filter.New(s.Rules...); err != nil {
			t.Errorf("filter of a good configuration: %v", err)
		}
		for _, h := range s.hooks() {
			actions := 0
			for _, is := range []bool{h.Run != nil, h.Post != nil, h.Purge != nil, h.Plugin != nil} {
				if is {
					actions++
				}
			}
			if actions != 1 || h.Name == "" || h.On == "" || h.Timeout <= 0 || h.Batch.Paths <= 0 {
				t.Errorf("hook %+v", h)
			}
		}
		for _, target := range s.Targets {
			if target.Kind == 0 || target.Path == "" || target.Timeout <= 0 || target.Host != "" && target.Host[0] == '-' {
				t.Errorf("target %+v", target)
			}
		}
	}
}

func addFiles(f *testing.F, pattern string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatal(pattern, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzXML(f *testing.F) {
	addFiles(f, "testdata/broken/*.xml")
	addFiles(f, "../../etc/*.xml")
	f.Fuzz(func(t *testing.T, data []byte) { sound(t, "f.xml", data) })
}

func FuzzYAML(f *testing.F) {
	addFiles(f, "testdata/broken/*.yaml")
	addFiles(f, "../../etc/*.yaml")
	f.Fuzz(func(t *testing.T, data []byte) { sound(t, "f.yaml", data) })
}

func FuzzOptionsOfRsync(f *testing.F) {
	for _, s := range []string{"-artuz", "-e 'ssh -p 2'", "--chmod=D755 --x", "-B1 -@2", `"a\`, "--no-p --no-", "-\xff", "-", "--", "-M--x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, _ := readParams(text)
		for _, p := range s.Params {
			if len(p) < 2 || p[0] != '-' {
				t.Errorf("%q passes on %q", text, p)
			}
		}
	})
}
