package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	systemd "github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"sersync/internal/config"
)

// verified FILE: systemd understands the unit, without a warning. The programs that it starts must be there.
func verified(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: verified FILE")
	}
	if out := verify(ts.MkAbs(args[0])); out != "" {
		ts.Fatalf("%s: %s", args[0], out)
	}
}

// verify is what systemd has to say against a unit. On a machine without systemd it is what a parser of units has.
func verify(file string) string {
	text, err := os.ReadFile(file)
	if err == nil {
		_, err = systemd.DeserializeOptions(bytes.NewReader(text))
	}
	if err != nil {
		return err.Error()
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return ""
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	var against []string
	name, _, _ := strings.Cut(filepath.Base(file), "@")
	for line := range strings.Lines(string(out)) {
		// Other units, which it reads too, are no business of ours.
		if strings.Contains(line, strings.TrimSuffix(name, ".service")) {
			against = append(against, line)
		}
	}
	if err != nil && len(out) == 0 {
		against = append(against, err.Error())
	}
	return strings.Join(against, "")
}

const unitDir = "../../etc/systemd"

func readUnit(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(unitDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSystemdUnderstandsTheUnitsOfThePackages(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sersync.service", "sersync@.service", "sersync-receive.service"} {
		file := filepath.Join(t.TempDir(), name)
		text := strings.ReplaceAll(readUnit(t, name), "/usr/bin/sersync", program)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := verify(file); out != "" {
			t.Errorf("%s: %s", name, out)
		}
		wrong := strings.Replace(text, "\nKillMode=", "\nKilMode=", 1)
		if err := os.WriteFile(file, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath("systemd-analyze"); err == nil && verify(file) == "" {
			t.Errorf("%s: a key that does not exist is not found", name)
		}
	}
}

// unitSections are those of a unit without its comments.
func unitSections(t *testing.T, text string) []*systemd.UnitOption {
	t.Helper()
	options, err := systemd.DeserializeOptions(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return options
}

func TestTheTemplateIsTheUnitButForTheFile(t *testing.T) {
	one := strings.NewReplacer("/etc/sersync/sersync.yaml", "/etc/sersync/%i", "directory trees\n", "directory trees (%i)\n").
		Replace(readUnit(t, "sersync.service"))
	if diff := cmp.Diff(unitSections(t, one), unitSections(t, readUnit(t, "sersync@.service"))); diff != "" {
		t.Errorf("sersync@.service differs from sersync.service (-one +template):\n%s", diff)
	}
}

// A unit that is installed is that of the packages, but for what it starts.
func TestAnInstalledUnitIsHardenedAsThatOfThePackages(t *testing.T) {
	packaged := strings.NewReplacer("/usr/bin/sersync run --fill /etc/sersync/sersync.yaml", `/opt/sersync run --fill "/a b.yaml"`, "=/etc/sersync/sersync.yaml", "=/a b.yaml").
		Replace(readUnit(t, "sersync.service"))
	u := unit{name: "x", program: "/opt/sersync", config: "/a b.yaml"}
	if diff := cmp.Diff(unitSections(t, packaged), unitSections(t, u.text())); diff != "" {
		t.Errorf("(-package +installed):\n%s", diff)
	}
}

func parsed(t *testing.T, source, target string) *config.Config {
	t.Helper()
	text := fmt.Sprintf("sources: [{path: %q, targets: [{url: %q}]}]", source, target)
	cfg, _, err := config.Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestAUnitLeavesWhatAConfigurationNeeds(t *testing.T) {
	for name, test := range map[string]struct {
		path, target string
		want         []string
	}{
		"nothing":             {"/data", "/backup", []string{"PrivateTmp=yes", "ProtectSystem=full"}},
		"a source in /tmp":    {"/tmp/data", "/backup", []string{"PrivateTmp=no", "ProtectSystem=full"}},
		"a target in /etc":    {"/data", "/etc/backup", []string{"PrivateTmp=yes", "ProtectSystem=no"}},
		"a source in /etc":    {"/etc", "/backup", []string{"PrivateTmp=yes", "ProtectSystem=full"}},
		"a name that is like": {"/tmpfiles", "/usr2", []string{"PrivateTmp=yes", "ProtectSystem=full"}},
	} {
		t.Run(name, func(t *testing.T) {
			u := unit{name: "x", program: "/usr/bin/sersync", config: "/etc/sersync/x.yaml"}
			if err := u.settle(parsed(t, test.path, test.target)); err != nil {
				t.Fatal(err)
			}
			for _, line := range test.want {
				if !strings.Contains(u.text(), "\n"+line+"\n") {
					t.Errorf("no line %s", line)
				}
			}
		})
	}
}
