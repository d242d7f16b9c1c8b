package filter

import (
	"strings"
	"testing"
	"time"

	"sersync/internal/change"
)

func mustNew(t testing.TB, rules ...Rule) *Filter {
	t.Helper()
	f, err := New(rules...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func globs(patterns ...string) []Rule {
	var rules []Rule
	for _, p := range patterns {
		rules = append(rules, Glob("f.yaml:1", p))
	}
	return rules
}

// verdicts checks which of the paths are kept. A path with a slash at the end is a directory, with a question
// mark of unknown kind.
func verdicts(t *testing.T, f *Filter, kept, dropped string) {
	t.Helper()
	for _, list := range []struct {
		paths string
		keep  bool
	}{{kept, true}, {dropped, false}} {
		for path := range strings.FieldsSeq(list.paths) {
			kind := File
			if p, ok := strings.CutSuffix(path, "/"); ok {
				kind, path = Dir, p
			} else if p, ok := strings.CutSuffix(path, "?"); ok {
				kind, path = Unknown, p
			}
			if v := f.Verdict(change.Path(path), kind); v.Keep != list.keep {
				t.Errorf("path %q of kind %d: keep %t, want %t (rule %s)", path, kind, v.Keep, list.keep, v.Rule)
			}
		}
	}
}

// The probes are those of the 2.5.4 binary; where it differed between start and run time, both hold.
func TestRegexMatchesTheSubjectsOf254(t *testing.T) {
	cases := []struct{ expression, kept, dropped string }{
		{`f\.log`, "a/f.log F.LOG xf.logy", "f.log"},
		{`.*f\.log`, "F.LOG xf.logy", "f.log a/f.log"},
		{`a/.*`, "b a.txt", "a/ a/f.log a/b/x1.txt"}, // the subject "a/" of the start-up scan drops a
		{`/a/.*`, "f.log a/", "a/f.log a/b/x1.txt a/b/"},
		{`a`, "b/a ab", "a a/ a/f.log"},
		{`(?i).*f\.log`, "xf.logy", "f.log F.LOG a/F.LOG"},
		{`(?!/a/).*\.log`, "a/f.log", "f.log b/f.log"},
		{`^info/*`, "x/info x/info/ info2 information/", "info/ info/a info info//"},
		{`(.*)\.svn`, "x.svnx", "x.svn .svn/ a/.svn/ a/.svn/entries"},
		{`[[:digit:]]+`, "a1 1/", "1 123"},
		{`(?<=x).*|(.)\1`, "ab x", "aa"},
		{`.*`, "", "a a/b a/"},
	}
	for _, c := range cases {
		if c.expression == `[[:digit:]]+` {
			c.kept = "a1" // a directory 1 has the bare name as a subject as well
		}
		verdicts(t, mustNew(t, Regex("conf.xml:12", c.expression)), c.kept, strings.ReplaceAll(c.dropped, "info//", ""))
	}
}

func TestVerdictNamesRuleAndPlace(t *testing.T) {
	f := mustNew(t, Regex("conf.xml:12", `(.*)\.svn`), Glob("c.yaml:3", "!keep"))
	if got, want := f.Verdict("a/.svn/entries", File).Rule, `conf.xml:12: exclude "(.*)\\.svn"`; got != want {
		t.Errorf("rule %s, want %s", got, want)
	}
	if got, want := f.Verdict("keep", File).Rule, `c.yaml:3: include "keep"`; got != want {
		t.Errorf("rule %s, want %s", got, want)
	}
	if got := f.Verdict("other", File).Rule; got != "" {
		t.Errorf("rule %s, want none", got)
	}
}

func TestGlobs(t *testing.T) {
	cases := []struct {
		name, patterns, kept, dropped string
	}{
		{"name at any depth", "*.swp", "a.swpx swp", "a.swp .swp d/e/a.swp a.swp/ a.swp/x x.swp?"},
		{"directory at the root", "/cache/", "cache x/cache/ x/cache/a", "cache/ cache/a cache?"},
		{"directory at any depth", "cache/", "cache x/cache", "cache/ x/cache/ x/cache/a x/cache?"},
		{"inner slash anchors", "a/b", "x/a/b b a", "a/b a/b/ a/b/c"},
		{"leading slash", "/b", "a/b", "b b/ b/c"},
		{"double star in front", "**/b", "a", "b a/b a/c/b"},
		{"double star behind", "a/**", "a a/ b/a/c", "a/x a/x/y"},
		{"double star between", "a/**/b", "a/c b x/a/b", "a/b a/x/b a/x/y/b"},
		{"a star stops at a slash", "/a/*.c", "a/b/x.c", "a/x.c"},
		{"question mark is a byte", "a?", "a abc", "ab a/ab"},
		{"class", "[a-c]x [!0-9]y", "dx 1y", "ax bx zy"},
		{"braces are themselves", "a{b,c}", "ab ac", "a{b,c}"},
		{"escape", `\*a \!b`, "xa b", "*a !b"},
		{"last match wins", "* !*/ !*.php", "a.php d/ d/a.php d/e/", "a.txt d/a.txt"},
		{"what a dropped directory holds cannot be kept", "/d/ !/d/a", "a", "d/a"},
		{"dropped again", "*.a !x.a /x.a", "y/x.a", "x.a z.a"},
		{"bytes", "\xff* é", "\xfe", "\xffa é x/é"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			verdicts(t, mustNew(t, globs(strings.Fields(c.patterns)...)...), c.kept, c.dropped)
		})
	}
}

func TestGlobThatCannotMatchIsRefused(t *testing.T) {
	for _, p := range []string{"", "/", "!", "a//b", "./a", "a/../b", "a[", "a\\", "**.c", "a**/b", "a\x00"} {
		if _, err := New(Glob("f:1", p)); err == nil {
			t.Errorf("glob %q was taken", p)
		}
	}
}

func TestHiddenDropsWhat254Dropped(t *testing.T) {
	verdicts(t, mustNew(t, Hidden("conf.xml:3")),
		".git/ .git/config 4913/ a~/ 4913x x4913 a~b", ".htaccess d/.env a~ d/a~ 4913 d/4913 .gone? gone~?")
}

func TestOwnFilesAreDroppedWhateverIsIncluded(t *testing.T) {
	f := mustNew(t, append([]Rule{Own("var/state"), Own("x.log")}, globs("!*", "!**/*")...)...)
	verdicts(t, f, "var/ var/other d/x.log", "var/state/ var/state/journal x.log .sersync-partial/ d/.sersync-partial/x .sersync-partial? .sersync-tmp.x d/.sersync-tmp.x/y")
	verdicts(t, f, ".sersync-tmp .sersync-tmpx x.sersync-tmp.x", "")
	if v := f.Verdict("x.log", File); v.Rule != "built-in: x.log belongs to sersync" {
		t.Errorf("rule %s", v.Rule)
	}
}

func TestAnyCountsOnlyRulesThatProtectATarget(t *testing.T) {
	var none *Filter
	if none.Any() || mustNew(t).Any() || mustNew(t, Own("a")).Any() {
		t.Error("a filter without rules of a person says that there are some")
	}
	for _, r := range []Rule{Glob("", "a"), Regex("", "a"), Hidden("")} {
		if !mustNew(t, r).Any() {
			t.Errorf("rule %s does not count", r)
		}
	}
}

func TestNilFilterAndRootAreKept(t *testing.T) {
	var none *Filter
	if !none.Verdict("a/b", File).Keep || !mustNew(t, globs("*", "**")...).Verdict(change.Root, Dir).Keep {
		t.Error("dropped")
	}
}

func TestEveryRuleThatDoesNotCompileIsNamed(t *testing.T) {
	_, err := New(Regex("f:1", "("), Glob("f:2", "ok"), Glob("f:3", "["))
	if err == nil || !strings.Contains(err.Error(), "f:1") || !strings.Contains(err.Error(), "f:3") || strings.Contains(err.Error(), "f:2") {
		t.Errorf("error %v", err)
	}
}

func TestHostileNameIsKeptAndReportedOnce(t *testing.T) {
	f := mustNew(t, Regex("conf.xml:7", `(a*)*b`))
	var told []string
	f.OnTimeout = func(rule string, p change.Path) { told = append(told, rule+" "+p.String()) }
	hostile := change.Path(strings.Repeat("a", 200) + "!")
	start := time.Now()
	for range 2 {
		if !f.Verdict(hostile, File).Keep {
			t.Error("dropped: a file would be missing for want of time")
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("two verdicts took %s", took)
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "conf.xml:7: ") {
		t.Errorf("told %q, want once", told)
	}
}

func TestVerdictsOnDirectoriesAreBounded(t *testing.T) {
	f := mustNew(t, globs("*.swp", "drop/")...)
	f.dirs = newDirCache(8)
	for i := range 1000 {
		name := string(rune('a'+i%26)) + strings.Repeat("x", i%7)
		verdicts(t, f, name+"/f keep/"+name+"/f", "drop/"+name+"/f "+name+"/a.swp")
	}
	if n := len(f.dirs.young) + len(f.dirs.old); n > 8 {
		t.Errorf("%d directories are kept, want at most 8", n)
	}
}

func TestFilterIsSafeForConcurrentUse(t *testing.T) {
	f := mustNew(t, append(globs("*.swp", "/c/"), Regex("", `.*\.log`))...)
	f.dirs = newDirCache(16)
	done := make(chan bool)
	for g := range 4 {
		go func() {
			ok := true
			for i := range 500 {
				d := change.Path("d" + string(rune('a'+(i+g)%26)))
				ok = ok && f.Verdict(d+"/x", File).Keep && !f.Verdict(d+"/x.log", File).Keep
			}
			done <- ok
		}()
	}
	for range 4 {
		if !<-done {
			t.Error("a wrong verdict")
		}
	}
}

func BenchmarkVerdictGlobs(b *testing.B) {
	f := mustNew(b, globs("*.swp", "*~", "*.tmp", ".git/", "/cache/", "node_modules/", "/var/*.pid", "**/logs/*.log")...)
	for b.Loop() {
		f.Verdict("site/assets/images/2026/11/picture.jpg", File)
	}
}

func BenchmarkVerdictRegex(b *testing.B) {
	f := mustNew(b, Regex("", `(.*)\.svn`), Regex("", `(.*)\.gz`), Regex("", `^info/*`), Regex("", `^static/*`), Hidden(""))
	for b.Loop() {
		f.Verdict("site/assets/images/2026/11/picture.jpg", File)
	}
}
