package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTransfersAreReadFromTheDaemonsLog(t *testing.T) {
	before := "2026/01/02 03:04:05 [7] item <f+++++++++ before\n"
	log := before + `2026/01/02 03:04:05 [7] connect from localhost (127.0.0.1)
2026/01/02 03:04:05 [7] receiving file list
2026/01/02 03:04:05 [7] item <f+++++++++ a b
2026/01/02 03:04:06 [8] item >f..t...... a b
2026/01/02 03:04:06 [8] item .d..t...... dir/
2026/01/02 03:04:06 [8] item *deleting   gone
2026/01/02 03:04:06 [8] sent 87 bytes  received 863 bytes  total size 4096
`
	s := &site{dir: t.TempDir()}
	if place, err := s.logEnd(); place != 0 || err != nil {
		t.Errorf("a log that is not there ends at %d, %v", place, err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "rsyncd.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.transfersSince(int64(len(before)))
	if err != nil {
		t.Fatal(err)
	}
	want := transfers{
		files: 2, others: 1, removed: 1, connects: 1,
		names: map[string]bool{"a b": true}, example: ".d..t...... dir/",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(transfers{})); diff != "" {
		t.Errorf("read from the log (-want +got):\n%s", diff)
	}
}
