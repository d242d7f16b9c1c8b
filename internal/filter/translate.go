package filter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dlclark/regexp2/syntax"
)

// translate turns an expression in the Perl syntax of Boost, as 2.5.4 read it, into one that
// regexp2 takes for the same on runes that stand for bytes. Everything whose meaning differs
// between the two is written out: classes become sets of bytes in the C locale, named groups numbers,
// quoted text escapes. What regexp2 has nothing for is an error.
func translate(expression string) (string, error) {
	t := translator{in: expression, names: make(map[string]int)}
	for t.pos < len(t.in) {
		if err := t.next(); err != nil {
			return "", err
		}
	}
	switch {
	case t.depth > 0:
		return "", errors.New(`a "(" is never closed`)
	case t.highest > t.groups:
		return "", fmt.Errorf("it refers to group %d, and there are %d", t.highest, t.groups)
	}
	return t.out.String(), nil
}

type translator struct {
	in  string
	pos int
	out strings.Builder
	// depth counts open groups, groups those that capture, highest is the highest number referred to.
	depth, groups, highest int
	names                  map[string]int
	// repeated: what was read last is a quantifier, behind which "+" would mean possessive.
	repeated bool
}

// next reads one element.
func (t *translator) next() error {
	c := t.in[t.pos]
	repeated := t.repeated
	t.repeated = false
	switch c {
	case '\\':
		return t.escape()
	case '[':
		t.pos++
		return t.class()
	case '(':
		return t.group()
	case ')':
		if t.depth--; t.depth < 0 {
			return errors.New(`a ")" closes nothing`)
		}
		t.copy(1)
	case '*', '+', '?':
		if c == '+' && repeated {
			return errors.New(`possessive quantifiers ("*+", "++", "?+") are not supported: write (?>...)`)
		}
		t.repeated = !repeated
		t.copy(1)
	case '{':
		if n := repetition(t.in[t.pos:]); n > 0 {
			t.repeated = true
			t.copy(n)
			break
		}
		t.literal(c)
		t.pos++
	case '.', '^', '$', '|':
		t.copy(1)
	default:
		t.literal(c)
		t.pos++
	}
	return nil
}

// repetition is the length of "{2}", "{2,}" or "{2,5}" at the start of s, 0 when there is none.
func repetition(s string) int {
	end := strings.IndexByte(s, '}')
	if end < 0 {
		return 0
	}
	low, high, _ := strings.Cut(s[1:end], ",")
	if low == "" || strings.Trim(low+high, "0123456789") != "" {
		return 0
	}
	return end + 1
}

func (t *translator) copy(n int) {
	t.out.WriteString(t.in[t.pos : t.pos+n])
	t.pos += n
}

// literal writes a byte that stands for itself.
func (t *translator) literal(c byte) {
	switch {
	case c >= 0x80:
		t.out.WriteRune(rune(c))
	case isWord(c):
		t.out.WriteByte(c)
	default:
		fmt.Fprintf(&t.out, `\x%02x`, c)
	}
}

// group reads what begins with "(".
func (t *translator) group() error {
	rest := t.in[t.pos:]
	switch {
	case strings.HasPrefix(rest, "(*"):
		return errors.New(`"(*" begins a verb, which is not supported`)
	case !strings.HasPrefix(rest, "(?"):
		t.groups++
		t.depth++
		t.copy(1)
		return nil
	case strings.HasPrefix(rest, "(?#"):
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return errors.New(`a comment "(?#" is never closed`)
		}
		t.pos += end + 1
		return nil
	}
	for _, opening := range []string{"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"} {
		if strings.HasPrefix(rest, opening) {
			t.depth++
			t.copy(len(opening))
			return nil
		}
	}
	for opening, closing := range map[string]string{"(?<": ">", "(?P<": ">", "(?'": "'"} {
		if name, ok := strings.CutPrefix(rest, opening); ok {
			return t.namedGroup(name, closing)
		}
	}
	if strings.HasPrefix(rest, "(?(") {
		return t.condition(rest)
	}
	return t.flags(rest)
}

// namedGroup makes a numbered group of a named one: the two number them differently.
func (t *translator) namedGroup(rest, closing string) error {
	name, _, ok := strings.Cut(rest, closing)
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 || !isWord(byte(r)) }) {
		return errors.New("a group has a wrong name")
	}
	if _, ok := t.names[name]; ok {
		return fmt.Errorf("two groups have the name %s", name)
	}
	t.groups++
	t.depth++
	t.names[name] = t.groups
	t.out.WriteByte('(')
	t.pos = len(t.in) - len(rest) + len(name) + 1
	return nil
}

// condition reads "(?(1)" or "(?(" with a look-around, which is read as a group of its own then.
func (t *translator) condition(rest string) error {
	number, _, closed := strings.Cut(rest[3:], ")")
	n, err := strconv.Atoi(number)
	switch {
	case err == nil && n > 0 && closed:
		t.highest = max(t.highest, n)
		t.copy(3 + len(number) + 1)
	case strings.HasPrefix(rest[3:], "?=") || strings.HasPrefix(rest[3:], "?!") || strings.HasPrefix(rest[3:], "?<"):
		t.copy(2)
	default:
		return errors.New(`a condition "(?(" must be the number of a group, or a look-around`)
	}
	t.depth++
	return nil
}

// flags reads "(?i)" and "(?i:".
func (t *translator) flags(rest string) error {
	end := strings.IndexAny(rest, "):")
	if end < 0 || strings.Trim(rest[2:end], "ims-") != "" || strings.Count(rest[2:end], "-") > 1 {
		return errors.New(`what begins with "(?" here is not supported: of flags there are i, m and s; there is no recursion and no branch reset`)
	}
	if rest[end] == ':' {
		t.depth++
	}
	t.copy(end + 1)
	return nil
}

// plain is an error of regexp2 without the expression, which is not the one that a person wrote.
func plain(err error) error {
	var e *syntax.Error
	if errors.As(err, &e) {
		return errors.New(e.Code.String())
	}
	return err
}
