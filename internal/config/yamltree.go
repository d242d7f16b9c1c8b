package config

import (
	"bytes"
	"errors"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ykind is what a YAML node is.
type ykind uint8

const (
	yNull ykind = iota
	yScalar
	yMap
	yList
)

func (k ykind) String() string {
	return [...]string{"nothing", "one value", "keys with values", "a list"}[k]
}

// ynode is a YAML node with its line. Scalars are text: what they mean is for the key to say.
type ynode struct {
	kind ykind
	line int
	text string
	keys []ykey
	list []*ynode
}

// get is the value of a key; nil when there is none.
func (n *ynode) get(key string) *ynode {
	for _, k := range n.keys {
		if k.name == key && k.value.kind != yNull {
			return k.value
		}
	}
	return nil
}

type ykey struct {
	name  string
	line  int
	value *ynode
}

// errPlain refuses what nobody needs in a file of this size, and what can make a small file huge.
var errPlain = errors.New(`anchors, aliases and tags are not used here: write shared options of targets into "defaults:"`)

// parseYAML reads a file into a tree.
func parseYAML(file string, data []byte) (root *ynode, err error) {
	// The parser is not ours, and a panic of it must not be one of a reload.
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, &SyntaxError{Place: Place{File: file}, Err: errors.New("the YAML parser gave up: the file is malformed")}
		}
	}()
	// The time that the parser takes grows with the square of the depth.
	if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("- -")) > maxOpenings {
		return nil, &SyntaxError{Place: Place{File: file}, Err: errors.New("too many brackets")}
	}
	tree, err := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), 0)
	if err != nil {
		return nil, yamlError(file, err)
	}
	var docs []ast.Node
	for _, d := range tree.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		return nil, &SyntaxError{Place: Place{File: file}, Err: errors.New("there is nothing in it")}
	case 1:
	default:
		return nil, syntaxAt(file, docs[1], errors.New("a second document"))
	}
	return newNode(file, docs[0], 0)
}

func yamlError(file string, err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil || e.GetToken().Position == nil {
		return &SyntaxError{Place: Place{File: file}, Err: err}
	}
	position := e.GetToken().Position
	return &SyntaxError{Place{file, position.Line}, position.Column, errors.New(e.GetMessage())}
}

func syntaxAt(file string, n ast.Node, err error) error {
	line, column := 0, 0
	if t := n.GetToken(); t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	return &SyntaxError{Place{file, line}, column, err}
}

// newNode turns a node of the parser into ours.
func newNode(file string, n ast.Node, depth int) (*ynode, error) {
	if depth > maxDepth {
		return nil, syntaxAt(file, n, errors.New("too deep"))
	}
	node := &ynode{kind: yScalar, line: n.GetToken().Position.Line}
	switch n := n.(type) {
	case *ast.NullNode:
		node.kind = yNull
	case *ast.StringNode:
		node.text = n.Value
	case *ast.LiteralNode:
		node.text = n.Value.Value
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		node.text = n.GetToken().Value
	case *ast.MappingNode:
		return node, node.addKeys(file, n.Values, depth)
	case *ast.MappingValueNode:
		return node, node.addKeys(file, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		node.kind = yList
		for _, v := range n.Values {
			item, err := newNode(file, v, depth+1)
			if err != nil {
				return nil, err
			}
			node.list = append(node.list, item)
		}
	default:
		return nil, syntaxAt(file, n, errPlain)
	}
	return node, nil
}

func (n *ynode) addKeys(file string, values []*ast.MappingValueNode, depth int) error {
	n.kind = yMap
	for _, v := range values {
		if _, ok := v.Key.(ast.ScalarNode); !ok {
			return syntaxAt(file, v.Key, errPlain)
		}
		key := v.Key.GetToken()
		value, err := newNode(file, v.Value, depth+1)
		if err != nil {
			return err
		}
		n.keys = append(n.keys, ykey{key.Value, key.Position.Line, value})
	}
	if len(n.keys) > 0 {
		n.line = n.keys[0].line
	}
	return nil
}
