package mixed

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/scan"
	"sersync/internal/watch"
	"sersync/internal/watch/watchtest"
)

func TestExportWatchedByInotifyIsAGap(t *testing.T) {
	for _, c := range []struct {
		name, method string
		// export is below the root, or the root itself, or above it.
		export string
		want   []change.Path
	}{
		{"the root", watch.Inotify, ".", []change.Path{""}},
		{"above it", watch.Inotify, "..", []change.Path{""}},
		{"below it", watch.Inotify, "a/b", []change.Path{"a/b"}},
		{"elsewhere", watch.Inotify, "../other", nil},
		{"by fanotify", watch.Fanotify, ".", nil},
		{"by the best", "", ".", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := filepath.Join(t.TempDir(), "etab")
			rig := watchtest.NewRig(t, func(root *scan.Root) (watch.Watcher, error) {
				return New(root, Options{Method: c.method, Exports: []string{table}, Log: slog.New(slog.DiscardHandler)})
			})
			rig.Mkdir("a/b")
			rig.Equal()
			if gaps := rig.Watcher.Status().Gaps; len(gaps) > 0 {
				t.Errorf("before it is exported: %+v", gaps)
			}
			must(t, os.WriteFile(table, []byte(rig.Path(c.export)+"\t*(rw)\n"), 0o644))
			var got []change.Path
			for _, g := range rig.Watcher.Status().Gaps {
				got = append(got, g.Path)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("gaps (-want +got):\n%s", diff)
			}
			rig.Seen()
			rig.Settle()
			for _, p := range c.want {
				rig.AwaitEvent(watch.Look, p)
			}
		})
	}
}
