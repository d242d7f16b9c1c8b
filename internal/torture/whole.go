package torture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// wholeFiles is how many files say in their content which file and version they are. wholeDirs hold them in turn; the last one has
// one name or the other.
const wholeFiles, wholeDirs = 24, 4

// wholeEvery is the time between two changes of them.
const wholeEvery = 15 * time.Millisecond

// whole makes files whose content tells which version of which file it is, and proves that all of it is of that version. They only
// ever change by a rename, so whoever reads one anywhere must find a version that the source had, and none older than before.
type whole struct {
	t    *torture
	dir  string
	last [wholeFiles]atomic.Uint64 // the newest version; set before it is in place
	// moved: the last directory has its other name.
	moved bool
	reads atomic.Int64
}

func newWhole(t *torture) *whole { return &whole{t: t, dir: "whole"} }

// names are where a file may be, below the root.
func (w *whole) names(file int) []string {
	name := func(dir string) string { return fmt.Sprintf("%s/%s/f%d", w.dir, dir, file) }
	if in := file % wholeDirs; in < wholeDirs-1 {
		return []string{name(fmt.Sprintf("d%d", in))}
	}
	return []string{name("here"), name("there")}
}

// stays reports whether a file is always there.
func (w *whole) stays(file int) bool { return len(w.names(file)) == 1 && file%3 > 0 }

// name is where a file is now.
func (w *whole) name(file int) string {
	names := w.names(file)
	if w.moved {
		return names[len(names)-1]
	}
	return names[0]
}

func (w *whole) random(file int, what uint64) *rand.Rand {
	return rand.New(rand.NewPCG(w.t.o.Seed<<8|uint64(file), what))
}

const (
	// wholeHead is the length of the line that says what it is.
	wholeHead = 80
	// wholeBlock is what changes from one version to the next, or does not: one block in blocksChanged does.
	wholeBlock    = 1 << 10
	blocksChanged = 8
)

// size goes by the file: those that go with their entry, those that are offered first, and those of the lane of large files.
func (w *whole) size(file int, version uint64) int {
	least, most := wholeHead, 4<<10
	switch {
	case file >= wholeFiles-2:
		least, most = 1<<20, 1<<20
	case file >= wholeFiles-8:
		least, most = 60<<10, 300<<10
	}
	return least + w.random(file, version).IntN(most)
}

// content is all of a version.
func (w *whole) content(file int, version uint64) []byte {
	b := make([]byte, w.size(file, version))
	copy(b, fmt.Sprintf("%-*s\n", wholeHead-1, fmt.Sprintf("file %d version %d of %d bytes", file, version, len(b))))
	for i, rest := uint64(0), b[wholeHead:]; len(rest) > 0; i++ {
		block := rest[:min(len(rest), wholeBlock)]
		rest = rest[len(block):]
		rnd := w.random(file, i<<32|(version+i)/blocksChanged)
		for len(block) >= 8 {
			binary.LittleEndian.PutUint64(block, rnd.Uint64())
			block = block[8:]
		}
		for k := range block {
			block[k] = byte(rnd.Uint32())
		}
	}
	return b
}

// mtime is that of a version, for those files whose time is set; for the others it is when it was made.
func (w *whole) mtime(file int, version uint64) (time.Time, bool) {
	return time.Unix(1_500_000_000+int64(version), int64(file)+7), file%2 > 0
}

// fill makes the first version of each.
func (w *whole) fill() error {
	var err error
	for file := range wholeFiles {
		for _, name := range w.names(file)[:1] {
			err = errors.Join(err, os.MkdirAll(filepath.Join(w.t.source, filepath.Dir(name)), 0o755))
		}
		err = errors.Join(err, w.replace(file, false))
	}
	return err
}

// write changes them until ctx ends.
func (w *whole) write(ctx context.Context) error {
	rnd := w.t.random(3)
	for pause(ctx, wholeEvery) {
		file := rnd.IntN(wholeFiles - 8)
		switch rnd.IntN(40) {
		case 0:
			file = wholeFiles - 1 - rnd.IntN(2)
		case 1, 2, 3, 4:
			file = wholeFiles - 3 - rnd.IntN(6)
		}
		var err error
		switch what := rnd.IntN(20); {
		case what == 0 && !w.stays(file):
			err = w.remove(file)
		case what == 1 && len(w.names(file)) > 1:
			err = w.move(file)
		default:
			err = w.replace(file, rnd.IntN(2) == 0)
		}
		if err != nil {
			return fmt.Errorf("change a file that says its version: %w", err)
		}
		w.t.ops.Add(1)
	}
	return nil
}

