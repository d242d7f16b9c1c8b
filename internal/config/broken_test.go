package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each broken configuration brings exactly the messages of its golden file, all at once.
func TestBrokenConfigurationsSayWhatIsWrong(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.[xy]*ml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got := messages(t, file)
			golden := file + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, "secret") {
				t.Error("a message holds a password")
			}
		})
	}
}

func messages(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, problems, err := Parse(filepath.Base(file), data)
	if err == nil || c != nil {
		t.Errorf("config %v, error %v, want an error alone", c, err)
	}
	var lines []string
	var syntax *SyntaxError
	var invalid *InvalidError
	switch {
	case errors.As(err, &syntax):
		lines = append(lines, "syntax: "+err.Error())
	case !errors.As(err, &invalid):
		t.Errorf("error %T %v", err, err)
	}
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n") + "\n"
}
