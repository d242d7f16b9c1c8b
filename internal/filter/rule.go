package filter

import (
	"fmt"
	"strings"

	"sersync/internal/change"
)

// Type is the origin of a rule.
type Type uint8

const (
	typeRegex Type = iota + 1
	typeGlob
	typeHidden
	typeOwn
	typePartial
	typeMounts
	typeTrash
	typeTemp
)

// Rule is a rule as it stands in a configuration, not compiled yet.
type Rule struct {
	Type Type
	// Pattern is the expression, the glob, or the path.
	Pattern string
	// Place is where the rule stands, as FILE:LINE.
	Place string
}

// Regex drops what the Boost Perl expression matches as a whole, as <filter> of 2.5.4 did. The
// expression is asked about the bare name of an entry of the root; about "/" and the path
// of anything deeper; and of a directory also about its path with a "/" at the end.
func Regex(place, expression string) Rule { return Rule{typeRegex, expression, place} }

// Glob is a line as in .gitignore: "*.swp" matches the name at any depth, a pattern with a slash
// in front or inside is anchored at the root, one with a slash at the end matches directories only,
// "**" stands for any number of directories, and what begins with "!" is kept again. Braces are no special characters.
func Glob(place, pattern string) Rule { return Rule{typeGlob, pattern, place} }

// Hidden drops what 2.5.4 always dropped: everything but directories whose name begins
// with ".", ends with "~", or is "4913".
func Hidden(place string) Rule { return Rule{Type: typeHidden, Place: place} }

// Own drops p and everything below it: a file of ours inside the source.
func Own(p change.Path) Rule { return Rule{Type: typeOwn, Pattern: string(p)} }

// PartialName is the directory in which a target keeps what arrived of a large file. It is never replicated
// onwards.
const PartialName = ".sersync-partial"

// Partial drops PartialName at any depth. Every Filter has this rule.
func Partial() Rule { return Rule{Type: typePartial} }

// OneFileSystem drops what lies below a directory on which another file system is mounted, as long as it is. The
// directory itself is kept. root is the source.
func OneFileSystem(root string) Rule { return Rule{Type: typeMounts, Pattern: root} }

// TrashName is the directory in which a target keeps what was removed there, by days. Below a source it is where
// undelete brings things back to before they are moved to their place.
const TrashName = ".sersync-trash"

// Trash drops TrashName at any depth. Every Filter has this rule.
func Trash() Rule { return Rule{Type: typeTrash} }

// TempPrefix begins the name under which a target of our own has what is on its way to its place.
const TempPrefix = ".sersync-tmp."

// Temp drops what begins with TempPrefix at any depth. Every Filter has this rule.
func Temp() Rule { return Rule{Type: typeTemp} }

// BuiltIn are the rules that every Filter has.
func BuiltIn() []Rule { return []Rule{Partial(), Trash(), Temp()} }

// String is what a person sees of the rule: its place and what it says.
func (r Rule) String() string {
	var what string
	switch r.Type {
	case typeRegex:
		what = fmt.Sprintf("exclude %q", r.Pattern)
	case typeGlob:
		if rest, ok := strings.CutPrefix(r.Pattern, "!"); ok {
			what = fmt.Sprintf("include %q", rest)
		} else {
			what = fmt.Sprintf("exclude %q", r.Pattern)
		}
	case typeHidden:
		what = "built-in: hidden files, names that end with ~, and 4913"
	case typeOwn:
		what = fmt.Sprintf("built-in: %s belongs to sersync", change.Path(r.Pattern))
	case typePartial:
		what = "built-in: " + PartialName + " holds parts of large files"
	case typeMounts:
		what = "one_file_system: nothing below a mount point"
	case typeTrash:
		what = "built-in: " + TrashName + " holds what was removed"
	case typeTemp:
		what = "built-in: names that begin with " + TempPrefix + " are ours"
	}
	if r.Place == "" {
		return what
	}
	return r.Place + ": " + what
}

// compile makes the rule ready. The filter is told of time-outs.
func (r Rule) compile(f *Filter) (matcher, error) {
	base := named(r.String())
	switch r.Type {
	case typeRegex:
		return newRegexMatcher(base, r.Pattern, f)
	case typeGlob:
		return newGlobMatcher(base, r.Pattern)
	case typeHidden:
		return hiddenMatcher{base}, nil
	case typeOwn:
		return ownMatcher{base, change.Path(r.Pattern)}, nil
	case typeTrash:
		return nameMatcher{base, TrashName}, nil
	case typeTemp:
		return prefixMatcher{base, TempPrefix}, nil
	default:
		return nameMatcher{base, PartialName}, nil
	}
}

// subject is a path as rules see it.
type subject struct {
	path change.Path
	name string
	dir  bool
	// bytes and nameBytes are path and name with each byte as one rune.
	bytes, nameBytes string
}

func newSubject(p change.Path, k Kind) subject {
	b := byteRunes(string(p))
	return subject{
		path: p, name: p.Name(), dir: k == Dir,
		bytes: b, nameBytes: b[strings.LastIndexByte(b, '/')+1:],
	}
}

// byteRunes turns each byte into the rune of that number, so that what knows only UTF-8 works on bytes.
func byteRunes(s string) string {
	i := 0
	for i < len(s) && s[i] < 0x80 {
		i++
	}
	if i == len(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// named is the name of a compiled rule; all but a "!" glob drop what they match.
type named string

func (n named) name() string { return string(n) }

func (named) include() bool { return false }

type hiddenMatcher struct{ named }

func (hiddenMatcher) match(s subject) bool {
	return !s.dir && (s.name[0] == '.' || s.name[len(s.name)-1] == '~' || s.name == "4913")
}

type ownMatcher struct {
	named
	path change.Path
}

func (m ownMatcher) match(s subject) bool { return s.path == m.path || s.path.Below(m.path) }

type nameMatcher struct {
	named
	entry string
}

func (m nameMatcher) match(s subject) bool { return s.name == m.entry }

type prefixMatcher struct {
	named
	prefix string
}

func (m prefixMatcher) match(s subject) bool { return strings.HasPrefix(s.name, m.prefix) }

// CheckRegex says why an expression would not compile.
func CheckRegex(expression string) error {
	_, err := newRegexMatcher("", expression, nil)
	return err
}

// CheckGlob says why a glob would not compile.
func CheckGlob(pattern string) error {
	_, err := newGlobMatcher("", pattern)
	return err
}
