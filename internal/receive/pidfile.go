package receive

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pidFile tells who wants to know which process this is. It is locked as long as the process lives, and empty after it.
type pidFile struct {
	file *os.File
	name string
}

// writePIDFile writes the file, unless another process has it. No name is no file.
func writePIDFile(name string) (pidFile, error) {
	if name == "" {
		return pidFile{}, nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return pidFile{}, fmt.Errorf("open pid file: %w", err)
	}
	if err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		return pidFile{}, fmt.Errorf("lock pid file %q (another sersync receive or rsync has it): %w", name, err)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return pidFile{}, fmt.Errorf("write pid file %q: %w", name, err)
	}
	return pidFile{f, name}, nil
}

func (p pidFile) remove() {
	if p.file != nil {
		_ = os.Remove(p.name) // a file without a lock misleads nobody
		p.file.Close()
	}
}
