package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/config"
)

// Holder is who holds a lock, as it stands in the lock's file.
type Holder struct {
	PID int `json:"pid"`
	// Config is the configuration, or the command when there is none.
	Config string `json:"config"`
	// What is locked, for a person who looks into the file.
	What string `json:"what"`
}

// lock is a file that one process at a time has locked. The kernel ends the lock with the
// process, so that a file that is left behind is no obstacle.
type lock struct {
	file *os.File
	path string
}

// deadHolder is how long a lock may outlive its holder: that of a process that was killed is held by what it was about to
// start until that is.
const deadHolder = time.Second

// acquire locks the file at path, or says in a HeldError who holds it.
func acquire(path string, holder Holder) (*lock, error) {
	for late := time.Now().Add(deadHolder); ; {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock: %w", err)
		}
		err = flock(file)
		if errors.Is(err, unix.EWOULDBLOCK) {
			file.Close()
			held := readHolder(path)
			if held.dead() && time.Now().Before(late) {
				<-time.After(10 * time.Millisecond)
				continue
			}
			return nil, &HeldError{What: holder.What, Holder: held}
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
		// The last holder removes the file before it unlocks it; then what is locked here is
		// a file without a name, and the lock worth nothing.
		if !named(file, path) {
			file.Close()
			continue
		}
		if err := writeHolder(file, holder); err != nil {
			os.Remove(path)
			file.Close()
			return nil, fmt.Errorf("write lock %q: %w", path, err)
		}
		return &lock{file: file, path: path}, nil
	}
}

// dead reports whether the process of the holder is gone.
func (h Holder) dead() bool { return h.PID > 0 && errors.Is(unix.Kill(h.PID, 0), unix.ESRCH) }

// release removes the file, then unlocks it.
func (l *lock) release() {
	os.Remove(l.path)
	l.file.Close()
}

func flock(file *os.File) error {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func named(file *os.File, path string) bool {
	here, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(here, there)
}

func writeHolder(file *os.File, holder Holder) error {
	text, err := json.Marshal(holder)
	if err != nil {
		return err
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.WriteAt(append(text, '\n'), 0)
	return err
}

// readHolder is who holds the lock, as far as it is written there yet.
func readHolder(path string) Holder {
	var h Holder
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Holder{Config: "it has just started"}
	}
	return h
}

// pairLock is the file that is locked while a source is replicated to a target. Every instance of
// this user looks for it in the same directory, whatever its configuration says.
func pairLock(s config.Source, t config.Target) string {
	path := s.Path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	sum := sha256.Sum256([]byte(path + "\x00" + t.URL()))
	return filepath.Join(config.RunDir(), "pair-"+hex.EncodeToString(sum[:8])+".lock")
}

// pairs are the pairs of source and target of a configuration: what is locked, by the lock's file.
func pairs(cfg *config.Config) map[string]string {
	all := map[string]string{}
	for _, s := range cfg.Sources {
		for _, t := range s.Targets {
			all[pairLock(s, t)] = fmt.Sprintf("replicate %q to %q", s.Path, t.URL())
		}
	}
	return all
}

// lockPairs locks each pair that is not locked yet, and returns those. On an error it locks none.
func (d *Daemon) lockPairs(all map[string]string) (taken []string, err error) {
	for file, what := range all {
		if d.locks[file] != nil {
			continue
		}
		l, err := acquire(file, Holder{PID: os.Getpid(), Config: d.title(), What: what})
		if err != nil {
			d.release(taken)
			return nil, err
		}
		d.locks[file] = l
		taken = append(taken, file)
	}
	return taken, nil
}

func (d *Daemon) release(files []string) {
	for _, file := range files {
		d.locks[file].release()
		delete(d.locks, file)
	}
}

// releaseBut releases all locks but those of the pairs.
func (d *Daemon) releaseBut(pairs map[string]string) {
	for file, l := range d.locks {
		if _, needed := pairs[file]; !needed {
			l.release()
			delete(d.locks, file)
		}
	}
}
