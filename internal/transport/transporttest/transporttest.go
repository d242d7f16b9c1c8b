// Package transporttest is the conformance suite of the transport contract. Every implementation runs it.
package transporttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
)

// Target is what a test of the suite works on.
type Target struct {
	Transport transport.Transport
	// Dir is where what the transport sends arrives; empty at the start.
	Dir string
}

// Run runs the suite. start makes a fresh empty target; the suite closes its transport.
func Run(t *testing.T, start func(t *testing.T) Target) {
	run(t, start, []testCase{
		{"UpdateSendsWhatIsThere", updateSends},
		{"UpdateOfADirectoryLeavesItsContentAlone", updateDirectory},
		{"UpdateThatKeepsRemovesNothing", updateKeeps},
		{"UpdateOfTheRootSendsItsAttributesAlone", updateRoot},
		{"UpdateLeavesWhatIsMissingAtTheSource", updateMissing},
		{"UpdateSendsAnOlderFile", updateOlder},
		{"UpdateSendsARewriteOfTheSameSizeInTheSameSecond", updateSameSecond},
		{"UpdateReplacesOneTypeByAnother", updateTypes},
		{"UpdateContentFindsWhatSizeAndTimeHide", updateContent},
		{"UpdateLargeSendsAndTellsItsProgress", updateLarge},
		{"UpdateTwiceIsHarmless", updateTwice},
		{"NamesAreBytes", namesAreBytes},
		{"RemoveRemovesTreesAndWhatIsGone", removeTrees},
		{"RemoveExactLeavesWhatIsNotListed", removeExact},
		{"RemoveExactTakesNamesAsTheyAre", removeExactNames},
		{"SweepFindsEveryDifference", sweepFinds},
		{"SweepStaysBelowItsDirectories", sweepUnder},
		{"ShallowSweepStaysInItsDirectories", sweepShallow},
		{"SweepOfEqualTreesIsSilentAndChangesNothing", sweepEqual},
		{"SweepTellsWhatIsMissing", sweepTellsMissing},
		{"SweepByContentFindsWhatSizeAndTimeHide", sweepContent},
		{"SweepEndsWithTheErrorOfYield", sweepYield},
		{"CancelledContextEndsAtOnce", cancelled},
		{"TwoBatchesAndTwoSweepsAtATime", together},
		{"CheckLogsInAndChangesNothing", check},
	})
}

// testCase is one of a suite.
type testCase struct {
	name string
	run  func(*testing.T, *bench)
}

func run(t *testing.T, start func(t *testing.T) Target, tests []testCase) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := start(t)
			b := &bench{T: t, Target: target, src: t.TempDir()}
			root, err := os.Open(b.src)
			if err != nil {
				t.Fatal(err)
			}
			b.root = root
			t.Cleanup(func() {
				if err := target.Transport.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				root.Close()
			})
			test.run(t, b)
		})
	}
}

// bench is one test's source and target.
type bench struct {
	*testing.T
	Target
	src  string
	root *os.File
}

// when is a time of the past with nanoseconds, so that it differs from that of a fresh file.
var when = time.Date(2021, 2, 3, 4, 5, 6, 123456789, time.UTC)

// write writes a file below dir, with parents.
func (b *bench) write(dir, name, content string) {
	b.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// apply applies a batch that must succeed path by path.
func (b *bench) apply(op transport.Op, paths ...change.Path) transport.Report {
	b.Helper()
	report, err := b.Transport.Apply(b.Context(), transport.Batch{Op: op, Root: b.root, Paths: paths})
	if err != nil {
		b.Fatalf("%v %v: %v", op, paths, err)
	}
	for _, f := range report.Failed {
		b.Errorf("%v %v failed: %v", op, f.Path, f.Err)
	}
	return report
}

// sweep is what a sweep finds, sorted, an extra with a minus sign before it.
func (b *bench) sweep(extras bool, under ...change.Path) []string {
	b.Helper()
	return b.sweepOf(transport.Sweep{Under: under, Extras: extras})
}

func (b *bench) sweepOf(s transport.Sweep) []string {
	b.Helper()
	s.Root = b.root
	var found []string
	err := b.Transport.Sweep(b.Context(), s, func(d transport.Difference) error {
		s := string(d.Path)
		if d.Extra {
			s = "-" + s
		}
		if d.Dir {
			s += "/"
		}
		if d.Size > 0 {
			s += fmt.Sprintf(" %d", d.Size)
		}
		found = append(found, s)
		return nil
	})
	if err != nil {
		b.Fatalf("sweep: %v", err)
	}
	slices.Sort(found)
	return found
}

// equal compares the trees of source and target, names, types, modes, times, contents.
func (b *bench) equal() {
	b.Helper()
	if diff := cmp.Diff(Tree(b, b.src), Tree(b, b.Dir)); diff != "" {
		b.Errorf("the target is not the source (-source +target):\n%s", diff)
	}
}

func (b *bench) targetHas(name, content string) {
	b.Helper()
	got, err := os.ReadFile(filepath.Join(b.Dir, name))
	if err != nil || string(got) != content {
		b.Errorf("target %q: got %q, %v; want %q", name, got, err, content)
	}
}

func (b *bench) targetLacks(name string) {
	b.Helper()
	if _, err := os.Lstat(filepath.Join(b.Dir, name)); !os.IsNotExist(err) {
		b.Errorf("target still has %q (%v)", name, err)
	}
}

// all are the paths of everything below the source's root.
func (b *bench) all() []change.Path {
	b.Helper()
	var paths []change.Path
	for p := range Tree(b, b.src) {
		if p != "." {
			paths = append(paths, change.Path(p))
		}
	}
	return paths
}

// Tree describes everything below dir but its trash and temporary names, by path; dir itself is ".". Two trees that are equal
// for P1 have equal descriptions.
func Tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if name == filter.TrashName {
			return filepath.SkipDir
		}
		if strings.HasPrefix(filepath.Base(name), filter.TempPrefix) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil // what a loss of power would need, for some seconds
		}
		tree[name], err = describe(path)
		return err
	})
	if err != nil {
		t.Fatalf("describe tree: %v", err)
	}
	return tree
}

func describe(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	s := change.StatOf(&st)
	d := fmt.Sprintf("mode %o owner %d:%d mtime %d", s.Mode, s.UID, s.GID, s.Mtime)
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err := os.ReadFile(path)
		return fmt.Sprintf("%s content %.80q size %d", d, content, len(content)), err
	case unix.S_IFLNK:
		to, err := os.Readlink(path)
		return d + " to " + to, err
	}
	return d, nil
}

// hostile are names that something on the way may take for something else.
func hostile() []string {
	return []string{
		"#x", ";y", "-rf", "--delete", " lead", "trail ", "new\nline", "tab\t", "*", "?", "[a]", "br[1]", `back\slash`, `\#012`, `\*`,
		`"quoted"`, "'single'", "$(reboot)", "`reboot`", "a|b", "a -> b", "\xff\xfe invalid", "日本", ".hidden", "~tilde", "a:b", "rsync:", "@at",
		strings.Repeat("n", 255), "cr\rreturn", "esc\x1b[31m", "deleting x", "(code 23)",
	}
}

func ctxCancelled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
