package rsync

import (
	"bytes"
	"strconv"

	"sersync/internal/change"
)

// item is one line of the output that was asked for by outFormat.
type item struct {
	path    change.Path
	deleted bool
	sent    bool // a file whose content was sent
	missing bool // it was not there
	dir     bool
	length  int64
	bytes   int64
}

// parseItem takes a line of the output apart; false when it is none of ours (a message, or what
// the daemon had to say).
func parseItem(line []byte) (item, bool) {
	parts := bytes.SplitN(line, []byte("|"), 4)
	if len(parts) != 4 || len(parts[0]) < 2 {
		return item{}, false
	}
	var it item
	what := parts[0]
	switch {
	case bytes.HasPrefix(what, []byte("*deleting")):
		it.deleted = true
	case bytes.IndexByte([]byte("<>ch."), what[0]) < 0:
		return item{}, false
	}
	it.missing = len(what) > 2 && what[2] == '+'
	it.sent = what[0] == '<' || what[0] == '>'
	var err error
	if it.length, err = strconv.ParseInt(string(parts[1]), 10, 64); err != nil {
		return item{}, false
	}
	if it.bytes, err = strconv.ParseInt(string(parts[2]), 10, 64); err != nil {
		return item{}, false
	}
	name := unescape(parts[3])
	it.dir = len(name) > 0 && name[len(name)-1] == '/'
	p, ok := pathOf(name)
	it.path = p
	return it, ok
}

// pathOf is a name of rsync's output as a path; false when it is none.
func pathOf(name string) (change.Path, bool) {
	for len(name) > 1 && name[len(name)-1] == '/' {
		name = name[:len(name)-1]
	}
	for len(name) > 2 && name[:2] == "./" {
		name = name[2:]
	}
	if name == "." || name == "./" {
		return change.Root, true
	}
	p := change.Path(name)
	return p, p != change.Root && p.Valid()
}

// unescape undoes rsync's \#ooo for bytes that it does not print. It escapes a backslash only
// where it would look like an escape itself, so this is exact.
func unescape(s []byte) string {
	if !bytes.Contains(s, []byte(`\#`)) {
		return string(s)
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 < len(s) && s[i+1] == '#' {
			if v, err := strconv.ParseUint(string(s[i+2:i+5]), 8, 8); err == nil {
				out = append(out, byte(v))
				i += 4
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// progressOf is the number of bytes in a line of --info=progress2: "  917504  27%  800.74kB/s  0:00:02".
func progressOf(line []byte) (int64, bool) {
	fields := bytes.Fields(line)
	if len(fields) < 2 || !bytes.HasSuffix(fields[1], []byte("%")) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.ReplaceAll(fields[0], []byte(","), nil)), 10, 64)
	return n, err == nil
}
