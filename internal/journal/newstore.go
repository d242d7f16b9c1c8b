package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another process has the file.
var ErrInUse = errors.New("it is in use by another process")

// newStore makes a file for a journal that is in memory as a whole, and its directory. What is there under its name is set
// aside; ours says that it was our own.
func newStore(path string, ours bool) (*store, error) {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err == nil:
		defer file.Close()
		if !ours && errors.Is(unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
			return nil, taken(path)
		}
		fallthrough
	default:
		if _, err := setAside(path); err != nil {
			return nil, err
		}
	}
	return lastingStore(path)
}

// lastingStore opens or makes a file whose name survives a power cut. It has nothing open when it fails: the lock of it would be in the way of the
// next try.
func lastingStore(path string) (*store, error) {
	s, err := openStore(path, 0)
	if err != nil {
		return nil, err
	}
	if err := syncDir(path); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// taken is ErrInUse with the process that has the file, when the kernel tells.
func taken(path string) error {
	if pid := lockedBy(path); pid > 0 {
		return fmt.Errorf("%w, number %d", ErrInUse, pid)
	}
	return ErrInUse
}

// lockedBy finds who locked a file by flock; 0 when nobody knows. proc_locks(5).
func lockedBy(path string) int {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == file {
			pid, _ := strconv.Atoi(fields[4])
			return pid
		}
	}
	return 0
}
