package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what the process has used so far, or in some time.
type usage struct {
	Wall, CPU time.Duration
	// Written is what went to the disk, in bytes.
	Written int64
}

func used() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	written, err := procField("/proc/self/io", "write_bytes")
	return usage{
		Wall:    time.Duration(time.Now().UnixNano()),
		CPU:     time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Written: written,
	}, err
}

// measure says what a function uses, its background work included as far as it is done by then.
func measure(do func() error) (usage, error) {
	before, err := used()
	if err != nil {
		return usage{}, err
	}
	if err := do(); err != nil {
		return usage{}, err
	}
	now, err := used()
	return usage{now.Wall - before.Wall, now.CPU - before.CPU, now.Written - before.Written}, err
}

// procField reads a number of /proc; of those that are in kB the bytes.
func procField(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), name+":")
	var n int64
	if _, err := fmt.Sscan(rest, &n); !found || err != nil {
		return 0, fmt.Errorf("find %q in %q: %v", name, file, err)
	}
	if line, _, _ := strings.Cut(rest, "\n"); strings.HasSuffix(line, "kB") {
		n *= 1024
	}
	return n, nil
}

// memory is the resident memory of the process in bytes: its own, what it maps of files, and the most it ever had of both.
type memory struct{ Own, Mapped, Peak int64 }

func resident() (m memory, err error) {
	for name, to := range map[string]*int64{"RssAnon": &m.Own, "RssFile": &m.Mapped, "VmHWM": &m.Peak} {
		if *to, err = procField("/proc/self/status", name); err != nil {
			return m, err
		}
	}
	return m, nil
}

// files calls do with each regular file below a directory.
func files(dir string, do func(name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return do(name, info)
	})
}

// sizeOnDisk is what a directory occupies, in bytes.
func sizeOnDisk(dir string) (size int64, err error) {
	err = files(dir, func(_ string, info fs.FileInfo) error {
		size += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return size, err
}

// chill takes a directory out of the page cache.
func chill(dir string) error {
	return files(dir, func(name string, _ fs.FileInfo) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
