package config

import (
	"fmt"
	"strings"
)

// splitWords splits a line into words as a POSIX shell would, quotes and backslashes
// included, and does nothing else that a shell does: no variables, no commands, no file names. What would be one of these is an
// error, but for the characters of file names, which stand for themselves.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	open := false // a word has begun, maybe an empty one in quotes
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n', '\r':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		case '\'', '"':
			n, err := unquote(line[i:], &word)
			if err != nil {
				return nil, err
			}
			i += n
			open = true
		case '\\':
			if i++; i == len(line) {
				return nil, fmt.Errorf(`a \ at the end stands before nothing`)
			}
			word.WriteByte(line[i])
			open = true
		case '$', '`', ';', '|', '&', '<', '>', '(', ')':
			return nil, fmt.Errorf("there is no shell that would understand %q; put it in quotes if it is meant as it stands", c)
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}

// unquote writes to word what stands between the quotes at the start of s, and returns the place of the second one.
func unquote(s string, word *strings.Builder) (int, error) {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == quote:
			return i, nil
		case quote == '"' && (c == '$' || c == '`'):
			return 0, fmt.Errorf("there is no shell that would understand %q; put it in single quotes if it is meant as it stands", c)
		case quote == '"' && c == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$`", s[i+1]) >= 0:
			i++
			c = s[i]
		}
		word.WriteByte(c)
	}
	return 0, fmt.Errorf("a %c is never closed", quote)
}
