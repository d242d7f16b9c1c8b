package config

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// element is an XML element with the line it starts in. Names are compared without case.
type element struct {
	name     string
	line     int
	attrs    []attr
	children []*element
}

type attr struct{ name, value string }

// maxDepth and maxElements bound a file made to exhaust us.
const (
	maxDepth    = 64
	maxElements = 100_000
	maxOpenings = 10_000
)

// parseXML reads a file into a tree. Bytes of values pass through whatever encoding is declared.
func parseXML(file string, data []byte) (*element, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	d := xml.NewDecoder(bytes.NewReader(latin1(data)))
	// 2.5.4 passed bytes through. Read as Latin-1 every byte is a character; text turns them back.
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	var root *element
	var open []*element
	count := 0
	for {
		line, column := d.InputPos()
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, xmlError(file, d, err)
		}
		fail := func(text string) error {
			return &SyntaxError{Place{file, line}, column, errors.New(text)}
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := newElement(line, token)
			if count++; len(open) >= maxDepth || count > maxElements {
				return nil, fail("too many elements")
			}
			switch {
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			case root != nil:
				return nil, fail("a second root element <" + e.name + ">")
			default:
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			name := bytesOf(token.Name.Local)
			if len(open) == 0 || !strings.EqualFold(open[len(open)-1].name, name) {
				return nil, fail("</" + name + "> closes nothing that is open")
			}
			open = open[:len(open)-1]
		}
	}
	line, column := d.InputPos()
	switch {
	case len(open) > 0:
		e := open[len(open)-1]
		return nil, &SyntaxError{Place{file, e.line}, 0, errors.New("<" + e.name + "> is never closed")}
	case root == nil:
		return nil, &SyntaxError{Place{file, line}, column, errors.New("there is no element in it")}
	case !strings.EqualFold(root.name, "head"):
		return nil, &SyntaxError{Place{file, root.line}, 0, errors.New("the root element is <" + root.name + ">, it must be <head>")}
	}
	return root, nil
}

func xmlError(file string, d *xml.Decoder, err error) error {
	line, column := d.InputPos()
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		err = errors.New(bytesOf(syntax.Msg))
	}
	return &SyntaxError{Place{file, line}, column, err}
}

func newElement(line int, token xml.StartElement) *element {
	e := &element{name: bytesOf(token.Name.Local), line: line}
	for _, a := range token.Attr {
		e.attrs = append(e.attrs, attr{name: bytesOf(a.Name.Local), value: bytesOf(a.Value)})
	}
	return e
}

// latin1 makes UTF-8 of bytes as if each were a character.
func latin1(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for _, c := range data {
		out = appendRune(out, rune(c))
	}
	return out
}

func appendRune(out []byte, r rune) []byte { return append(out, string(r)...) }

// bytesOf undoes latin1. A character beyond it came from a numeric entity and is UTF-8.
func bytesOf(s string) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r < 0x100 {
			out = append(out, byte(r))
		} else {
			out = appendRune(out, r)
		}
	}
	return string(out)
}

// get returns an attribute.
func (e *element) get(name string) (string, bool) {
	if e == nil {
		return "", false
	}
	for _, a := range e.attrs {
		if strings.EqualFold(a.name, name) {
			return a.value, true
		}
	}
	return "", false
}

// child is the first child of that name; nil when there is none.
func (e *element) child(name string) *element {
	for _, c := range e.all(name) {
		return c
	}
	return nil
}

// all are the children of that name.
func (e *element) all(name string) []*element {
	if e == nil {
		return nil
	}
	var found []*element
	for _, c := range e.children {
		if strings.EqualFold(c.name, name) {
			found = append(found, c)
		}
	}
	return found
}

// at is the line of the element, 0 of one that is missing.
func (e *element) at() int {
	if e == nil {
		return 0
	}
	return e.line
}
