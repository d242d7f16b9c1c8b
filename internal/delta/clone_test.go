package delta

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// newXFS is an empty file system whose files can share blocks.
func newXFS(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"truncate", "-s", "512M", image},
		{"mkfs.xfs", "-q", "-m", "reflink=1", image},
		{"mount", "-o", "loop", image, at},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	return at
}

func free(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

func TestWhatIsCopiedTakesNoRoomWhereFilesShareBlocks(t *testing.T) {
	dir := newXFS(t)
	r := rand.New(rand.NewPCG(8, 8))
	const size = 64<<20 + 999
	content := random(r, size)
	old, file := create(t, dir, "old"), bytes.Clone(content)
	writeAt(t, old, content, 0)
	copy(file[20_000_001:], random(r, 50_000))
	for name, file := range map[string][]byte{
		"changed":  file,
		"appended": join(content, random(r, 100_000)),
		"cut":      content[:30_000_001],
		"moved":    join(content[32<<20:64<<20], random(r, 4096), content[:32<<20]),
	} {
		t.Run(name, func(t *testing.T) {
			if err := unix.Syncfs(int(old.Fd())); err != nil {
				t.Fatal(err)
			}
			before := free(t, dir)
			out := create(t, dir, name)
			if _, err := transfer(out, bytes.NewReader(file), int64(len(file)), []Base{{File: old, Size: size}}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(read(t, out, int64(len(file))), file) {
				t.Error("content differs")
			}
			if err := unix.Syncfs(int(old.Fd())); err != nil {
				t.Fatal(err)
			}
			if took := before - free(t, dir); took > 4<<20 {
				t.Errorf("%d bytes of the disk", took)
			}
		})
	}
}
