package journal

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A file that was made, and could not be made to last, is not in the way of the next try, which would find it locked.
func TestAFileThatCouldNotBeMadeToLastIsNotInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	leaveOne(t, func() {
		if s, err := newStore(path, false); err == nil {
			s.close()
			t.Fatal("its directory was opened without a descriptor")
		}
	})
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("it was not made: %v", err)
	}
	s, err := newStore(path, false)
	if err != nil {
		t.Fatalf("the next try: %v", err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	leaveOne(t, func() {
		if err := New(10).open(path, "source"); err == nil {
			t.Fatal("its directory was opened without a descriptor")
		}
	})
	j := New(10)
	if _, err := j.Keep(path, "source"); err != nil {
		t.Fatalf("keep: %v", err)
	}
	if err := j.Close(true); err != nil {
		t.Error(err)
	}
}

// leaveOne leaves one descriptor free while do runs.
func leaveOne(t *testing.T, do func()) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			last = max(last, n)
		}
	}
	var fill []int
	defer func() {
		for _, fd := range fill {
			unix.Close(fd)
		}
	}()
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fill = append(fill, fd)
		if fd > last {
			last = fd
			break
		}
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := was
	few.Cur = uint64(last) + 2
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}
