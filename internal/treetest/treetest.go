// Package treetest compares directory trees and changes them at random, for tests of everything that replicates.
package treetest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Snapshot says of each path below dir what has to be equal on a target: type, mode, owner, mtime to the
// nanosecond, content, link target. The root is ".". Names that skip returns true for are left out with all below.
func Snapshot(t testing.TB, dir string, skip func(rel string) bool) map[string]string {
	t.Helper()
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
		snapshot[rel], err = describe(path)
		return err
	})
	if err != nil {
		t.Fatalf("take snapshot of %q: %v", dir, err)
	}
	return snapshot
}

func describe(path string) (string, error) {
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

func hash(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// Diff lists how two snapshots differ, at the most twenty lines; empty when they are equal.
func Diff(source, target map[string]string) string {
	var lines []string
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
	if len(lines) > 20 {
		lines = append(lines[:20], fmt.Sprintf("and %d more", len(lines)-20))
	}
	return strings.Join(lines, "\n")
}

// Equal fails the test when the trees differ.
func Equal(t testing.TB, source, target string, skip func(rel string) bool) {
	t.Helper()
	if diff := Diff(Snapshot(t, source, skip), Snapshot(t, target, skip)); diff != "" {
		t.Fatalf("target %q is not what source %q is:\n%s", target, source, diff)
	}
}
