package torture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sent is one path that an rsync daemon changed on its target.
type sent struct {
	// what is the itemized change, as ">f+++++++++" or "*deleting".
	what string
	rel  string
	dir  bool
}

// witness reads what an rsync daemon logs of paths, from where it read last.
type witness struct {
	file   string
	offset int64
	rest   []byte
	// below is the directory of the target that a process of the daemon writes to, by its number as the log has it.
	below map[string]string
}

// read is what was logged since the last call.
func (w *witness) read() ([]sent, error) {
	f, err := os.Open(w.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log of an rsync daemon: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, w.offset, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("read log of an rsync daemon: %w", err)
	}
	w.offset += int64(len(text))
	text = append(w.rest, text...)
	end := bytes.LastIndexByte(text, '\n') + 1
	w.rest = bytes.Clone(text[end:])
	var all []sent
	for line := range bytes.Lines(text[:end]) {
		text := string(bytes.TrimSuffix(line, []byte("\n")))
		process, said, _ := strings.Cut(text, "] ")
		process = process[strings.LastIndexByte(process, '[')+1:]
		if to, ok := strings.CutPrefix(said, "rsync to "+module); ok {
			if w.below == nil {
				w.below = map[string]string{}
			}
			to, _, _ = strings.Cut(to, " from "+user+"@")
			w.below[process] = strings.Trim(to, "/")
		}
		if s, ok := parseSent(text); ok {
			s.rel = filepath.Join(w.below[process], s.rel)
			all = append(all, s)
		}
	}
	return all, nil
}

var escaped = regexp.MustCompile(`\\#[0-7]{3}`)

// parseSent reads one line of the log, as "2026/11/21 14:18:28 [302] CHANGED|recv|>f+++++++++|a".
func parseSent(line string) (sent, bool) {
	_, text, ok := strings.Cut(line, logMark)
	if !ok {
		return sent{}, false
	}
	fields := strings.SplitN(text, "|", 3)
	if len(fields) != 3 {
		return sent{}, false
	}
	name := escaped.ReplaceAllStringFunc(fields[2], func(s string) string {
		n, _ := strconv.ParseUint(s[2:], 8, 8)
		return string([]byte{byte(n)})
	})
	s := sent{what: strings.TrimSpace(fields[1]), rel: strings.TrimSuffix(name, "/"), dir: strings.HasSuffix(name, "/")}
	if s.rel == "" {
		s.rel = "."
	}
	// Attributes of a directory are sent with what is in it; one that is made or removed is a change of its own.
	s.dir = s.dir && strings.HasPrefix(s.what, ".d")
	return s, true
}

// judgement is what the witnesses say of one life of the daemon under test.
type judgement struct {
	// sent and wrong are how many paths were sent, and those that there was no reason to send.
	sent  int
	wrong []string
}

// judge compares what a target got since the last call with what the oracle knows. began is when that life began.
func judge(o *oracle, target int, w *witness, began time.Time) (judgement, error) {
	all, err := w.read()
	if err != nil {
		return judgement{}, err
	}
	floor := o.floor(target, began)
	j := judgement{sent: len(all)}
	for _, s := range all {
		if isPartial(s.rel) || isTemporary(o.root, s.rel) || o.reason(s.rel, s.dir, floor) {
			continue
		}
		j.wrong = append(j.wrong, fmt.Sprintf("target %d was sent %q (%s), which had not changed since %s",
			target+1, s.rel, s.what, floor.Format(clockFormat)))
	}
	return j, nil
}

// floor is since when there must be a reason for what is sent in a life that began then: what was changed earlier was on the target
// longer than the tail ago, or since the first tree was.
func (o *oracle) floor(target int, began time.Time) time.Time {
	floor := o.settledBefore(target, began.Add(-tailTime))
	if floor.Before(o.filled) {
		floor = o.filled
	}
	return floor
}
