package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// smallMax is the size of most files, in bytes.
const smallMax = 3000

func (w *Writer) write(p string, flags int) error { return w.put(p, flags, w.content(smallMax)) }

// put writes a file. It follows no link: a symlink made at random must not lead a writer out of its tree.
func (w *Writer) put(p string, flags int, content []byte) error {
	return w.changed(p, false, func(p string) error {
		f, err := os.OpenFile(p, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return errors.Join(err, f.Close())
	})
}

func (w *Writer) large(p string) error {
	return w.put(p, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, w.content(w.Large))
}

func (w *Writer) truncate(p string) error {
	info, err := os.Lstat(p)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	f, err := os.OpenFile(p, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(w.rnd.Int64N(info.Size())), f.Close())
}

func (w *Writer) temporary(what string) string {
	return fmt.Sprintf("%s/%s%d-%d", w.dir, what, w.rnd.Uint32(), w.n)
}

func (w *Writer) replace(p string) error {
	tmp := w.temporary("tmp")
	if err := w.write(tmp, os.O_CREATE|os.O_WRONLY); err != nil {
		return err
	}
	if err := w.rename(tmp, p); err != nil {
		return errors.Join(w.changed(tmp, true, os.Remove), err)
	}
	return nil
}

func (w *Writer) rename(from, to string) error {
	return w.changed(from, true, func(from string) error {
		return w.changed(to, true, func(to string) error { return os.Rename(from, to) })
	})
}

func (w *Writer) renameDir(from, to string) error {
	if from == w.dir || !strings.HasPrefix(to, w.dir+"/") {
		return os.ErrNotExist
	}
	return w.rename(from, to)
}

func (w *Writer) exchange(a, b string) error {
	tmp := w.temporary("swap")
	if err := w.rename(a, tmp); err != nil {
		return err
	}
	if err := w.rename(b, a); err != nil {
		return w.rename(tmp, a)
	}
	return w.rename(tmp, b)
}

// makeAll makes a directory and those above it, as mkdir -p.
func (w *Writer) makeAll(p string) error {
	if dir := filepath.Dir(p); dir != w.dir {
		if err := w.makeAll(dir); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(p); err == nil {
		return nil
	}
	return w.changed(p, true, func(p string) error { return os.Mkdir(p, 0o755) })
}

func emptyDir(p string) error { return errors.Join(os.RemoveAll(p), os.Mkdir(p, 0o750)) }

// symlink makes a relative one: a daemon without chroot takes the first slash away.
func (w *Writer) symlink(to, p string) error {
	return w.changed(p, false, func(p string) error { return os.Symlink(strings.TrimPrefix(to, w.dir+"/"), p) })
}

func (w *Writer) chmod(p string) error {
	mode := os.FileMode(0o400 | w.rnd.IntN(0o400))
	info, err := os.Lstat(p)
	if err != nil || info.Mode()&os.ModeSymlink != 0 {
		return err
	}
	if info.IsDir() {
		mode |= 0o700
	}
	return os.Chmod(p, mode)
}

// utimes sets the mtime back by years.
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
