// Package tree changes directory trees at random and says in what two of them differ. It is for tests, and for the
// torture that users run; it is no step of the path of a change.
package tree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Snapshot says of each path below dir what has to be equal on a target: type, mode, owner, mtime to the
// nanosecond, content, link target. The root is ".". Names that skip returns true for are left out with all below.
func Snapshot(dir string, skip func(rel string) bool) (map[string]string, error) {
	snapshot := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if skip != nil && rel != "." && skip(rel) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		snapshot[rel], err = Describe(path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take snapshot of %q: %w", dir, err)
	}
	return snapshot, nil
}

// Describe is what Snapshot says of one path.
func Describe(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	st := info.Sys().(*syscall.Stat_t)
	line := fmt.Sprintf("%v %d:%d mtime=%d.%09d", info.Mode(), st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	switch {
	case info.Mode().IsRegular():
		sum, err := hash(path)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" size=%d %x", st.Size, sum[:8])
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" -> %q", to)
	}
	return line, nil
}

func hash(path string) (sum []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// Differences lists in what two snapshots differ, one text for each path; empty when they are equal.
func Differences(source, target map[string]string) (lines []string) {
	for _, p := range slices.Sorted(maps.Keys(source)) {
		switch there, ok := target[p]; {
		case !ok:
			lines = append(lines, fmt.Sprintf("missing  %q: %s", p, source[p]))
		case there != source[p]:
			lines = append(lines, fmt.Sprintf("differs  %q:\n    source %s\n    target %s", p, source[p], there))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(target)) {
		if _, ok := source[p]; !ok {
			lines = append(lines, fmt.Sprintf("extra    %q: %s", p, target[p]))
		}
	}
	return lines
}

// diffMax bounds what Diff says.
const diffMax = 20

// Diff is Differences as one text of at the most twenty paths.
func Diff(source, target map[string]string) string {
	lines := Differences(source, target)
	if len(lines) > diffMax {
		lines = append(lines[:diffMax], fmt.Sprintf("and %d more", len(lines)-diffMax))
	}
	return strings.Join(lines, "\n")
}
