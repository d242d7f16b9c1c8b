package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

const (
	// startLimit bounds the wait for the walk of the start, stopLimit that for the end.
	startLimit = 15 * time.Minute
	stopLimit  = 5 * time.Minute
	// askEvery is how often sersync is asked for its status while something is waited for.
	askEvery = 20 * time.Millisecond
	// restTime is how long nothing must have been written.
	restTime = 2 * time.Second
	// noState is a state directory that cannot be: the journal is in memory alone.
	noState = "/dev/null/none"
)

// socket is where sersync answers.
func (s *site) socket() string { return filepath.Join(s.dir, "run", "sock") }

// keptPeer is sersync with its journal on the disk of the machine, where the stage itself may be in memory, or with one
// in memory.
func (b *bench) keptPeer(onDisk bool) peer {
	p := b.sersyncPeer()
	return peer{name: p.name, command: func(s *site) (*exec.Cmd, error) {
		s.state = noState
		if onDisk {
			s.state = filepath.Join(s.stage.disk, "state-"+strings.ReplaceAll(filepath.Base(s.dir), " ", "-"))
		}
		return p.command(s)
	}}
}

// status is what sersync says of its source.
func (s *site) status(ctx context.Context) (replicate.Status, error) {
	status, err := httpd.NewClient(s.socket()).Status(ctx)
	if err != nil {
		return replicate.Status{}, err
	}
	if len(status.Sources) != 1 {
		return replicate.Status{}, fmt.Errorf("ask sersync: it tells of %d sources", len(status.Sources))
	}
	return status.Sources[0], nil
}

// until asks sersync until its status is as wanted. That nobody answers yet is no error while it runs.
func (s *site) until(ctx context.Context, limit time.Duration, is func(replicate.Status) bool) (replicate.Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	for {
		status, err := s.status(ctx)
		if err == nil && is(status) {
			return status, nil
		}
		if err := s.wait(ctx, askEvery); err != nil {
			return status, fmt.Errorf("wait for a state of sersync: %w", err)
		}
	}
}

// watching says that the walk of the start is over.
func watching(s replicate.Status) bool { return s.State == "watching" }

// atRest says that no target lacks anything and the journal is on the disk.
func atRest(s replicate.Status) bool {
	for _, t := range s.Targets {
		if t.Waiting > 0 || t.State == "sending" {
			return false
		}
	}
	return watching(s) && s.Journal.Unsaved == 0
}

// rest waits until no target lacks anything and the journal is on the disk: what is being written is not counted as
// unsaved, so that it must not have been written for a while.
func (s *site) rest(ctx context.Context) (replicate.Status, error) {
	var saved, since time.Time
	return s.until(ctx, startLimit, func(status replicate.Status) bool {
		var at time.Time
		if status.Journal.Saved != nil {
			at = *status.Journal.Saved
		}
		if !atRest(status) || since.IsZero() || !at.Equal(saved) {
			saved, since = at, time.Now()
		}
		return time.Since(since) > restTime
	})
}

// spent is what something took, by the clock and of the processors.
type spent struct{ wall, cpu time.Duration }

func (s spent) String() string {
	return fmt.Sprintf("%.2f s (CPU %.2f s)", seconds(s.wall), seconds(s.cpu))
}

// startWatching starts sersync alone and returns when its walk is over.
func (s *site) startWatching(ctx context.Context, p peer) (spent, error) {
	before, err := s.sourceCPU.used()
	if err != nil {
		return spent{}, err
	}
	began := time.Now()
	if err := s.startPeer(p); err != nil {
		return spent{}, err
	}
	if _, err := s.until(ctx, startLimit, watching); err != nil {
		return spent{}, err
	}
	took := time.Since(began)
	after, err := s.sourceCPU.used()
	return spent{took, after - before}, err
}

// stopCleanly ends sersync as a service manager does, and returns how long that took.
func (s *site) stopCleanly() (time.Duration, error) {
	began := time.Now()
	if err := s.process.end(unix.SIGTERM, stopLimit); err != nil {
		return 0, err
	}
	if state := s.process.cmd.ProcessState; !state.Success() {
		return 0, fmt.Errorf("end sersync: %v: %s", state, s.process.tail())
	}
	return time.Since(began), nil
}

// written is how many bytes a process has caused to be written to disks, in MB of 10^6 bytes, what it waited for of
// its children included.
func written(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, fmt.Errorf("read what the peer wrote: %w", err)
	}
	_, text, _ := strings.Cut(string(data), "\nwrite_bytes: ")
	text, _, _ = strings.Cut(text, "\n")
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("read what the peer wrote: %w", err)
	}
	return n / 1e6, nil
}

// stateSize is what the state takes on its disk, in MB of 10^6 bytes.
func (s *site) stateSize() (float64, error) {
	var blocks int64
	err := filepath.WalkDir(s.state, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		blocks += st.Blocks
		return err
	})
	return float64(blocks) * 512 / 1e6, err
}

// idleHeap is how much of its memory a sersync with metrics has ready to give back, in MB of 10^6 bytes.
func (s *site) idleHeap(ctx context.Context) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		values[name], _ = strconv.ParseFloat(value, 64)
	}
	return (values["go_memstats_heap_idle_bytes"] - values["go_memstats_heap_released_bytes"]) / 1e6, lines.Err()
}
