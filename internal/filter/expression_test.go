package filter

import (
	"strings"
	"testing"
)

func TestAnExpressionSaysWhatItMatches(t *testing.T) {
	for _, c := range []struct {
		compile    func(string) (Expression, error)
		expression string
		text       string
		want       Match
		ok         bool
	}{
		{Anywhere, `demo(/s[a-z]*)/`, "/opt/demo/src/f.php", Match{"/src", "f.php"}, true},
		{Anywhere, `demo`, "/opt/demo/src", Match{"", "/src"}, true},
		{Anywhere, `demo(x)?`, "/opt/demo/src", Match{"", "/src"}, true},
		{Anywhere, `demo`, "/opt/src", Match{}, false},
		{Anywhere, `d(.)`, "\xff你d\xfe\xff", Match{"\xfe", "\xff"}, true},
		{Whole, `/a/(.*)\.php`, "/a/b\n.php", Match{"b\n", ""}, true},
		{Whole, `a|ab`, "ab", Match{}, true},
		{Whole, `/a/`, "/a/b", Match{}, false},
		{Whole, `a`, "a\n", Match{}, false},
	} {
		e, err := c.compile(c.expression)
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := e.Match(c.text)
		if err != nil || ok != c.ok || got != c.want {
			t.Errorf("%q in %q: got %q, %v, %v", c.expression, c.text, got, ok, err)
		}
	}
}

func TestAnExpressionRunsOutOfTime(t *testing.T) {
	e, err := Whole(`(a+)+b`)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := e.Match(strings.Repeat("a", 1000)); ok || err == nil {
		t.Errorf("got %v, %v", ok, err)
	}
}
