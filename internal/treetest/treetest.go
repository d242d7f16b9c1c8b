// Package treetest compares directory trees and changes them at random, for tests of everything that replicates.
package treetest

import (
	"testing"

	"sersync/internal/tree"
)

// Writer changes a tree at random.
type Writer = tree.Writer

// NewWriter makes a writer of the tree at dir.
func NewWriter(dir string, seed, stream uint64) *Writer { return tree.NewWriter(dir, seed, stream) }

// Snapshot says of each path below dir what has to be equal on a target. The root is ".". Names that skip returns true
// for are left out with all below.
func Snapshot(t testing.TB, dir string, skip func(rel string) bool) map[string]string {
	t.Helper()
	snapshot, err := tree.Snapshot(dir, skip)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// Diff lists how two snapshots differ, at the most twenty paths; empty when they are equal.
func Diff(source, target map[string]string) string { return tree.Diff(source, target) }

// Equal fails the test when the trees differ.
func Equal(t testing.TB, source, target string, skip func(rel string) bool) {
	t.Helper()
	if diff := Diff(Snapshot(t, source, skip), Snapshot(t, target, skip)); diff != "" {
		t.Fatalf("target %q is not what source %q is:\n%s", target, source, diff)
	}
}
