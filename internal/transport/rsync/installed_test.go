package rsync

import (
	"strings"
	"testing"
)

func TestInstalledNamesWhatAnOldRsyncLacks(t *testing.T) {
	for version, want := range map[string]string{
		"3.0.9": "remove single paths; compared by content", "3.1.2": "compared by content", "3.1.3": "", "3.5.0": "", "": "",
	} {
		got := strings.Join(lacks(version), "; ")
		for part := range strings.SplitSeq(want, "; ") {
			if !strings.Contains(got, part) {
				t.Errorf("%q: %s", version, got)
			}
		}
		if want == "" && got != "" {
			t.Errorf("%q: %s", version, got)
		}
	}
	p, err := Installed(t.Context())
	if err != nil || p.Version == "" || !strings.HasSuffix(p.Path, "/rsync") {
		t.Errorf("%+v, %v", p, err)
	}
}
