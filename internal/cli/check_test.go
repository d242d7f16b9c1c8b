package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine are problems of the machine that the test runs on: the broken files name directories that may be missing.
var machine = regexp.MustCompile(`(?m)^.*: (?:warning: )?(?:source|password file|url_file of|others can read) .*\n`)

// check says to a person what the configuration says is wrong with it, all at once, word by word, with the codes of 2.5.4.
func TestCheckSaysAllThatIsWrongWithAConfiguration(t *testing.T) {
	t.Chdir("../config/testdata/broken")
	files, err := filepath.Glob("*.[xy]*ml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			golden, err := os.ReadFile(file + ".golden")
			if err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			code := Main(t.Context(), []string{"check", "--offline", file}, &out, &errs)
			want, wantCode, got := string(golden), 1, machine.ReplaceAllString(out.String(), "")
			if message, syntax := strings.CutPrefix(want, "syntax: "); syntax {
				want, wantCode, got = "sersync: error: "+message, 255, errs.String()
			} else if !strings.Contains(errs.String(), file+" cannot be used: ") {
				t.Errorf("error %s", &errs)
			}
			if code != wantCode {
				t.Errorf("exit code %d, want %d", code, wantCode)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}
