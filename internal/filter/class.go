package filter

import (
	"errors"
	"fmt"
	"strings"
)

// errOpenClass is a class that is never closed.
var errOpenClass = errors.New(`a "[" is never closed`)

// class writes the class behind a "[". One that is negated stays so: under (?i) "[^a]" is not "A" either.
func (t *translator) class() error {
	opening := "["
	if t.skip("^") {
		opening = "[^"
	}
	s, err := t.members()
	if err == nil {
		t.out.WriteString(opening + s.ranges() + "]")
	}
	return err
}

// members reads the members of a class and its "]". There is at least one.
func (t *translator) members() (byteSet, error) {
	var s byteSet
	for first := true; ; first = false {
		switch {
		case t.pos == len(t.in):
			return s, errOpenClass
		case t.in[t.pos] == ']' && !first:
			t.pos++
			return s, nil
		}
		set, from, err := t.member()
		if err != nil {
			return s, err
		}
		if set != nil {
			s.add(*set)
			continue
		}
		to := from
		if strings.HasPrefix(t.in[t.pos:], "-") && !strings.HasPrefix(t.in[t.pos:], "-]") {
			t.pos++
			if set, to, err = t.member(); err != nil {
				return s, err
			}
			if set != nil || to < from {
				return s, fmt.Errorf("a range in a class runs backwards, or ends in a class")
			}
		}
		s.add(setOf(func(c byte) bool { return c >= from && c <= to }))
	}
}

// member reads one member of a class: a set, or else one byte.
func (t *translator) member() (*byteSet, byte, error) {
	if t.pos == len(t.in) {
		return nil, 0, errOpenClass
	}
	for _, kind := range []string{":", ".", "="} {
		if t.skip("[" + kind) {
			return t.posix(kind)
		}
	}
	if t.in[t.pos] != '\\' {
		t.pos++
		return nil, t.in[t.pos-1], nil
	}
	if t.pos+1 == len(t.in) {
		return nil, 0, errOpenClass
	}
	if t.in[t.pos+1] == 'b' {
		t.pos += 2
		return nil, '\b', nil
	}
	return t.escaped()
}

// posix reads the rest of [:alpha:], [:^alpha:], [.x.] and [=x=].
func (t *translator) posix(kind string) (*byteSet, byte, error) {
	name, _, ok := strings.Cut(t.in[t.pos:], kind+"]")
	if !ok {
		return nil, 0, errOpenClass
	}
	t.pos += len(name) + 2
	if kind != ":" {
		if len(name) != 1 {
			return nil, 0, fmt.Errorf("[%s%s%s] is not supported: write the characters", kind, name, kind)
		}
		return nil, name[0], nil
	}
	name, not := strings.CutPrefix(name, "^")
	s, known := namedSet(name)
	if !known {
		return nil, 0, fmt.Errorf("unknown class [:%s:]", name)
	}
	if not {
		s = s.not()
	}
	return &s, 0, nil
}

// skip reads s when it comes next.
func (t *translator) skip(s string) bool {
	if !strings.HasPrefix(t.in[t.pos:], s) {
		return false
	}
	t.pos += len(s)
	return true
}
