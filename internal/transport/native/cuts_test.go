package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
	"sersync/internal/transport/transporttest"
)

// A version of a file is one byte many times, in a size of that version, so that a mixture of two and a part of one can be told.
type versions map[string]map[string]bool

func (v versions) write(t testing.TB, dir, name string, letter byte, size int) {
	write(t, dir, name, bytes.Repeat([]byte{letter}, size))
	if v[name] == nil {
		v[name] = map[string]bool{}
	}
	v[name][fmt.Sprintf("%c %d", letter, size)] = true
}

// check fails when there is a file below dir that is no version.
func (v versions) check(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == filter.PartialName || strings.HasPrefix(e.Name(), filter.TempPrefix)) {
			return fs.SkipDir
		}
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!e.Type().IsRegular() || strings.HasPrefix(e.Name(), filter.TempPrefix)) {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		if err == nil && !v[name][versionOf(content)] {
			t.Errorf("%q on the target is no version: %s", name, versionOf(content))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func versionOf(content []byte) string {
	if len(content) == 0 {
		return "\x00 0"
	}
	if len(bytes.Trim(content, string(content[:1]))) > 0 {
		return fmt.Sprintf("a mixture of %d", len(content))
	}
	return fmt.Sprintf("%c %d", content[0], len(content))
}

// cutter sends over a relay that cuts.
type cutter struct {
	*testing.T
	dir   string
	relay *relay
	tr    *Transport
	src   string
	root  *os.File
	have  versions
	rnd   *rand.Rand
}

func newCutter(t *testing.T, seed uint64) *cutter {
	r := newRig(t)
	c := &cutter{T: t, dir: r.dir, relay: newRelay(t, r.address), have: versions{}, rnd: rand.New(rand.NewPCG(seed, 1))}
	c.tr = r.transport(Options{Dial: by(c.relay)})
	t.Cleanup(func() { c.tr.Close() })
	c.src, c.root = source(t)
	return c
}

// apply applies a batch, over connections that are cut after some bytes in a direction, until there is no cut; then all of it must be done.
func (c *cutter) apply(b transport.Batch) {
	b.Root = c.root
	for {
		_, err := c.tr.Apply(context.Background(), b)
		c.have.check(c, c.dir)
		if err == nil {
			break
		}
		state(c, err, transport.Away)
		c.tr.Synced()
	}
	c.relay.calm()
	c.tr.Synced() // the connection may have been cut at its end
	send(c, c.tr, b)
}

// anywhere cuts at a random place of what is about total bytes, and of the login before.
func (c *cutter) anywhere(total [2]int64) {
	c.relay.cut()
	way := c.rnd.IntN(2)
	c.relay.after(way, 1+c.rnd.Int64N(total[way]+100), c.relay.cutLocked)
}

// equal waits until the target is the source: that what waited for the disk goes changes the time of a directory for a moment.
func (c *cutter) equal() {
	c.Helper()
	diff := ""
	defer func() {
		if diff != "" {
			c.Errorf("the target is not the source (-source +target):\n%s", diff)
		}
	}()
	poll(c, "equality", func() bool {
		diff = cmp.Diff(transporttest.Tree(c, c.src), transporttest.Tree(c, c.dir))
		return diff == ""
	})
}

// measure is how many bytes go over a fresh connection for something.
func (c *cutter) measure(do func()) [2]int64 {
	c.relay.cut()
	poll(c, "the end of connections", func() bool { kept, _ := c.tr.kept(); return kept == nil })
	before := c.relay.count()
	do()
	after := c.relay.count()
	return [2]int64{after[up] - before[up], after[down] - before[down]}
}

// cuts is how many places each test cuts at.
const cuts = 15

func TestACutAnywhereInABatchLeavesWholeFiles(t *testing.T) {
	for name, test := range map[string]struct {
		op          transport.Op
		files, size int
	}{
		"small files":        {transport.Update, 40, 8 << 10},
		"offered files":      {transport.Update, 6, 300 << 10},
		"large files":        {transport.UpdateLarge, 3, 900 << 10},
		"large, by contents": {transport.UpdateLargeContent, 3, 900 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCutter(t, 7)
			var total [2]int64
			for round := range cuts {
				for i := range test.files {
					size := test.size/2 + c.rnd.IntN(test.size)
					c.have.write(c, c.src, fmt.Sprintf("d%d/f%d", i%3, i), byte('a'+round%26), size)
				}
				b := transport.Batch{Op: test.op, Paths: append(all(c, c.src), change.Root)}
				if round == 0 {
					total = c.measure(func() { c.apply(b) })
					continue
				}
				c.anywhere(total)
				c.apply(b)
				c.equal()
			}
			if left := parts(t, c.dir); len(left) > 0 {
				t.Errorf("parts are left over: %q", left)
			}
		})
	}
}

// parts are the directories of parts below dir.
func parts(t testing.TB, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == filter.PartialName {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestACutAnywhereInRemovalsRemovesNothingElse(t *testing.T) {
	c := newCutter(t, 8)
	var total [2]int64
	for round := range cuts {
		var gone []change.Path
		for i := range 30 {
			c.have.write(c, c.src, fmt.Sprintf("keep%d/f", i), 'k', 10)
			c.have.write(c, c.src, fmt.Sprintf("go%d/f", i), 'g', 10)
			gone = append(gone, change.Path(fmt.Sprintf("go%d", i)), change.Path(fmt.Sprintf("go%d/f", i)))
		}
		c.apply(transport.Batch{Op: transport.Update, Paths: append(all(c, c.src), change.Root)})
		for _, p := range gone {
			if err := os.RemoveAll(filepath.Join(c.src, string(p))); err != nil {
				t.Fatal(err)
			}
		}
		op := transport.Remove
		if round%2 == 0 {
			op = transport.RemoveExact
		}
		b := transport.Batch{Op: op, Paths: gone}
		if round == 0 {
			total = c.measure(func() { c.apply(b) })
			continue
		}
		c.anywhere(total)
		c.apply(b)
		c.apply(transport.Batch{Op: transport.Update, Paths: []change.Path{change.Root}})
		c.equal()
	}
}

func TestACutAnywhereInASweepIsNoEnd(t *testing.T) {
	c := newCutter(t, 9)
	for i := range 20 {
		c.have.write(c, c.src, fmt.Sprintf("d%d/missing", i), 'm', 10)
		c.have.write(c, c.dir, fmt.Sprintf("d%d/extra", i), 'e', 10)
	}
	sweep := func() (found []string, err error) {
		err = c.tr.Sweep(context.Background(), transport.Sweep{Root: c.root, Under: []change.Path{change.Root}, Extras: true}, func(d transport.Difference) error {
			found = append(found, fmt.Sprintf("%+v", d))
			return nil
		})
		slices.Sort(found)
		return found, err
	}
	var want []string
	total := c.measure(func() {
		var err error
		if want, err = sweep(); err != nil || len(want) < 40 {
			t.Fatal(want, err)
		}
	})
	for range cuts {
		c.anywhere(total)
		got, err := sweep()
		if err != nil {
			state(t, err, transport.Away)
			c.relay.calm()
			if got, err = sweep(); err != nil {
				t.Fatalf("the sweep after a cut: %v", err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("another outcome (-want +got):\n%s", diff)
		}
	}
}

// random is content that has nothing in common with itself.
func random(size int) []byte {
	b := make([]byte, size)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b)
	return b
}

func TestALargeFileGoesOnFromWhereItWasCut(t *testing.T) {
	c := newCutter(t, 10)
	const size = 32 << 20
	write(t, c.src, "d/large", random(size))
	b := transport.Batch{Op: transport.UpdateLarge, Root: c.root, Paths: []change.Path{"d/large"}}
	cut := func(after int64) int64 {
		c.relay.after(up, after, c.relay.cutLocked)
		_, err := c.tr.Apply(context.Background(), b)
		state(t, err, transport.Away)
		c.relay.calm()
		c.tr.Synced()
		// Nothing of it is at work any more when somebody else was let in.
		send(t, c.tr, transport.Batch{Op: transport.Update, Root: c.root})
		st, err := os.Stat(filepath.Join(c.dir, "d", filter.PartialName, "large"))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	first := cut(size * 3 / 4)
	if first < size/8 {
		t.Errorf("%d bytes are kept of %d", first, size*3/4)
	}
	// A second cut, at once, does not take back what is there.
	second := cut(256 << 10)
	if second < first {
		t.Errorf("%d bytes were there, and %d are after another cut", first, second)
	}
	report := send(t, c.tr, b)
	if report.Bytes > size-second+size/16 || report.Files != 1 {
		t.Errorf("%d of %d bytes were sent where %d were there: %+v", report.Bytes, size, second, report)
	}
	got, err := os.ReadFile(filepath.Join(c.dir, "d/large"))
	if err != nil || !bytes.Equal(got, random(size)) {
		t.Errorf("the file is not that of the source: %d bytes, %v", len(got), err)
	}
	if left := parts(t, c.dir); len(left) > 0 {
		t.Errorf("the part is left over: %q", left)
	}
}

func TestALargeFileThatIsCancelledLeavesItsConnectionFit(t *testing.T) {
	c := newCutter(t, 11)
	write(t, c.src, "large", random(8<<20))
	write(t, c.src, "small", []byte("x"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b := transport.Batch{Op: transport.UpdateLarge, Root: c.root, Paths: []change.Path{"large"}, Progress: func(int64) { cancel() }}
	_, err := c.tr.Apply(ctx, b)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(c.dir, "large")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a file that was not sent is there: %v", err)
	}
	send(t, c.tr, transport.Batch{Op: transport.Update, Root: c.root, Paths: []change.Path{"small"}})
	if n := c.relay.connections(); n != 1 {
		t.Errorf("%d connections, want the first one to be used again", n)
	}
	b.Progress = nil
	if report := send(t, c.tr, b); report.Bytes > 7<<20+1<<19 {
		t.Errorf("%d bytes were sent although some were there", report.Bytes)
	}
}
