package tree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// hostile are names that a shell, rsync's lists and patterns, or a terminal would take for something else.
var hostile = []string{
	"-rf", "--delete", "*", "br[1]", "a b", " lead", "trail ", "new\nline", "#x", ";y", "`id`", "$(id)", `back\slash`, `quo"te`, "it's",
	"\xff\xfe", "日志", "~", ".hidden", "tab\t", "x\x1b[31m", "%s", "\\#012",
}

// Writer changes a tree at random. Two writers with the same seed do the same to the same tree, but for
// what others do meanwhile.
type Writer struct {
	dir string
	rnd *rand.Rand
	n   int

	// Touched, when not nil, is told of each path before it is changed and afterwards; below says that all below it may be
	// another then.
	Touched func(path string, below bool)
	// Large, when not 0, makes a file of up to so many bytes now and then.
	Large int
	// Away, when not empty, is a directory of the same file system beside the tree, which things are moved to and come
	// back from.
	Away string
}

// NewWriter makes a writer of the tree at dir.
func NewWriter(dir string, seed, stream uint64) *Writer {
	return &Writer{dir: dir, rnd: rand.New(rand.NewPCG(seed, stream))}
}

// Step does one random operation. What fails because another writer was quicker is no error.
func (w *Writer) Step() error {
	w.n++
	a, b := w.path(), w.path()
	ops := w.operations(a, b)
	err := ops[w.rnd.IntN(len(ops))]()
	for _, harmless := range []error{
		os.ErrNotExist, os.ErrExist, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EINVAL,
		syscall.ELOOP, syscall.EBUSY, syscall.EPERM, syscall.ENXIO, syscall.EMLINK, syscall.ENAMETOOLONG,
	} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	if os.Geteuid() != 0 && errors.Is(err, syscall.EACCES) {
		return nil // a mode of before
	}
	return err
}

// operations are what can be done to a and b. There are no pipes among what they make: os.RemoveAll opens what it takes
// for a directory, and would wait for a writer when another Writer had put a pipe in its place.
func (w *Writer) operations(a, b string) []func() error {
	ops := []func() error{
		func() error { return w.write(a, os.O_CREATE|os.O_TRUNC|os.O_WRONLY) },
		func() error { return w.write(a, os.O_CREATE|os.O_TRUNC|os.O_WRONLY) },
		func() error { return w.write(a, os.O_CREATE|os.O_APPEND|os.O_WRONLY) },
		func() error { return w.write(a, os.O_WRONLY) },
		func() error { return w.replace(a) },
		func() error { return w.rename(a, b) },
		func() error { return w.renameDir(filepath.Dir(a), filepath.Dir(b)+"x") },
		func() error { return w.exchange(a, b) },
		func() error { return w.changed(a, true, os.Remove) },
		func() error { return w.changed(a, true, os.RemoveAll) },
		func() error { return w.makeAll(a) },
		func() error { return errors.Join(w.makeAll(a), w.write(a+"/in", os.O_CREATE|os.O_WRONLY)) },
		func() error { return w.changed(a, true, emptyDir) },
		func() error {
			return errors.Join(w.changed(a, true, os.RemoveAll), w.write(a, os.O_CREATE|os.O_WRONLY))
		},
		func() error { return w.symlink(b, a) },
		func() error { return w.changed(b, false, func(b string) error { return os.Link(a, b) }) },
		func() error { return w.changed(a, false, w.chmod) },
		func() error {
			return w.changed(a, false, func(p string) error { return os.Lchown(p, w.rnd.IntN(3), w.rnd.IntN(3)) })
		},
		func() error { return w.changed(a, false, w.utimes) },
		func() error { return w.changed(a, false, w.sameSizeSameTime) },
		func() error { return w.changed(a, false, w.truncate) },
	}
	if w.Large > 0 {
		ops = append(ops, func() error { return w.large(a) })
	}
	if w.Away != "" {
		out := fmt.Sprintf("%s/%d", w.Away, w.rnd.IntN(8))
		ops = append(ops,
			func() error { return w.changed(a, true, func(a string) error { return os.Rename(a, out) }) },
			func() error { return w.changed(a, true, func(a string) error { return os.Rename(out, a) }) })
	}
	return ops
}

// changed does something to a path, and tells of it before and afterwards: whoever looks in between knows.
func (w *Writer) changed(p string, below bool, do func(string) error) error {
	if w.Touched != nil {
		w.Touched(p, below)
		defer w.Touched(p, below)
	}
	return do(p)
}

// path is a random path, often one that exists: few names, few levels.
func (w *Writer) path() string {
	p := w.dir
	for range 1 + w.rnd.IntN(3) {
		name := fmt.Sprintf("n%d", w.rnd.IntN(8))
		if w.rnd.IntN(6) == 0 {
			name = hostile[w.rnd.IntN(len(hostile))]
		}
		p += "/" + name
	}
	return p
}

func (w *Writer) content(most int) []byte {
	b := make([]byte, w.rnd.IntN(most))
	for i := range b {
		b[i] = byte(w.rnd.Uint32())
	}
	return b
}
