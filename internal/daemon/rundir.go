package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sersync/internal/config"
)

// makeRunDir makes a directory for sockets, pid files or locks. One that somebody else owns or can write is
// refused: he could put files of his own there.
func makeRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &Error{
			Err:    fmt.Errorf("make runtime directory: %w", err),
			Advice: "name another one with " + config.RunDirEnv,
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at runtime directory %q: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return &Error{
			Err:    fmt.Errorf("runtime directory %q is not a directory that this user owns and nobody else can write", dir),
			Advice: "remove it, or name another one with " + config.RunDirEnv,
		}
	}
	return nil
}

// Sockets are the sockets in the runtime directory, with or without somebody who listens, in the order of
// their names.
func Sockets(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read runtime directory: %w", err)
	}
	var found []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".sock") {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, nil
}

// writePID writes the pid file whole or not at all.
func writePID(path string) error {
	next := path + ".next"
	text := strconv.Itoa(os.Getpid()) + "\n"
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}
