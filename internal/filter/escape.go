package filter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// escape reads what begins with a backslash, outside of a class.
func (t *translator) escape() error {
	if t.pos+1 == len(t.in) {
		return errors.New(`a "\" at the end stands before nothing`)
	}
	c := t.in[t.pos+1]
	const word = `[A-Za-z0-9_]`
	assertions := map[byte]string{
		'A': `\A`, '`': `\A`, 'z': `\z`, '\'': `\z`, 'Z': `\Z`, 'E': "",
		'b': `(?:(?<=` + word + `)(?!` + word + `)|(?<!` + word + `)(?=` + word + `))`,
		'B': `(?:(?<=` + word + `)(?=` + word + `)|(?<!` + word + `)(?!` + word + `))`,
		'<': `(?<!` + word + `)(?=` + word + `)`,
		'>': `(?<=` + word + `)(?!` + word + `)`,
		'R': `(?>\r\n|[\n-\r])`,
		'C': `[\x00-\xff]`,
	}
	if out, ok := assertions[c]; ok {
		t.out.WriteString(out)
		t.pos += 2
		return nil
	}
	switch {
	case c == 'Q':
		t.quoted()
		return nil
	case c >= '1' && c <= '9', c == 'g', c == 'k':
		return t.reference()
	case strings.IndexByte("GKNX", c) >= 0:
		return fmt.Errorf(`"\%c" is not supported`, c)
	}
	set, single, err := t.escaped()
	switch {
	case err != nil:
		return err
	case set != nil:
		t.out.WriteString("[" + set.ranges() + "]")
	default:
		t.literal(single)
	}
	return nil
}

// quoted reads \Q...\E.
func (t *translator) quoted() {
	text, _, closed := strings.Cut(t.in[t.pos+2:], `\E`)
	for i := range len(text) {
		t.literal(text[i])
	}
	t.pos += 2 + len(text)
	if closed {
		t.pos += 2
	}
}

// reference reads \1, \g1, \g{1}, \g{name}, \k<name>, \k'name' and \k{name}.
func (t *translator) reference() error {
	rest := t.in[t.pos+1:]
	name := ""
	length := 0
	switch {
	case rest[0] != 'g' && rest[0] != 'k':
		name = digits(rest)
		length = len(name)
	case len(rest) > 1 && strings.IndexByte(`{<'`, rest[1]) >= 0:
		closing := map[byte]byte{'{': '}', '<': '>', '\'': '\''}[rest[1]]
		end := strings.IndexByte(rest[2:], closing)
		if end < 0 {
			return errors.New("a reference to a group is never closed")
		}
		name, length = rest[2:2+end], end+3
	default:
		name = digits(rest[1:])
		length = 1 + len(name)
	}
	n, ok := t.names[name]
	if !ok {
		var err error
		if n, err = strconv.Atoi(name); err != nil || n < 1 {
			return fmt.Errorf("it refers to a group %q, which is not before it", name)
		}
	}
	t.highest = max(t.highest, n)
	fmt.Fprintf(&t.out, `(?:\%d)`, n)
	t.pos += 1 + length
	return nil
}

func digits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// escaped reads an escape that means the same inside and outside of a class: a set, or else
// one byte.
func (t *translator) escaped() (*byteSet, byte, error) {
	c := t.in[t.pos+1]
	t.pos += 2
	switch c {
	case 'd', 'w', 's', 'h', 'v', 'l', 'u':
		s, _ := namedSet(string(c))
		return &s, 0, nil
	case 'D', 'W', 'S', 'H', 'V', 'L', 'U':
		s, _ := namedSet(strings.ToLower(string(c)))
		s = s.not()
		return &s, 0, nil
	case 'p', 'P':
		s, err := t.property(c == 'P')
		return &s, 0, err
	case 'x', '0':
		b, err := t.number(c)
		return nil, b, err
	case 'c':
		if t.pos == len(t.in) {
			return nil, 0, errors.New(`"\c" stands before nothing`)
		}
		t.pos++
		return nil, t.in[t.pos-1] % 32, nil
	}
	if i := strings.IndexByte("aefnrt", c); i >= 0 {
		return nil, "\a\x1b\f\n\r\t"[i], nil
	}
	return nil, c, nil
}

// property reads the rest of \p{name} or \pN.
func (t *translator) property(not bool) (byteSet, error) {
	rest := t.in[t.pos:]
	name := ""
	switch {
	case rest == "":
		return byteSet{}, errors.New(`"\p" needs the name of a class`)
	case rest[0] == '{':
		var ok bool
		if name, _, ok = strings.Cut(rest[1:], "}"); !ok {
			return byteSet{}, errors.New(`a "\p{" is never closed`)
		}
		t.pos += len(name) + 2
	default:
		name = rest[:1]
		t.pos++
	}
	s, ok := namedSet(name)
	if !ok {
		return s, fmt.Errorf("unknown class %q", name)
	}
	if not {
		s = s.not()
	}
	return s, nil
}

// number reads the rest of \xHH, \x{HH} or \0OOO.
func (t *translator) number(kind byte) (byte, error) {
	rest := t.in[t.pos:]
	text, base := "", 8
	switch {
	case kind == '0':
		text = leading(rest, "01234567", 3)
		t.pos += len(text)
		text = "0" + text
	case strings.HasPrefix(rest, "{"):
		base = 16
		text, _, _ = strings.Cut(rest[1:], "}")
		t.pos += min(len(text)+2, len(rest))
	default:
		base = 16
		text = leading(rest, "0123456789abcdefABCDEF", 2)
		t.pos += len(text)
	}
	n, err := strconv.ParseUint(text, base, 8)
	if err != nil {
		return 0, fmt.Errorf(`"\%c" must be the number of one byte`, kind)
	}
	return byte(n), nil
}

// leading is the start of s that consists of chars, at most n of them.
func leading(s, chars string, n int) string {
	s = s[:min(n, len(s))]
	return s[:len(s)-len(strings.TrimLeft(s, chars))]
}
