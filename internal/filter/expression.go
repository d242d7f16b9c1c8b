package filter

import "github.com/dlclark/regexp2"

// Expression is one expression in the Perl syntax of Boost, which 2.5.4 had beside those of <filter> too. It is asked
// about bytes, and is safe for concurrent use.
type Expression struct{ re *regexp2.Regexp }

// Whole compiles an expression that must match all of a text.
func Whole(expression string) (Expression, error) {
	re, err := compile(`\A(?:`, expression, `)\z`)
	return Expression{re}, err
}

// Anywhere compiles an expression that may match any part of a text.
func Anywhere(expression string) (Expression, error) {
	re, err := compile("", expression, "")
	return Expression{re}, err
}

// Match is the first match of an Expression.
type Match struct {
	// Group is what the first group matched; empty when it did not take part, or when there is none.
	Group string
	// Rest is what stands behind the match.
	Rest string
}

// Match looks for the expression in text. The error says that it ran out of time.
func (e Expression) Match(text string) (m Match, ok bool, err error) {
	found, err := e.re.FindStringMatch(byteRunes(text))
	if found == nil || err != nil {
		return Match{}, false, err
	}
	// There is one rune for each byte, so both count alike.
	m.Rest = text[found.Index+found.Length:]
	if group := found.GroupByNumber(1); group != nil {
		m.Group = text[group.Index : group.Index+group.Length]
	}
	return m, true, nil
}

func compile(before, expression, after string) (*regexp2.Regexp, error) {
	translated, err := translate(expression)
	if err != nil {
		return nil, err
	}
	// Boost lets "." match a line feed, and "^" and "$" match at one.
	re, err := regexp2.Compile(before+translated+after, regexp2.Singleline|regexp2.Multiline)
	if err != nil {
		return nil, plain(err)
	}
	re.MatchTimeout = matchTimeout
	return re, nil
}
