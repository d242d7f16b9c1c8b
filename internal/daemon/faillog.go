package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/config"
	"sersync/internal/transport"
)

// failMax bounds the paths of one target in the fail log.
const failMax = 1000

// failEvery is how often the fail log is compared with what fails.
const failEvery = 5 * time.Second

// failLog is the file of what failed, as 2.5.4 had it. It is a report for a person: nothing is ever read from it, and
// nothing in it is run.
type failLog struct {
	log *slog.Logger
	// config is what the configuration says now, text what the file should say now.
	config func() config.FailLog
	text   func() []byte
	// retry tries everything again that failed.
	retry func()

	// file is open and locked under path; nil when there is none. written is what it says.
	file    *os.File
	path    string
	written []byte
	// said is the error that the log has.
	said string
}

// run keeps the file until ctx ends, and leaves in it what failed then.
func (f *failLog) run(ctx context.Context) {
	tick := time.NewTicker(failEvery)
	defer tick.Stop()
	retried := time.Now()
	for {
		f.refresh()
		select {
		case <-ctx.Done():
			f.refresh()
			f.close()
			return
		case now := <-tick.C:
			if c := f.config(); c.Path != "" && now.Sub(retried) >= c.RetryEvery {
				retried = now
				f.retry()
			}
		}
	}
}

// refresh makes the file say what fails now. An error is said once.
func (f *failLog) refresh() {
	err := f.update()
	switch {
	case err == nil && f.said != "":
		f.said = ""
		f.log.Info("fail log is written again", "file", f.path)
	case err != nil && err.Error() != f.said:
		f.said = err.Error()
		f.log.Error("fail log is not written", "error", err,
			"hint", "name a file of its own in a directory that only this user can write, as <failLog path> or fail_log: path")
	}
}

func (f *failLog) update() error {
	path := f.config().Path
	if f.file != nil && (f.path != path || !named(f.file, f.path)) {
		if f.path != path && named(f.file, f.path) {
			// Nobody keeps it true any more.
			if err := f.write(nil); err != nil {
				return err
			}
		}
		f.close()
	}
	if path == "" {
		return nil
	}
	text := f.text()
	if f.file == nil {
		file, err := openFailLog(path)
		if err != nil {
			return err
		}
		f.file, f.path = file, path
		return f.write(text)
	}
	if bytes.Equal(text, f.written) {
		return nil
	}
	return f.write(text)
}

// write replaces what the file says.
func (f *failLog) write(text []byte) error {
	f.written = nil
	if err := f.file.Truncate(0); err != nil {
		return fmt.Errorf("empty fail log: %w", err)
	}
	if _, err := f.file.Write(text); err != nil {
		// Half a command is worse than none.
		return fmt.Errorf("write fail log: %w", errors.Join(err, f.file.Truncate(0)))
	}
	f.written = text
	return nil
}

func (f *failLog) close() {
	if f.file != nil {
		f.file.Close()
		f.file, f.written = nil, nil
	}
}

// openFailLog opens the file for us alone, or makes it. What somebody else put there, or could put there, is refused: we
// may be root, and a person is going to run what it says.
func openFailLog(path string) (*os.File, error) {
	if err := checkFailDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	for range 10 {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		switch {
		case errors.Is(err, unix.ELOOP):
			return nil, fmt.Errorf("open fail log %q: it is a symbolic link", path)
		case errors.Is(err, unix.ENXIO): // a pipe
			return nil, fmt.Errorf("open fail log %q: it is no regular file", path)
		case err != nil:
			return nil, fmt.Errorf("open fail log: %w", err)
		}
		fresh, err := ownFailLog(file)
		switch {
		case err != nil:
			file.Close()
			return nil, fmt.Errorf("open fail log %q: %w", path, err)
		case fresh && named(file, path):
			return file, nil
		case !fresh && named(file, path):
			// 2.5.4 left it open to everybody: who has it open can write to it for ever. A new one takes its place.
			err = os.Remove(path)
		}
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("replace fail log that others can write: %w", err)
		}
	}
	return nil, fmt.Errorf("open fail log %q: somebody else keeps replacing it", path)
}

// ownFailLog locks the file if it is ours, and reports whether nobody else can use it.
func ownFailLog(file *os.File) (fresh bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return false, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return false, errors.New("it is no regular file")
	case int(st.Uid) != os.Geteuid():
		return false, fmt.Errorf("it belongs to user %d", st.Uid)
	case st.Nlink > 1:
		return false, errors.New("it has another name as well")
	}
	if err := flock(file); errors.Is(err, unix.EWOULDBLOCK) {
		return false, errors.New("another sersync writes it")
	} else if err != nil {
		return false, err
	}
	return st.Mode&0o077 == 0, nil
}

// checkFailDir refuses a directory in which everybody can replace what is ours.
func checkFailDir(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("look at directory of fail log %q: %w", dir, err)
	}
	if st.Mode&0o002 != 0 && st.Mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("everybody can replace a fail log in %q", dir)
	}
	return nil
}

// failLog is the fail log of the daemon.
func (d *Daemon) failLog() *failLog {
	return &failLog{
		log:  d.log,
		text: d.failText,
		config: func() config.FailLog {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.config.FailLog
		},
		retry: func() {
			for _, r := range d.running() {
				r.source.RetryAll()
			}
		},
	}
}

// failText is what the fail log should say; nothing when nothing failed.
func (d *Daemon) failText() []byte {
	d.mu.Lock()
	cfg, sources := d.config, d.sources
	d.mu.Unlock()
	var out bytes.Buffer
	for _, r := range sources {
		failing := r.source.Failing(failMax)
		if len(failing) == 0 {
			continue
		}
		removal := transport.Remove
		if len(cfg.RulesFor(r.config)) > 0 {
			removal = transport.RemoveExact // a filter may protect what is below
		}
		for _, f := range failing {
			if t, ok := r.target(f.Target); ok {
				failLines(&out, r.config, t, f, removal)
			}
		}
	}
	if out.Len() == 0 {
		return nil
	}
	return append([]byte(failHead), out.Bytes()...)
}
