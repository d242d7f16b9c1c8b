package filter

import (
	"errors"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// globMatcher is one line of a list of globs.
type globMatcher struct {
	named
	pattern  string // each byte as one rune
	suffix   string // of a pattern that is "*" and this; the common case
	anchored bool   // matches the whole path; else the name
	dirOnly  bool
	keep     bool
}

func newGlobMatcher(base named, pattern string) (matcher, error) {
	m := &globMatcher{named: base}
	pattern, m.keep = strings.CutPrefix(pattern, "!")
	pattern, m.dirOnly = cutTrailingSlash(pattern)
	m.anchored = strings.Contains(pattern, "/")
	pattern = strings.TrimPrefix(pattern, "/")
	if err := checkGlob(pattern); err != nil {
		return nil, err
	}
	m.pattern = escapeBraces(byteRunes(pattern))
	if rest, ok := strings.CutPrefix(m.pattern, "*"); ok && !m.anchored && !strings.ContainsAny(rest, `*?[\`) {
		m.suffix = rest
	}
	if !doublestar.ValidatePattern(m.pattern) {
		return nil, errors.New(`a "[" without its "]", an empty class, or a "\" at the end`)
	}
	return m, nil
}

// cutTrailingSlash takes off the slash that says "directories only".
func cutTrailingSlash(s string) (string, bool) {
	if rest, ok := strings.CutSuffix(s, "/"); ok {
		return rest, true
	}
	return s, false
}

// checkGlob refuses what could never match, which is always a slip.
func checkGlob(pattern string) error {
	if strings.IndexByte(pattern, 0) >= 0 {
		return errors.New("a zero byte is in no name")
	}
	for element := range strings.SplitSeq(pattern, "/") {
		switch element {
		case "":
			return errors.New("there is no name in it, or an empty one between two slashes")
		case ".", "..":
			return errors.New(`"." and ".." are no names: write the path from the root of the source`)
		}
		if len(element) > 2 && strings.Contains(strings.ReplaceAll(element, `\*`, ""), "**") {
			return errors.New(`"**" stands between slashes, alone: "**/name", "dir/**", "a/**/b"`)
		}
	}
	return nil
}

// escapeBraces makes braces ordinary characters, as they are in .gitignore and for rsync.
func escapeBraces(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			b.WriteByte(c)
			if i++; i < len(pattern) {
				b.WriteByte(pattern[i])
			}
		case '{', '}', ',':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (m *globMatcher) include() bool { return m.keep }

func (m *globMatcher) match(s subject) bool {
	if m.dirOnly && !s.dir {
		return false
	}
	if m.suffix != "" {
		return strings.HasSuffix(s.nameBytes, m.suffix)
	}
	if !m.anchored {
		return doublestar.MatchUnvalidated(m.pattern, s.nameBytes)
	}
	if prefix, ok := strings.CutSuffix(m.pattern, "/**"); ok && len(s.bytes) > 0 {
		// "dir/**" is what lies in dir, not dir itself.
		if doublestar.MatchUnvalidated(prefix, s.bytes) {
			return false
		}
	}
	return doublestar.MatchUnvalidated(m.pattern, s.bytes)
}
