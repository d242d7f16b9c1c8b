package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// transferLog has the rsync daemons log what they do, path by path: their own word for what was sent.
const transferLog = "transfer logging = yes\nlog format = item %i %n\n"

// transfers are what an rsync daemon logged from one place of its log on.
type transfers struct {
	// files and others count what was sent or changed: regular files, and directories and all else; removed what went.
	files, others, removed int
	// names are those of the files, each once; connects counts the runs.
	names    map[string]bool
	connects int
	// example is one of the others.
	example string
}

// logEnd is where the daemon's log ends now.
func (s *site) logEnd() (int64, error) {
	info, err := os.Stat(filepath.Join(s.dir, "rsyncd.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at the log of the rsync daemon: %w", err)
	}
	return info.Size(), nil
}

// transfersSince reads the daemon's log from a place on.
func (s *site) transfersSince(place int64) (transfers, error) {
	t := transfers{names: map[string]bool{}}
	f, err := os.Open(filepath.Join(s.dir, "rsyncd.log"))
	if err != nil {
		return t, fmt.Errorf("read the log of the rsync daemon: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(place, 0); err != nil {
		return t, fmt.Errorf("read the log of the rsync daemon: %w", err)
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		t.line(lines.Text())
	}
	return t, lines.Err()
}

// line takes one line of the log: time, process, and what it says.
func (t *transfers) line(text string) {
	if strings.Contains(text, "] connect from ") {
		t.connects++
		return
	}
	_, item, ok := strings.Cut(text, "] item ")
	if !ok {
		return
	}
	what, name, _ := strings.Cut(item, " ")
	switch {
	case strings.HasPrefix(what, "*deleting"):
		t.removed++
	case len(what) > 1 && what[0] == '<' || len(what) > 1 && what[0] == '>':
		t.files++
		t.names[name] = true
	default:
		t.others++
		t.example = item
	}
}
