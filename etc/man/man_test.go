package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sersync/internal/cli"
)

// There is a page for each command a person may call, and the overview keeps its lines.
func TestEveryCommandHasAPage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	for _, c := range cli.Commands().Commands() {
		if c.IsAvailableCommand() && !strings.Contains(read("sersync-"+c.Name()+".1"), strings.ReplaceAll(c.Short, "-", `\-`)) {
			t.Errorf("the page of %s does not say what it does", c.Name())
		}
	}
	overview := read("sersync.1")
	for _, line := range []string{`-r         compare everything`, "255  the configuration is missing"} {
		if !strings.Contains(strings.ReplaceAll(overview, `\-`, "-"), line) {
			t.Errorf("sersync.1 does not say %q\n%s", line, overview)
		}
	}
}
