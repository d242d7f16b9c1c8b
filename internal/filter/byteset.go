package filter

import (
	"fmt"
	"strings"
)

// byteSet is a class of an expression.
type byteSet [256]bool

func (s *byteSet) add(t byteSet) {
	for c := range t {
		s[c] = s[c] || t[c]
	}
}

func (s byteSet) not() byteSet {
	for c := range s {
		s[c] = !s[c]
	}
	return s
}

// ranges are the members as regexp2 takes them between brackets.
func (s byteSet) ranges() string {
	var b strings.Builder
	for c := 0; c < 256; c++ {
		if !s[c] {
			continue
		}
		from := c
		for c+1 < 256 && s[c+1] {
			c++
		}
		fmt.Fprintf(&b, `\x%02x-\x%02x`, from, c)
	}
	return b.String()
}

func setOf(is func(c byte) bool) byteSet {
	var s byteSet
	for c := range s {
		s[c] = is(byte(c))
	}
	return s
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isAlpha(c byte) bool { return isLower(c) || isUpper(c) }
func isAlnum(c byte) bool { return isAlpha(c) || isDigit(c) }
func isWord(c byte) bool  { return isAlnum(c) || c == '_' }
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
func isGraph(c byte) bool { return c > ' ' && c < 0x7f }

// namedSet is the class of a name, as in [[:alpha:]], in the C locale.
func namedSet(name string) (byteSet, bool) {
	var is func(c byte) bool
	switch name {
	case "alnum":
		is = isAlnum
	case "alpha":
		is = isAlpha
	case "blank", "h":
		is = func(c byte) bool { return c == ' ' || c == '\t' }
	case "cntrl":
		is = func(c byte) bool { return c < ' ' || c == 0x7f }
	case "digit", "d":
		is = isDigit
	case "graph":
		is = isGraph
	case "lower", "l":
		is = isLower
	case "print":
		is = func(c byte) bool { return isGraph(c) || c == ' ' }
	case "punct":
		is = func(c byte) bool { return isGraph(c) && !isAlnum(c) }
	case "space", "s":
		is = isSpace
	case "upper", "u":
		is = isUpper
	case "v":
		is = func(c byte) bool { return c >= '\n' && c <= '\r' }
	case "word", "w":
		is = isWord
	case "xdigit":
		is = func(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
	default:
		return byteSet{}, false
	}
	return setOf(is), true
}
