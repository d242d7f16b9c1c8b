package rsync

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// A batch whose list is long goes by arguments. Names are data there, too.
func TestLongBatchesGoByArgumentsAndNamesAreData(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	odd := []string{"-rf", "--delete", "--", "*", "br[1]", "a b", " lead", "trail ", "new\nline", "#x", ";y", "\xff", "~", "a:b", "::m", "rsync:"}
	var paths []change.Path
	for i := range 400 {
		dir := fmt.Sprintf("d%d", i%20)
		name := fmt.Sprintf("%s%d", odd[i%len(odd)], i)
		r.write(r.src, filepath.Join(dir, name), name)
		paths = append(paths, change.Path(dir+"/"+name))
	}
	r.write(r.src, "d0/not-listed", "x")
	list := listOf(update, paths)
	if !argsPay(update, list) {
		t.Fatalf("a list of %d bytes is not passed as arguments: nothing is shown", len(list))
	}
	r.mustApply(transport.Update, paths...)
	for _, p := range paths {
		r.dstHas(string(p), p.Name())
	}
	r.dstLacks("d0/not-listed")
	for _, p := range paths {
		if err := os.Remove(filepath.Join(r.src, string(p))); err != nil {
			t.Fatal(err)
		}
	}
	r.mustApply(transport.Update, paths...)
	r.dstHas(string(paths[0]), paths[0].Name())
	r.mustApply(transport.Remove, paths...)
	for _, p := range paths {
		r.dstLacks(string(p))
	}
}
