package rsync

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/confine"
	"sersync/internal/transport"
)

// minSettle is the shortest time after which a receiver that we lost is taken for gone.
const minSettle = time.Minute

// Transport is one target reached by rsync.
type Transport struct {
	o        Options
	warm     *warm
	standing standing

	mu      sync.Mutex
	spawner *spawner // guarded by mu; nil until the first run
	dialect dialect  // guarded by mu
}

var _ transport.Transport = (*Transport)(nil)

// Apply implements transport.Transport. A report of success never outlives a doubt: what is not
// understood in rsync's messages fails the batch.
func (t *Transport) Apply(ctx context.Context, b transport.Batch) (transport.Report, error) {
	var report transport.Report
	err := t.applyTo(ctx, b, &report)
	if err != nil {
		t.standing.forget()
	}
	return report, err
}

func (t *Transport) applyTo(ctx context.Context, b transport.Batch, report *transport.Report) error {
	if b.Op == transport.Remove || b.Op == transport.RemoveExact {
		t.standing.gone(b.Paths)
	}
	if b.Op == transport.RemoveExact {
		return t.removeExact(ctx, b, report)
	}
	paths := b.Paths
	root := slices.Index(paths, change.Root)
	if root >= 0 {
		paths = slices.Delete(slices.Clone(paths), root, root+1)
	}
	if len(paths) > 0 && t.o.Trash && b.Op != transport.Remove {
		return t.updateSparing(ctx, b, paths, report)
	}
	if len(paths) > 0 {
		// The root goes along as the parent of all others.
		return t.applyLine(ctx, t.lineOf(b), b, paths, report)
	}
	if root >= 0 {
		return t.applyLine(ctx, rootOnly, b, []change.Path{change.Root}, report)
	}
	return nil
}

func (t *Transport) lineOf(b transport.Batch) line {
	l := [...]line{
		transport.Update: update, transport.UpdateContent: updateContent, transport.UpdateLarge: updateLarge,
		transport.UpdateLargeContent: updateLargeContent,
		transport.Remove:             remove, transport.RemoveExact: removeExact,
	}[b.Op]
	if b.Keep && l <= updateLargeContent {
		l |= keeping
	}
	if t.o.Trash && l.removes() && !onlyParts(b.Paths) {
		l |= trashing
	}
	return l
}

// removeExact removes children before parents. In one run rsync would come to a directory before its
// content and leave it, because without --force it removes only what is empty; so there is
// a run for each level of the list: first what has nothing listed below it. Patterns (--delete with
// --include) would need one run, but read every directory on both sides, and would take unlisted parents along.
func (t *Transport) removeExact(ctx context.Context, b transport.Batch, report *transport.Report) error {
	for _, paths := range levels(b.Paths) {
		if err := t.applyLine(ctx, t.lineOf(b), b, paths, report); err != nil {
			return err
		}
	}
	return nil
}

// levels sorts paths by how many levels of other listed paths are below them.
func levels(paths []change.Path) [][]change.Path {
	height := make(map[change.Path]int, len(paths))
	for _, p := range paths {
		height[p] = 0
	}
	// Deepest first, so that a path's own height is known before that of its ancestors.
	sorted := slices.SortedFunc(slices.Values(paths), func(a, b change.Path) int { return depth(b) - depth(a) })
	for _, p := range sorted {
		for above := p; above != change.Root; {
			above = above.Parent()
			if h, listed := height[above]; listed {
				height[above] = max(h, height[p]+1)
				break
			}
		}
	}
	var out [][]change.Path
	for _, p := range sorted {
		for len(out) <= height[p] {
			out = append(out, nil)
		}
		out[height[p]] = append(out[height[p]], p)
	}
	return out
}

func depth(p change.Path) int {
	n := 0
	for _, c := range []byte(p) {
		if c == '/' {
			n++
		}
	}
	return n
}

// applyLine runs one line for paths and adds what came of it to report.
func (t *Transport) applyLine(ctx context.Context, l line, b transport.Batch, paths []change.Path, report *transport.Report) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%v: %w", b.Op, err)
	}
	s, err := t.spawnerFor(b.Root)
	if err != nil {
		return err
	}
	defer s.release()
	if err := t.learnHere(ctx, s); err != nil {
		return err
	}
	old := t.old()
	e, err := t.runLine(ctx, l, old, s, b, paths, report)
	again, reason := t.diagnose(ctx, l, s, e, old)
	switch {
	case reason != nil:
		return reason
	case again:
		_, err = t.runLine(ctx, l, true, s, b, paths, report)
	}
	return err
}

