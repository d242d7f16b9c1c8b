package raw

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/lestrrat-go/strftime"
	"golang.org/x/sys/unix"
)

// kinds are the names of events, in the order in which inotifywait prints them. What has no word cannot be asked for.
var kinds = []struct {
	bits       uint32
	name, word string
}{
	{unix.IN_ACCESS, "ACCESS", "access"},
	{unix.IN_MODIFY, "MODIFY", "modify"},
	{unix.IN_ATTRIB, "ATTRIB", "attrib"},
	{unix.IN_CLOSE_WRITE, "CLOSE_WRITE", "close_write"},
	{unix.IN_CLOSE_NOWRITE, "CLOSE_NOWRITE", "close_nowrite"},
	{unix.IN_OPEN, "OPEN", "open"},
	{unix.IN_MOVED_FROM, "MOVED_FROM", "moved_from"},
	{unix.IN_MOVED_TO, "MOVED_TO", "moved_to"},
	{unix.IN_CREATE, "CREATE", "create"},
	{unix.IN_DELETE, "DELETE", "delete"},
	{unix.IN_DELETE_SELF, "DELETE_SELF", "delete_self"},
	{unix.IN_UNMOUNT, "UNMOUNT", "unmount"},
	{unix.IN_IGNORED, "IGNORED", ""},
	{unix.IN_CLOSE, "CLOSE", "close"},
	{unix.IN_MOVE_SELF, "MOVE_SELF", "move_self"},
	{unix.IN_ISDIR, "ISDIR", ""},
	{unix.IN_MOVE, "", "move"},
}

// Mask reads the lists of names behind -e; without any it is all events.
func Mask(lists []string) (uint32, error) {
	if len(lists) == 0 {
		return unix.IN_ALL_EVENTS, nil
	}
	var mask uint32
	for word := range strings.SplitSeq(strings.ToLower(strings.Join(lists, ",")), ",") {
		bits := uint32(0)
		for _, k := range kinds {
			if word != "" && k.word == word {
				bits = k.bits
			}
		}
		if bits == 0 {
			return 0, fmt.Errorf("%q is no event", word)
		}
		mask |= bits
	}
	return mask, nil
}

// names are what happened, with a separator between them.
func names(mask uint32, separator string) string {
	var all []string
	for _, k := range kinds {
		if k.name != "" && mask&k.bits != 0 {
			all = append(all, k.name)
		}
	}
	return strings.Join(all, separator)
}

// Format writes events as inotifywait does: --format and --timefmt.
type Format struct {
	format string
	time   *strftime.Strftime
}

// NewFormat reads a format. An empty one is that of inotifywait without any: "%w %e %f".
func NewFormat(format, timeFormat string) (*Format, error) {
	f := &Format{format: format}
	switch {
	case format == "" && timeFormat != "":
		return nil, fmt.Errorf("--timefmt cannot be specified without --format")
	case format == "":
		f.format = "%w %e %f"
	case strings.Contains(format, "%T") && timeFormat == "":
		return nil, fmt.Errorf("%%T is in --format string, but --timefmt was not specified")
	}
	if timeFormat != "" {
		var err error
		if f.time, err = strftime.New(timeFormat, strftime.WithUnixSeconds('s')); err != nil {
			return nil, fmt.Errorf("read --timefmt %q: %w", timeFormat, err)
		}
	}
	return f, nil
}

// Append adds the line of an event to b. Names are bytes and stay as they are, as for inotifywait: scripts read them.
func (f *Format) Append(b []byte, e Event, now time.Time) []byte {
	s := f.format
	for len(s) > 0 {
		i := strings.IndexByte(s, '%')
		if i < 0 || i+1 == len(s) {
			b = append(b, s...)
			break
		}
		b, s = append(b, s[:i]...), s[i+1:]
		c := s[0]
		s = s[1:]
		switch c {
		case 'w':
			b = append(b, e.Dir...)
		case 'f':
			b = append(b, e.Name...)
		case 'e':
			b = append(b, names(e.Mask, ",")...)
		case 'T':
			b = append(b, f.time.FormatString(now)...)
		case 'c':
			b = fmt.Appendf(b, "%x", e.Cookie)
		case '0':
			b = append(b, 0)
		case 'n':
			b = append(b, '\n')
		case '%':
			b = append(b, '%')
		default:
			if strings.HasPrefix(s, "e") {
				b, s = append(b, names(e.Mask, string(c))...), s[1:]
			} else {
				b = append(b, '%', c)
			}
		}
	}
	return append(b, '\n')
}

// Regex compiles a POSIX extended regular expression.
func Regex(expression string, fold bool) (*regexp.Regexp, error) {
	flags := syntax.POSIX
	if fold {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(expression, flags)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(tree.String())
}
