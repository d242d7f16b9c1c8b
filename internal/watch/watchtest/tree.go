package watchtest

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Path is the name of p for the system.
func (r *Rig) Path(p string) string { return filepath.Join(r.Dir, p) }

// Write makes or overwrites the file p.
func (r *Rig) Write(p, text string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.Path(p), []byte(text), 0o644))
}

// Mkdir makes the directory p and its parents.
func (r *Rig) Mkdir(p string) {
	r.t.Helper()
	must(r.t, os.MkdirAll(r.Path(p), 0o755))
}

// Rename renames p to q.
func (r *Rig) Rename(p, q string) {
	r.t.Helper()
	must(r.t, os.Rename(r.Path(p), r.Path(q)))
}

func (r *Rig) exchange(p, q string) {
	r.t.Helper()
	must(r.t, unix.Renameat2(unix.AT_FDCWD, r.Path(p), unix.AT_FDCWD, r.Path(q), unix.RENAME_EXCHANGE))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
