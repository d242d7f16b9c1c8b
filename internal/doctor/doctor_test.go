package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/transport"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(text), 0o600))
}

// configured is an examination of a configuration, on this very machine.
func configured(t *testing.T, text string) *examination {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, text)
	cfg, problems, err := config.Parse(file, []byte(text))
	if err != nil {
		t.Fatalf("%v: %v", err, problems)
	}
	return &examination{Options: Options{
		File: file, Config: cfg, Proc: "/proc", Fstab: filepath.Join(t.TempDir(), "no-fstab"),
		Open: func(t config.Target) (transport.Transport, error) {
			return daemon.NewTransport(t, daemon.TransportOptions{})
		},
	}}
}

// want fails the test unless there is a finding of the level that says the text, with a remedy that says the other one.
func want(t *testing.T, p Part, level Level, check, text, remedy string) {
	t.Helper()
	found := slices.ContainsFunc(p.Findings, func(f Finding) bool {
		return f.Level == level && f.Check == check && strings.Contains(f.What, text) && strings.Contains(f.Remedy, remedy)
	})
	if !found {
		t.Errorf("no %s %q that says %q, remedy %q, in %s", level, check, text, remedy, listed(p))
	}
}

// noWorse fails the test when there is a finding worse than a note.
func noWorse(t *testing.T, p Part) {
	t.Helper()
	for _, f := range p.Findings {
		if f.Level == Warning || f.Level == Problem {
			t.Errorf("%s: %s, remedy: %s", f.Level, f.What, f.Remedy)
		}
	}
}

func listed(p Part) string {
	var b strings.Builder
	b.WriteString(p.Kind + " " + p.Name)
	for _, f := range p.Findings {
		b.WriteString("\n\t" + string(f.Level) + " " + f.Check + ": " + f.What + " | " + f.Remedy)
	}
	return b.String()
}

func TestWhatAnotherMachineSaysDoesNotReachTheTerminal(t *testing.T) {
	var p Part
	p.add(Problem, "x", "", "%s", "a\x1b[2Jb\nc")
	if got := p.Findings[0].What; got != "a [2Jb c" {
		t.Errorf("%q", got)
	}
}
