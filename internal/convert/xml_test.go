package convert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sersync/internal/config"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Every confxml.xml there is in this repository: the YAML gives the very same sources and targets, or the file
// is refused for what `check` refuses it for.
func TestYAMLOfXMLIsTheSameConfiguration(t *testing.T) {
	files, err := filepath.Glob("../*/testdata/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	broken, err := filepath.Glob("../*/testdata/*/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, file := range append(append(files, broken...), "../../etc/confxml.xml") {
		data := read(t, file)
		want, _, wantErr := config.Parse(file, data)
		got, err := Convert(file, data, "/start")
		var invalid *config.InvalidError
		var syntax *config.SyntaxError
		switch {
		case wantErr != nil:
			if !errors.As(err, &invalid) && !errors.As(err, &syntax) {
				t.Errorf("%s: error %v, want that of check: %v", file, err, wantErr)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", file, err)
			continue
		}
		same++
		name := filepath.Join(t.TempDir(), "out.yaml")
		if err := os.WriteFile(name, got.YAML, 0o600); err != nil {
			t.Fatal(err)
		}
		compare(t, file, want, load(t, name))
	}
	if same < 5 {
		t.Errorf("%d files were converted", same)
	}
}

// load reads a file as sersync does; that this machine has not the sources is no problem here.
func load(t *testing.T, name string) *config.Config {
	t.Helper()
	c, _, err := config.Parse(name, read(t, name))
	if err != nil {
		t.Fatalf("%v\n%s", err, read(t, name))
	}
	return c
}

func compare(t *testing.T, file string, want, got *config.Config) {
	t.Helper()
	if len(want.Sources) != len(got.Sources) {
		t.Fatalf("%s: %d sources, want %d", file, len(got.Sources), len(want.Sources))
	}
	for i, s := range want.Sources {
		if a, b := s.Identity(), got.Sources[i].Identity(); a != b {
			t.Errorf("%s: source is\n%s\nwant\n%s", file, b, a)
		}
		if len(s.Hooks) != len(got.Sources[i].Hooks) {
			t.Fatalf("%s: hooks are %+v, want %+v", file, got.Sources[i].Hooks, s.Hooks)
		}
		for j, h := range s.Hooks {
			if h.Plugin.Name == "refreshCDN" {
				h.Plugin.PasswordFile = "/etc/sersync/refreshCDN.password"
			}
			if a, b := h.Identity(), got.Sources[i].Hooks[j].Identity(); a != b {
				t.Errorf("%s: hook is\n%s\nwant\n%s", file, b, a)
			}
		}
		for j, target := range s.Targets {
			if target.PasswordFile != "" && !filepath.IsAbs(target.PasswordFile) {
				target.PasswordFile = filepath.Join("/start", target.PasswordFile)
			}
			if a, b := target.Identity(), got.Sources[i].Targets[j].Identity(); a != b {
				t.Errorf("%s: target is\n%s\nwant\n%s", file, b, a)
			}
		}
	}
	if want.Log != got.Log || want.FailLog != got.FailLog || want.Runs != got.Runs {
		t.Errorf("%s: settings are %+v, want %+v", file, got, want)
	}
}

// What is not in the YAML is said, with its line, and stands in the YAML as a comment.
func TestWhatXMLLosesIsSaid(t *testing.T) {
	for file, notes := range map[string][]string{
		"testdata/shipped.xml": {
			`:6: notice: it has no effect: "host hostip=localhost port=8008": not used, as in 2.5.4`,
			`:10: notice: it has no effect, as <filter> is switched off: "exclude expression=(.*)\\.svn"`,
			`:34: notice: it has no effect, as it is switched off: "auth users=root passwordfile=/etc/rsync.pas"`,
			`:62: notice: the plugin is not started: "refreshCDN"`,
		},
		"testdata/everything.xml": {
			`:30: notice: an option of rsync that is not needed: "-v": it only changes what rsync prints`,
			`:30: notice: an option of rsync that is not needed: "--progress"`,
			`:44: warning: the plugin command would execute each file that arrives: "/bin/sh": name a program`,
		},
		"testdata/plugin-refreshCDN.xml": {
			`:11: warning: not carried over: the password of refreshCDN, which is looked for in "/etc/sersync/refreshCDN.password": write the password alone`,
		},
		"testdata/two-logins.xml": {
			`:5: warning: a relative path is written as /start/www2.pwd: "www2.pwd"`,
		},
		"testdata/order.xml": {`:5: notice: it has no effect, as it is switched off: "ssh port=2222"`},
	} {
		got, err := Convert(file, read(t, file), "/start")
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, note := range notes {
			if !strings.Contains(string(got.YAML), "\n#   "+file+note) {
				t.Errorf("%s: no comment says %s\n%s", file, note, got.YAML)
			}
			said := false
			for _, n := range got.Notes {
				said = said || strings.HasPrefix(n.String(), file+note)
			}
			if !said {
				t.Errorf("%s: no note says %s", file, note)
			}
		}
	}
}

// The password of a plugin is no business of a comment.
func TestNoPasswordIsInTheYAML(t *testing.T) {
	text := strings.ReplaceAll(string(read(t, "testdata/shipped.xml")), `passwd="xxxx"`, `passwd="s3cret"`)
	for _, start := range []string{"false", "true"} {
		started := strings.ReplaceAll(text, `<plugin start="false" name="command"/>`, `<plugin start="`+start+`" name="refreshCDN"/>`)
		got, err := Convert("confxml.xml", []byte(started), "/")
		if err != nil || strings.Contains(string(got.YAML), "s3cret") || strings.Contains(fmt.Sprint(got.Notes), "s3cret") {
			t.Errorf("%v\n%s", err, got.YAML)
		}
		if start == "true" && !strings.Contains(string(got.YAML), "refreshCDN.password") {
			t.Errorf("the YAML names no file for the password:\n%s", got.YAML)
		}
	}
}

// YAML holds characters, a path holds bytes: what cannot be written is refused, and not changed.
func TestNameThatYAMLCannotHoldIsRefused(t *testing.T) {
	text := "<head><sersync><localpath watch=\"/\xd6\xd0\"><remote ip='h' name='m'/></localpath></sersync></head>"
	if got, err := Convert("confxml.xml", []byte(text), "/"); err == nil || !strings.Contains(err.Error(), "no UTF-8") {
		t.Errorf("error %v\n%s", err, got.YAML)
	}
}