// replace puts the next version of a file in its place, from beside it or from out of the source.
func (w *whole) replace(file int, outside bool) error {
	path := filepath.Join(w.t.source, w.name(file))
	made := filepath.Join(filepath.Dir(path), fmt.Sprintf(".new-%d", file))
	if outside {
		made = w.t.below(fmt.Sprintf("away/new-%d", file))
	}
	version := w.last[file].Add(1)
	touch := func() {
		w.t.oracle.touched(made, false)
		w.t.oracle.touched(path, false)
	}
	touch()
	defer touch()
	err := os.WriteFile(made, w.content(file, version), 0o644)
	if at, set := w.mtime(file, version); set {
		err = errors.Join(err, os.Chtimes(made, at, at))
	}
	return errors.Join(err, os.Rename(made, path))
}

func (w *whole) remove(file int) error {
	path := filepath.Join(w.t.source, w.name(file))
	w.t.oracle.touched(path, false)
	defer w.t.oracle.touched(path, false)
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// move gives the directory of a file its other name.
func (w *whole) move(file int) error {
	from := filepath.Dir(filepath.Join(w.t.source, w.name(file)))
	w.moved = !w.moved
	to := filepath.Dir(filepath.Join(w.t.source, w.name(file)))
	for _, dir := range []string{from, to} {
		w.t.oracle.touched(dir, true)
		defer w.t.oracle.touched(dir, true)
	}
	return os.Rename(from, to)
}

// read reads them on a target until ctx ends: each must be old or new.
func (w *whole) read(ctx context.Context, i int) error {
	rnd, g := w.t.random(30+uint64(i)), w.t.targets[i]
	seen, cuts, wrong := map[string]uint64{}, 0, 0
	for pause(ctx, time.Duration(1+rnd.IntN(8))*time.Millisecond) {
		file, slow := rnd.IntN(wholeFiles), rnd.IntN(8) == 0
		g.readers.RLock()
		if g.cuts != cuts {
			// A loss of power may take it back to an older version.
			clear(seen)
			cuts = g.cuts
		}
		bad, err := w.check(g, file, slow, seen)
		g.readers.RUnlock()
		if err != nil {
			return err
		}
		w.reads.Add(1)
		if bad == "" {
			continue
		}
		if wrong++; wrong <= shownMax {
			w.t.found(fmt.Sprintf("target %d: a reader found %s", i+1, bad))
		}
	}
	return nil
}

// check reads one file of a target, under each name that it may have, and says what is wrong. seen are the versions that were read before.
func (w *whole) check(g *target, file int, slow bool, seen map[string]uint64) (wrong string, err error) {
	for _, name := range w.names(file) {
		b, at, err := readWhole(filepath.Join(g.tree, name), slow)
		switch {
		case errors.Is(err, os.ErrNotExist):
			if w.stays(file) {
				return fmt.Sprintf("%q missing, which is never removed", name), nil
			}
			continue
		case err != nil:
			return "", fmt.Errorf("read at target: %w", err)
		}
		version, wrong := w.judge(file, b, at)
		if wrong == "" && version < seen[name] {
			wrong = fmt.Sprintf("version %d after version %d", version, seen[name])
		}
		if wrong != "" {
			kept := w.t.below(fmt.Sprintf("log/wrong-%d", time.Now().UnixNano()))
			return fmt.Sprintf("%q: %s; kept as %s", name, wrong, kept), os.WriteFile(kept, b, 0o600)
		}
		seen[name] = version
	}
	return "", nil
}

// judge says which version a content is, and what is wrong with it.
func (w *whole) judge(file int, b []byte, at time.Time) (version uint64, wrong string) {
	var other, size int
	if _, err := fmt.Sscanf(string(b[:min(len(b), wholeHead)]), "file %d version %d of %d bytes", &other, &version, &size); err != nil {
		return 0, fmt.Sprintf("%d bytes that do not begin as any version: %.40q", len(b), b)
	}
	newest := w.last[file].Load()
	switch {
	case other != file:
		return version, fmt.Sprintf("it is file %d", other)
	case version == 0 || version > newest:
		return version, fmt.Sprintf("version %d, and the newest is %d", version, newest)
	case len(b) != size:
		return version, fmt.Sprintf("version %d has %d bytes of %d", version, len(b), size)
	}
	want := w.content(file, version)
	if !bytes.Equal(b, want) {
		n := 0
		for n < min(len(b), len(want)) && b[n] == want[n] {
			n++
		}
		return version, fmt.Sprintf("it begins as version %d and is something else from byte %d of %d on", version, n, len(b))
	}
	if set, ok := w.mtime(file, version); ok && !at.Equal(set) {
		return version, fmt.Sprintf("version %d has the time %v of another", version, at)
	}
	return version, ""
}

// readWhole reads a file, when slow in pieces with a pause, and says when it was changed.
func readWhole(path string, slow bool) ([]byte, time.Time, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	var b []byte
	if slow {
		b = make([]byte, wholeHead)
		n, err := io.ReadFull(f, b)
		if b = b[:n]; err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return nil, time.Time{}, err
		}
		pause(context.Background(), 30*time.Millisecond)
	}
	rest, err := io.ReadAll(f)
	if err != nil {
		return nil, time.Time{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	return append(b, rest...), info.ModTime(), nil
}
