package rsync

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// probePrefix and 32 hexadecimal digits are the name of a file that a Probe writes.
	probePrefix = ".sersync-probe-"
	// probeID is an owner that most likely no writing rsync runs as but one that may not give files away.
	probeID = 65534
	// At first the file has the one mode, then the other, which no umask and no usual "incoming chmod" makes.
	probeFirst, probeThen os.FileMode = 0o604, 0o642
)

// probeFile is the file on this side, alone in a directory that only we can enter.
type probeFile struct {
	root *os.File
	name string
}

func newProbeFile() (*probeFile, error) {
	random := make([]byte, 16)
	rand.Read(random)
	dir, err := os.MkdirTemp("", "sersync-probe-")
	if err != nil {
		return nil, fmt.Errorf("make directory for a probe: %w", err)
	}
	f := &probeFile{name: probePrefix + hex.EncodeToString(random)}
	if err := os.WriteFile(filepath.Join(dir, f.name), []byte("sersync doctor --probe\n"), 0o600); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("write file for a probe: %w", err)
	}
	if f.root, err = os.Open(dir); err == nil {
		err = os.Chmod(f.path(), probeFirst)
	}
	if err != nil {
		f.root.Close()
		os.RemoveAll(dir)
		return nil, fmt.Errorf("make file for a probe: %w", err)
	}
	return f, nil
}

func (f *probeFile) path() string { return filepath.Join(f.root.Name(), f.name) }

// alter gives the file attributes that it has on no target by chance: a time with an odd second and nanoseconds, long ago.
func (f *probeFile) alter() error {
	at := time.Unix(981173107, 123456789)
	err := os.Chmod(f.path(), probeThen)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(f.path(), probeID, probeID)
	}
	if err == nil {
		err = os.Chtimes(f.path(), at, at)
	}
	if err != nil {
		return fmt.Errorf("change file for a probe: %w", err)
	}
	return nil
}

func (f *probeFile) remove() error { return os.Remove(f.path()) }

func (f *probeFile) close() {
	os.RemoveAll(f.root.Name())
	f.root.Close()
}
