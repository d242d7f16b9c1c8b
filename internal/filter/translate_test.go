package filter

import (
	"strings"
	"testing"

	"sersync/internal/change"
)

func TestTranslatedExpressionsMeanWhatBoostMeant(t *testing.T) {
	// Subjects are names in the root; lists are separated by blanks.
	cases := []struct{ expression, match, other string }{
		{`[[:alpha:]_]+[[:^alpha:]]`, "ab1 _-", "ab 1"},
		{`[^[:space:][:digit:]]+`, "ab", "a1"},
		{`[]a]+`, "]a a", "b"},
		{`[a\]b-]+`, "a]b- -", "c"},
		{`[\d\-x]+`, "1-x", "y"},
		{`[\W]`, "- \xe9", "a _"},
		{`[^\w]`, "-", "a"},
		{`[[.-.]a]+`, "-a", "b"},
		{`[[=a=]]`, "a", "b"},
		{`\u\l+\d`, "Ab1", "AB1 ab1"},
		{`\U\L`, "aB", "Ab"},
		{`\<ab\>.*`, "ab ab-", "abc"},
		{`.*\bx\b.*`, "x a-x-b \xe9x", "ax _x"},
		{`\Q.*[\E+`, ".*[ .*[[", "a"},
		{`\x41\x{42}\x2e\056`, "AB..", "ABxx"},
		{`\p{alpha}\P{digit}\pd`, "ab1 a-1", "111"},
		{`(?<x>a|b)-(?'y'c)\k<x>\k{y}\g1`, "a-caca b-cbcb", "a-cbca"},
		{`(a)?(?(1)b|c)`, "ab c", "ac b"},
		{`(?(?=a)ab|c.)`, "ab cd", "ad"},
		{`(?i:abc)D(?#comment)`, "ABCD abcD", "abcd"},
		{`a{2,3}b{1}c{,2}d{x}`, "aabc{,2}d{x}", "aabccd"},
		{`(?>a+)b`, "aab", "aa"},
		{`a+?b??`, "a aab", "b"},
		{`^ab$`, "ab", "abc"},
		{`\Aa\z|\` + "`" + `b\'`, "a b", "ab"},
		{`a|b`, "a b", "ab"},
		{`(?i)[^a]`, "b", "a A"},
		{`(?i)[a-c]\x44`, "Ad bD", "dd"},
		{`é.`, "éa", "é éaa"},
		{`..`, "é", "éé"},
		{`[é]{2}`, "é", "e"},
		{`\w`, "a", "\xe9 \xaa \xb5"},
		{`\S+`, "\xa0\x85 à", ""},
		{`\@\-\_\y`, "@-_y", "x"},
		{`\e?\a?a`, "a", "b"},
		{`(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10`, "abcdefghijj", "abcdefghija0"},
		{`(a)\g{1}0`, "aa0", "a0"},
	}
	for _, c := range cases {
		f, err := New(Regex("f:1", c.expression))
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		for s := range strings.FieldsFuncSeq(c.match, func(r rune) bool { return r == ' ' }) {
			if f.Verdict(change.Path(s), File).Keep {
				t.Errorf("%s does not match %q", c.expression, s)
			}
		}
		for s := range strings.FieldsFuncSeq(c.other, func(r rune) bool { return r == ' ' }) {
			if !f.Verdict(change.Path(s), File).Keep {
				t.Errorf("%s matches %q", c.expression, s)
			}
		}
	}
}

func TestDotAndAnchorsTreatALineFeedAsBoostDid(t *testing.T) {
	if mustNew(t, Regex("", `a.b`)).Verdict("a\nb", File).Keep || mustNew(t, Regex("", `a$\n^b`)).Verdict("a\nb", File).Keep {
		t.Error("kept")
	}
}

func TestWhatCannotBeTranslatedIsRefusedWithTheReason(t *testing.T) {
	cases := map[string]string{
		`(`: "never closed", `a)(b`: `")" closes nothing`, `[a`: "never closed", `a++`: "possessive", `a{2}+`: "possessive",
		`(?R)`: "not supported", `(?1)`: "not supported", `(?|a|b)`: "not supported", `(?x)a`: "not supported", `(*FAIL)`: "verb",
		`\Ka`: "not supported", `\1`: "refers to group 1", `(a)\2`: "refers to group 2", `\k<n>`: `"n"`, `[[:nope:]]`: "unknown class",
		`[[.space.]]`: "not supported", `[z-a]`: "backwards", `\x{100}`: "one byte", `a**`: "", `*a`: "", `\p{Greek}`: "unknown class",
		`a\`: "stands before nothing", `(?(a)b)`: "condition", `(?(1`: "condition", `(?<n>a)(?<n>b)`: "two groups", `(?#`: "never closed", `\g{-1}`: `"-1"`,
	}
	for expression, want := range cases {
		err := CheckRegex(expression)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", expression, err, want)
		}
	}
}

// Whatever is written, it compiles or is refused, and a verdict comes.
func FuzzRegex(f *testing.F) {
	for _, s := range []string{`(.*)\.svn`, `[[:digit:]]`, `(?<a>b)\k<a>`, `\Q.\E`, `[^\W-z]`, `(?(1)a|b)`, `a{2,3}?`, "\xff", `(?i)[é]`} {
		f.Add(s, "some/name")
	}
	f.Fuzz(func(t *testing.T, expression, name string) {
		filter, err := New(Regex("f:1", expression))
		if err != nil || !change.Path(name).Valid() {
			return
		}
		filter.Verdict(change.Path(name), Unknown)
	})
}

// A glob compiles or is refused; one without special characters drops the name that it is.
func FuzzGlob(f *testing.F) {
	for _, s := range []string{"*.swp", "/cache/", "**/a", "a/**", "!x", `\*`, "[a-z]", "{a,b}", "\xff"} {
		f.Add(s, "some/name")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		filter, err := New(Glob("f:1", pattern))
		if err == nil && change.Path(name).Valid() {
			filter.Verdict(change.Path(name), Unknown)
		}
		if change.Path(pattern).Valid() && pattern != "" && !strings.ContainsAny(pattern, `*?[]\!`) {
			if err != nil || filter.Verdict(change.Path(pattern), File).Keep {
				t.Errorf("glob %q does not match itself: %v", pattern, err)
			}
		}
	})
}