// runLine is one run of a line.
func (t *Transport) runLine(ctx context.Context, l line, old bool, s *spawner, b transport.Batch, paths []change.Path, report *transport.Report) (ending, error) {
	list := listOf(l, paths)
	byArgs := argsPay(l, list)
	var r *run
	if !byArgs {
		r = t.warm.take(l, s)
	}
	if r == nil {
		args := t.o.args(l, old)
		if byArgs {
			args, list = t.o.argsFor(l, old, list), nil
		}
		t.warm.makeRoom(l)
		var err error
		if r, err = s.startRun(&t.o, l, args); err != nil {
			return ending{}, startError(err)
		}
	}
	c := newClassifier(&t.o, s.rootName(), l, paths)
	e := r.finish(ctx, list, t.limits(), func(line []byte) error {
		if n, ok := progressOf(line); ok && l.large() {
			if b.Progress != nil {
				b.Progress(n)
			}
			return nil
		}
		c.output(line)
		return nil
	})
	err := c.verdict(e, t.settle(), report)
	t.warm.after(l, s, err)
	return e, err
}

// Between these sizes, in bytes, a list of paths is cheaper as arguments: a shorter one costs less to read
// than a process to start, and a longer one may be more than the kernel takes (2 MiB with the environment, execve(2)).
const (
	argsMin = 4 << 10
	argsMax = 1 << 20
)

// argsPay reports whether paths go as arguments.
func argsPay(l line, list []byte) bool {
	return (l.base() == update || l.base() == updateContent || l.base() == remove) && len(list) >= argsMin && len(list) <= argsMax
}

// listOf is the list for standard input. Names that begin with # or ; are dropped by rsync unless "./" is before them.
func listOf(l line, paths []change.Path) []byte {
	if l == rootOnly {
		return nil
	}
	size := 0
	for _, p := range paths {
		size += len(p) + 4
	}
	list := make([]byte, 0, size)
	// In order: rsync then changes from one directory to the next only once.
	for _, p := range slices.Sorted(slices.Values(paths)) {
		list = append(list, "./"...)
		list = append(list, p...)
		if l.shallow() && p != change.Root {
			list = append(list, '/')
		}
		list = append(list, 0)
	}
	return list
}

func (t *Transport) limits() limits {
	return limits{login: t.o.ConnectTimeout, silence: 2*t.o.Timeout + t.o.ConnectTimeout}
}

func (t *Transport) settle() time.Duration { return max(2*t.o.Timeout, minSettle) }

// key identifies what a spawner's rules are for: the root, when there is one, and the directory
// of a local target. Both may be mounted over while we run.
func (t *Transport) key(root *os.File) (spawnKey, error) {
	var key spawnKey
	var st unix.Stat_t
	if root != nil {
		if err := unix.Fstat(int(root.Fd()), &st); err != nil {
			return key, &transport.Error{Kind: transport.SourceGone, Err: fmt.Errorf("look at source root: %w", err)}
		}
		key.root = fileID{st.Dev, st.Ino}
	}
	if t.o.local() {
		if err := unix.Stat(t.o.Dir, &st); err != nil {
			return key, &transport.Error{
				Kind: transport.Away, Err: fmt.Errorf("look at target directory %q: %w", t.o.Dir, err),
				Hint: "make the directory, or mount what belongs there", Lost: true,
			}
		}
		key.target = fileID{st.Dev, st.Ino}
	}
	return key, nil
}

// spawnerFor is the spawner of a root, with the caller as a user. It is another one when the key
// is another.
func (t *Transport) spawnerFor(root *os.File) (*spawner, error) {
	key, err := t.key(root)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spawner != nil && t.spawner.key == key && t.spawner.use() {
		return t.spawner, nil
	}
	s, err := newSpawner(&t.o, root, key, confine.Read)
	if err != nil {
		return nil, startError(err)
	}
	if t.spawner != nil {
		t.spawner.close()
	}
	t.spawner = s
	if s.confined != nil {
		t.o.Log.Warn("rsync runs unconfined", "error", s.confined)
	}
	return s, nil
}

// Close implements transport.Transport.
func (t *Transport) Close() error {
	t.warm.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spawner != nil {
		t.spawner.close()
		t.spawner.wait()
		t.spawner = nil
	}
	return nil
}
