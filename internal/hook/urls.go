package hook

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sersync/internal/change"
)

// URLRule says which URL a path has.
type URLRule struct {
	// Match is what the path relative to the source must match, in the syntax of RE2; empty for any path. Its "." matches every
	// byte, a line feed too.
	Match string
	// URL is a template: $1 to $9 and ${name} stand for groups of Match, $path for the path, $$ for a dollar sign. What they
	// stand for is escaped as its place needs it, slashes aside.
	URL string
}

// URLs say which URLs paths have. The zero URLs say nothing of any.
type URLs struct{ rules []urlRule }

type urlRule struct {
	match *regexp.Regexp
	parts []urlPart
}

// urlPart is literal text, or a group of the match where text is empty.
type urlPart struct {
	text  string
	group int // wholePath for $path
	place urlPlace
}

const wholePath = -1

// urlPlace is where in a URL a value stands.
type urlPlace uint8

const (
	inHost urlPlace = iota
	inPath
	inQuery
)

// NewURLs compiles rules. A path has the URL of each rule that matches.
func NewURLs(rules ...URLRule) (URLs, error) {
	var u URLs
	for _, r := range rules {
		// Without a flag of our own, a name with a line feed would have no URL.
		match, err := regexp.Compile("(?s)" + r.Match)
		if err != nil {
			return URLs{}, fmt.Errorf("compile match %q: %w", r.Match, err)
		}
		parts, err := parseURL(r.URL, match)
		if err != nil {
			return URLs{}, fmt.Errorf("read url %q: %w", r.URL, err)
		}
		u.rules = append(u.rules, urlRule{match, parts})
	}
	return u, nil
}

func (u URLs) any() bool { return len(u.rules) > 0 }

// of are the URLs of a path, each once.
func (u URLs) of(p change.Path) []string {
	var urls []string
	for _, r := range u.rules {
		if s, ok := r.expand(string(p)); ok && !slices.Contains(urls, s) {
			urls = append(urls, s)
		}
	}
	return urls
}

// expand is the URL of a path. A path of which a part would have to be a host name, and is none, has no URL: it could
// name another host than whoever wrote the rule had in mind.
func (r urlRule) expand(path string) (string, bool) {
	found := r.match.FindStringSubmatchIndex(path)
	if found == nil {
		return "", false
	}
	var b strings.Builder
	for _, part := range r.parts {
		value := ""
		switch {
		case part.text != "":
			b.WriteString(part.text)
			continue
		case part.group == wholePath:
			value = path
		case found[2*part.group] >= 0:
			value = path[found[2*part.group]:found[2*part.group+1]]
		}
		switch part.place {
		case inHost:
			if !isHostName(value) {
				return "", false
			}
			b.WriteString(value)
		case inPath:
			b.WriteString(escape(value, "/!$&'()*+,;=:@"))
		case inQuery:
			b.WriteString(escape(value, "/"))
		}
	}
	return b.String(), true
}

// parseURL reads a template.
func parseURL(template string, match *regexp.Regexp) ([]urlPart, error) {
	scheme, rest, _ := strings.Cut(template, "://")
	if scheme != "http" && scheme != "https" {
		return nil, errors.New("it must begin with http:// or https://")
	}
	parts := []urlPart{{text: scheme + "://"}}
	place := inHost
	for rest != "" {
		switch {
		case rest[0] == '?':
			place = inQuery
		case rest[0] == '/' && place == inHost:
			place = inPath
		}
		part, length, err := parsePart(rest, place, match)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		rest = rest[length:]
	}
	return parts, checkWhole(parts)
}

// parsePart reads the part at the start of s, and says how long it is.
func parsePart(s string, place urlPlace, match *regexp.Regexp) (urlPart, int, error) {
	if s[0] != '$' {
		length := len(s)
		if end := strings.IndexAny(s[1:], "$/?"); end >= 0 {
			length = 1 + end
		}
		return urlPart{text: s[:length]}, length, checkLiteral(s[:length], place)
	}
	name, length := variable(s)
	if name == "$" {
		return urlPart{text: name}, length, nil
	}
	group, err := groupOf(name, match)
	return urlPart{group: group, place: place}, length, err
}

var variables = regexp.MustCompile(`^\$(?:(\$)|([1-9])|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z0-9_]+)\})`)

// variable is the name behind the dollar sign at the start of s, and how long it is with all that belongs to it.
func variable(s string) (name string, length int) {
	found := variables.FindStringSubmatch(s)
	if found == nil {
		return "", 1
	}
	return found[1] + found[2] + found[3] + found[4], len(found[0])
}

// groupOf is the number of the group that a variable stands for.
func groupOf(name string, match *regexp.Regexp) (int, error) {
	switch {
	case name == "path":
		return wholePath, nil
	case len(name) == 1 && name[0] >= '1' && name[0] <= '9':
		if group := int(name[0] - '0'); group <= match.NumSubexp() {
			return group, nil
		}
		return 0, fmt.Errorf("match has no group %s", name)
	case name != "":
		if group := match.SubexpIndex(name); group > 0 {
			return group, nil
		}
		return 0, fmt.Errorf("match has no group (?P<%s>...): there are $1 to $9, ${NAME} and $path", name)
	}
	return 0, errors.New("a $ stands before no name: write $1 to $9, ${NAME}, $path, or $$ for a dollar sign")
}

// checkLiteral refuses what could not stand in a URL as it is.
func checkLiteral(s string, place urlPlace) error {
	for c := range strings.SplitSeq(s, "") {
		switch {
		case c == "#":
			return errors.New("what is behind a # is never sent: remove it")
		case c == "@" && place == inHost:
			return errors.New("a URL of a path holds no user and password")
		case c <= " " || c >= "\x7f" || strings.Contains("\"<>\\^`{|}", c):
			return fmt.Errorf("%q must be written as %s", c, escape(c, ""))
		}
	}
	return nil
}

// checkWhole looks at the URL with a plain value in all places.
func checkWhole(parts []urlPart) error {
	var b strings.Builder
	for _, part := range parts {
		if part.text == "" {
			part.text = "1"
		}
		b.WriteString(part.text)
	}
	u, err := url.Parse(b.String())
	if err != nil {
		return errors.Unwrap(err)
	}
	if u.Hostname() == "" {
		return errors.New("it has no host")
	}
	return nil
}

var hostNames = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

func isHostName(s string) bool { return len(s) <= 253 && hostNames.MatchString(s) }

// escape is s with every byte but letters, digits, "-._~" and those of keep as %XX. In the path of a URL the bytes that
// RFC 3986 allows there are kept, and not fewer as url.PathEscape does: "a(1).jpg" is asked for as it is by browsers, and a cache
// takes "a%281%29.jpg" for another page.
func escape(s, keep string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isPlain(c) || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// isPlain reports whether c stands for itself anywhere in a URL.
func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
