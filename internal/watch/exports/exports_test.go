package exports

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
)

func TestTablesOfTheKernelAndOfExportfsAreRead(t *testing.T) {
	dir := t.TempDir()
	etab, kernel := filepath.Join(dir, "etab"), filepath.Join(dir, "exports")
	for name, text := range map[string]string{
		etab:   "/srv/data\t192.168.0.0/16(rw,sync,no_subtree_check)\n/srv/with\\040space\t*(ro)\n",
		kernel: "# Version 1.1\n# Path Client(Flags) # IPs\n/srv/data\t192.168.0.0/16(rw,uuid=1:2)\n/\t*(ro,fsid=0)\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read([]string{etab, kernel, filepath.Join(dir, "none")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/", "/srv/data", "/srv/with space"}, got); diff != "" {
		t.Errorf("exports (-want +got):\n%s", diff)
	}
	for top, want := range map[string][]change.Path{
		"/":              {"", "srv/data", "srv/with space"},
		"/srv":           {"", "data", "with space"},
		"/srv/data/deep": {""},
		"/srv/data2":     {""},
		"/srv/with":      {""},
	} {
		if diff := cmp.Diff(want, Within(got, top)); diff != "" {
			t.Errorf("exports in %s (-want +got):\n%s", top, diff)
		}
	}
}
