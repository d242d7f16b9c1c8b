package hook

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuoted bounds what an error repeats of what somebody else has written.
const maxQuoted = 200

// quote is the beginning of s for an error, quoted when it holds anything but printable text.
func quote(s string) string {
	s = strings.TrimSpace(s)
	s = s[:min(len(s), maxQuoted)]
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
