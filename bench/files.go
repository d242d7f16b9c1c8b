package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sersync/internal/filter"
)

// blockSize is the size of the files of most rows.
const blockSize = 4 << 10

// content makes files of any size up to 100 KiB, no two of them equal.
type content struct {
	noise [100 << 10]byte
	count uint64
}

// newContent fills the noise from a fixed seed: all competitors get the same bytes, and none compresses them.
func newContent() *content {
	c := new(content)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(c.noise[:]) // never fails
	return c
}

// next is the content of one file, valid until the next call.
func (c *content) next(size int) []byte {
	c.count++
	binary.BigEndian.PutUint64(c.noise[:8], c.count)
	return c.noise[:size]
}

// prepare fills a site with directories d0000, d0001, … that hold files f0, f1, … each, and its targets with the same.
func (s *site) prepare(directories, filesEach int, c *content) error {
	mtime := time.Now().Add(-time.Hour)
	for _, root := range append([]string{s.source}, s.targets...) {
		c.count = 0
		for d := range directories {
			dir := filepath.Join(root, dirName(d))
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			for f := range filesEach {
				if err := writeAged(filepath.Join(dir, fmt.Sprintf("f%d", f)), c.next(blockSize), mtime); err != nil {
					return err
				}
			}
			if err := os.Chtimes(dir, mtime, mtime); err != nil {
				return err
			}
		}
		if err := os.Chtimes(root, mtime, mtime); err != nil {
			return err
		}
	}
	return nil
}

// dirName names a directory of a prepared tree.
func dirName(d int) string { return fmt.Sprintf("d%04d", d) }

// writeAged writes a file that looks as if it had been there for long.
func writeAged(path string, data []byte, mtime time.Time) error {
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, mtime, mtime)
}

// sameStat reports whether both files are there with the same size and the same mtime. Peers give a file its mtime
// before they rename it into place, so that this tells a finished file.
func sameStat(source, target string) bool {
	t, err := os.Lstat(target)
	if err != nil {
		return false
	}
	s, err := os.Lstat(source)
	return err == nil && s.Size() == t.Size() && s.ModTime().Equal(t.ModTime())
}

// same reports whether both files are there and identical.
func same(source, target string) bool {
	if !sameStat(source, target) {
		return false
	}
	s, err := os.Open(source)
	if err != nil {
		return false
	}
	defer s.Close()
	t, err := os.Open(target)
	if err != nil {
		return false
	}
	defer t.Close()
	info, err := s.Stat()
	return err == nil && sameContent(s, t, info.Size())
}

// sameContent reports whether both hold the same bytes, about as many as size.
func sameContent(s, t io.Reader, size int64) bool {
	a := make([]byte, min(size+1, 64<<10)) // one more: the end is seen by the same read
	b := make([]byte, len(a))
	for {
		n, errA := io.ReadFull(s, a)
		m, errB := io.ReadFull(t, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return ended(errA) && ended(errB)
		}
	}
}

// ended says that a file was read to its end.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// gone reports whether there is no such file.
func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// errDiffers says that two trees are not identical.
var errDiffers = errors.New("the target differs")

// compareTrees is nil when both trees have the same names and their files the same size, mtime and content. Temporary
// names of the receiver, which no reader takes for a file of the tree, go later (cleared).
func compareTrees(source, target string) error {
	names := make(map[string]bool)
	err := walk(source, func(name string, dir bool) error {
		names[name] = true
		s, t := filepath.Join(source, name), filepath.Join(target, name)
		if dir && !isDir(t) || !dir && !same(s, t) {
			return fmt.Errorf("%w: %q", errDiffers, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return walk(target, func(name string, _ bool) error {
		if !names[name] && !temporary(name) {
			return fmt.Errorf("%w: %q is not at the source", errDiffers, name)
		}
		return nil
	})
}

// temporary reports whether a path is a temporary name of the receiver.
func temporary(path string) bool { return strings.HasPrefix(filepath.Base(path), filter.TempPrefix) }

// cleared returns when a target has no temporary names any more.
func (s *site) cleared(ctx context.Context, target int, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	for {
		left := 0
		err := walk(s.targets[target], func(name string, _ bool) error {
			if temporary(name) {
				left++
			}
			return nil
		})
		if err == nil && left == 0 || err != nil && !errors.Is(err, errDiffers) {
			return err
		}
		if err := s.wait(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%d temporary names are left: %w", left, err)
		}
	}
}

// walk visits everything below root.
func walk(root string, visit func(name string, dir bool) error) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %q vanished", errDiffers, path)
		}
		if err != nil || path == root {
			return err
		}
		return visit(path[len(root)+1:], entry.IsDir())
	})
}

// isDir reports whether there is a directory.
func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}
