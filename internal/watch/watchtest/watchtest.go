// Package watchtest is the conformance suite of the contract watch.Watcher. It drives real
// trees with a small consumer of its own, and asks what the rest of sersync builds on: who
// looks at what is reported, and walks where a directory came, knows the tree.
package watchtest

import (
	"testing"

	"sersync/internal/scan"
	"sersync/internal/watch"
)

// Open makes the watcher under test. The suite closes it, and root after it.
type Open func(root *scan.Root) (watch.Watcher, error)

// Run runs the suite. The test's temporary directory must lie on a file system that the
// watcher can watch.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"EachKindOfChangeIsReported", testKinds},
		{"ChangesAreReportedInOrder", testOrder},
		{"NestedDirectoriesMadeAtOnceAreSeenWhole", testNested},
		{"RenamedDirectoriesAreKnownByTheirNewPath", testRenames},
		{"ExchangedDirectoriesAreKnownByTheirNewPaths", testExchange},
		{"MovedOutAndInAgain", testMovedOut},
		{"RemovedAndMadeAgainWhileWriting", testMadeAgain},
		{"NamesOfAnyBytes", testHostileNames},
		{"SymlinksAreNotFollowed", testSymlinks},
		{"DirectoryMovedWhileItIsCovered", testMovedWhileCovered},
		{"DirectoryGoneWhileItIsCovered", testGoneWhileCovered},
		{"RootMoved", testRootMoved},
		{"RootRemoved", testRootRemoved},
		{"SyncIsABarrierUnderLoad", testSync},
		{"SyncWaitsForWhatIsQueuedBehindASlowSink", testSyncBehindSink},
		{"SyncEndsWithItsContext", testSyncContext},
		{"CoverDoesNotWaitForTheSink", testCoverBesideSink},
		{"NothingIsLeftAfterClose", testLeaks},
		{"RandomChangesByFourWriters", Random},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}
