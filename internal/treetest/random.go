package treetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
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
}

// NewWriter makes a writer of the tree at dir.
func NewWriter(dir string, seed, stream uint64) *Writer {
	return &Writer{dir: dir, rnd: rand.New(rand.NewPCG(seed, stream))}
}

// There are no pipes among what it makes: os.RemoveAll opens what it takes for a directory, and would wait for
// a writer when another Writer had put a pipe in its place.

// Step does one random operation. What fails because another writer was quicker is no error.
func (w *Writer) Step() error {
	w.n++
	a, b := w.path(), w.path()
	ops := []func() error{
		func() error { return w.write(a, os.O_CREATE|os.O_TRUNC|os.O_WRONLY) },
		func() error { return w.write(a, os.O_CREATE|os.O_TRUNC|os.O_WRONLY) },
		func() error { return w.write(a, os.O_CREATE|os.O_APPEND|os.O_WRONLY) },
		func() error { return w.write(a, os.O_WRONLY) },
		func() error { return w.replace(a) },
		func() error { return os.Rename(a, b) },
		func() error { return w.renameDir(filepath.Dir(a), filepath.Dir(b)+"x") },
		func() error { return w.exchange(a, b) },
		func() error { return os.Remove(a) },
		func() error { return w.removeAll(a) },
		func() error { return os.MkdirAll(a, 0o755) },
		func() error { return errors.Join(os.MkdirAll(a, 0o755), w.write(a+"/in", os.O_CREATE|os.O_WRONLY)) },
		func() error { return errors.Join(w.removeAll(a), os.Mkdir(a, 0o750)) },
		func() error { return errors.Join(w.removeAll(a), w.write(a, os.O_CREATE|os.O_WRONLY)) },
		// Relative: a daemon without chroot takes the first slash away.
		func() error { return os.Symlink(strings.TrimPrefix(b, w.dir+"/"), a) },
		func() error { return os.Link(a, b) },
		func() error { return chmod(a, os.FileMode(0o400|w.rnd.IntN(0o400))) },
		func() error { return os.Lchown(a, w.rnd.IntN(3), w.rnd.IntN(3)) },
		func() error { return w.utimes(a) },
		func() error { return w.sameSizeSameTime(a) },
	}
	err := ops[w.rnd.IntN(len(ops))]()
	for _, harmless := range []error{
		os.ErrNotExist, os.ErrExist, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EINVAL,
		syscall.ELOOP, syscall.EBUSY, syscall.EPERM, syscall.ENXIO, syscall.EMLINK, syscall.ENAMETOOLONG,
	} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
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

func (w *Writer) content() []byte {
	b := make([]byte, w.rnd.IntN(3000))
	for i := range b {
		b[i] = byte(w.rnd.Uint32())
	}
	return b
}

// noFollow: a symlink made at random must not lead a writer out of its tree.
func (w *Writer) write(p string, flags int) error {
	f, err := os.OpenFile(p, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(w.content())
	return errors.Join(err, f.Close())
}

func (w *Writer) replace(p string) error {
	tmp := fmt.Sprintf("%s/tmp%d-%d", w.dir, w.rnd.Uint32(), w.n)
	if err := w.write(tmp, os.O_CREATE|os.O_WRONLY); err != nil {
		return err
	}
	if err := os.Rename(tmp, p); err != nil {
		return errors.Join(os.Remove(tmp), err)
	}
	return nil
}

func (w *Writer) renameDir(from, to string) error {
	if from == w.dir || !strings.HasPrefix(to, w.dir+"/") {
		return os.ErrNotExist
	}
	return os.Rename(from, to)
}

func (w *Writer) exchange(a, b string) error {
	tmp := fmt.Sprintf("%s/swap%d-%d", w.dir, w.rnd.Uint32(), w.n)
	if err := os.Rename(a, tmp); err != nil {
		return err
	}
	if err := os.Rename(b, a); err != nil {
		return errors.Join(os.Rename(tmp, a))
	}
	return os.Rename(tmp, b)
}

func (w *Writer) removeAll(p string) error { return os.RemoveAll(p) }

func chmod(p string, mode os.FileMode) error {
	info, err := os.Lstat(p)
	if err != nil || info.Mode()&os.ModeSymlink != 0 {
		return err
	}
	if info.IsDir() {
		mode |= 0o700
	}
	return os.Chmod(p, mode)
}

func (w *Writer) utimes(p string) error {
	at := time.Unix(1_000_000_000+w.rnd.Int64N(500_000_000), w.rnd.Int64N(1e9))
	ts := []syscall.Timespec{syscall.NsecToTimespec(at.UnixNano()), syscall.NsecToTimespec(at.UnixNano())}
	if info, err := os.Lstat(p); err != nil || info.Mode()&os.ModeSymlink != 0 {
		return err
	}
	return syscall.UtimesNano(p, ts)
}

// sameSizeSameTime rewrites a file so that neither its size nor its mtime tells.
func (w *Writer) sameSizeSameTime(p string) error {
	info, err := os.Lstat(p)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.OpenFile(p, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	b := make([]byte, info.Size())
	for i := range b {
		b[i] = byte(w.rnd.Uint32())
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close(), os.Chtimes(p, info.ModTime(), info.ModTime()))
}
