package perm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestChmodDoesWhatItSays(t *testing.T) {
	for _, c := range []struct {
		text       string
		mode, want uint32
	}{
		{"D755,F644", unix.S_IFDIR | 0o700, unix.S_IFDIR | 0o755},
		{"D755,F644", unix.S_IFREG | 0o4711, unix.S_IFREG | 0o644},
		{"D2775", unix.S_IFDIR, unix.S_IFDIR | 0o2775},
		{"Du=rwx,Dgo=rx,Fu=rw,Fgo=r", unix.S_IFREG | 0o777, unix.S_IFREG | 0o644},
		{"a+X", unix.S_IFREG | 0o644, unix.S_IFREG | 0o644},
		{"a+X", unix.S_IFREG | 0o744, unix.S_IFREG | 0o755},
		{"a+X", unix.S_IFDIR, unix.S_IFDIR | 0o111},
		{"u+x,g+X", unix.S_IFREG, unix.S_IFREG | 0o100}, // X is of what it had before
		{"ug+s,o+t", unix.S_IFDIR | 0o755, unix.S_IFDIR | 0o7755},
		{"g=s", unix.S_IFDIR | 0o777, unix.S_IFDIR | 0o2707},
		{"+w", unix.S_IFREG | 0o444, unix.S_IFREG | 0o644}, // the umask keeps the others from it
		{"g=u,o-g", unix.S_IFREG | 0o2754, unix.S_IFREG | 0o770},
		{"go-rwx", unix.S_IFIFO | 0o666, unix.S_IFIFO | 0o600},
		{"a=", unix.S_IFLNK | 0o777, unix.S_IFLNK | 0o777},
	} {
		changes, err := ParseChmod(c.text, 0o022)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if got := changes.Apply(c.mode); got != c.want {
			t.Errorf("%s makes %#o of %#o, want %#o", c.text, got, c.mode, c.want)
		}
	}
}

func TestChmodRefusesWhatRsyncRefuses(t *testing.T) {
	for _, text := range []string{"", "D", "u", "u755", "DF755", "F8", "77777", "u+q", "x+u", "D755,,F644", "u=gr", "u=ro"} {
		if _, err := ParseChmod(text, 0); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// What rsync itself makes of the same words is what we make of them.
func TestChmodIsThatOfRsync(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 2))
	pick := func(of string) string { return string(of[random.IntN(len(of))]) }
	for range 40 {
		var parts []string
		for range 1 + random.IntN(3) {
			part := []string{"", "D", "F"}[random.IntN(3)]
			if random.IntN(4) == 0 {
				part += fmt.Sprintf("%o", random.IntN(0o10000))
			} else {
				part += []string{"", "u", "g", "o", "a", "ug", "go"}[random.IntN(7)] + pick("+-=")
				if random.IntN(4) == 0 {
					part += pick("ugo")
				} else {
					for range random.IntN(4) {
						part += pick("rwxXst")
					}
				}
			}
			parts = append(parts, part)
		}
		sameAsRsync(t, strings.Join(parts, ","), random)
	}
}

func sameAsRsync(t *testing.T, text string, random *rand.Rand) {
	t.Helper()
	from, to := t.TempDir(), t.TempDir()
	modes := make(map[string]uint32)
	for i := range 8 {
		name, mode := fmt.Sprintf("f%d", i), uint32(random.IntN(0o10000))
		path := filepath.Join(from, name)
		err := os.WriteFile(path, nil, 0o600)
		if i < 3 {
			err = os.Mkdir(path+"d", 0o700)
			path, name = path+"d", name+"d"
		}
		if err == nil {
			err = unix.Chmod(path, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		modes[name] = st.Mode
	}
	umask := unix.Umask(0)
	unix.Umask(umask)
	// -og keeps the modes of who is not root from depending on anything else.
	out, err := exec.Command("rsync", "-rpog", "--chmod="+text, from+"/", to).CombinedOutput()
	if err != nil {
		t.Fatalf("rsync --chmod=%s: %v %s", text, err, out)
	}
	changes, err := ParseChmod(text, uint32(umask))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for name, mode := range modes {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(to, name), &st); err != nil {
			t.Fatal(err)
		}
		if got := changes.Apply(mode); got != st.Mode {
			t.Errorf("%s makes %#o of %#o, and with rsync %#o", text, got, mode, st.Mode)
		}
	}
}
