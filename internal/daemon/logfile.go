package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// logFile is a log that can be rotated: when the file was renamed, reopen makes a new one.
type logFile struct {
	path string
	// redirect turns standard output and error to the file as well, so that what the
	// runtime says in its last moment lands there too.
	redirect bool

	mu   sync.Mutex
	file *os.File
}

// openLogFile opens the file, and makes it and its directory where they are missing.
func openLogFile(path string, redirect bool) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of log file: %w", err)
	}
	l := &logFile{path: path, redirect: redirect}
	return l, l.reopen()
}

// reopen opens the name again. On an error the old file stays in use.
func (l *logFile) reopen() error {
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	if l.redirect {
		for _, fd := range []int{1, 2} {
			if err := unix.Dup3(int(file.Fd()), fd, 0); err != nil {
				file.Close()
				return fmt.Errorf("turn output to log file %q: %w", l.path, err)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.file = file
	if old != nil {
		old.Close()
	}
	return nil
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(p)
}

// LogDirEnv names the directory of log files that no configuration names, in the environment.
const LogDirEnv = "SERSYNC_LOG_DIR"

// defaultLogFile is where a daemon logs when its configuration does not say.
func defaultLogFile(name string) (string, error) {
	if dir := os.Getenv(LogDirEnv); dir != "" {
		return filepath.Join(dir, name+".log"), nil
	}
	if os.Geteuid() == 0 {
		return filepath.Join("/var/log/sersync", name+".log"), nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", &Error{Err: errors.New("find a place for the log file: no home directory"), Advice: "name a directory with " + LogDirEnv}
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "sersync", "log", name+".log"), nil
}
