package hook

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
)

func mustURLs(t testing.TB, rules ...URLRule) URLs {
	t.Helper()
	u, err := NewURLs(rules...)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestURLsOfPaths(t *testing.T) {
	for _, c := range []struct {
		rule URLRule
		path change.Path
		want string // empty for none
	}{
		{URLRule{"", "https://h/$path"}, "a/b.html", "https://h/a/b.html"},
		{URLRule{"", "https://h/${path}x"}, "a", "https://h/ax"},
		{URLRule{`^(.*)/index\.html$`, "https://h/$1/"}, "d/index.html", "https://h/d/"},
		{URLRule{`^(.*)/index\.html$`, "https://h/$1/"}, "d\ne/index.html", "https://h/d%0Ae/"},
		{URLRule{`^(.*)/index\.html$`, "https://h/$1/"}, "d/index.html\n", ""},
		{URLRule{`^(.*)/index\.html$`, "https://h/$1/"}, "d/other.html", ""},
		{URLRule{`(?P<dir>.*)/([^/]*)`, "http://h:8080/${dir}?f=$2&x=$$1"}, "a b/c&d=e", "http://h:8080/a%20b?f=c%26d%3De&x=$1"},
		{URLRule{"", "https://h/$path"}, "a(1)+b,c;d=e@f:g!*'$&.jpg", "https://h/a(1)+b,c;d=e@f:g!*'$&.jpg"},
		{URLRule{"", "https://h/$path"}, "a?b#c%20\"<>\\^`{|}", "https://h/a%3Fb%23c%2520%22%3C%3E%5C%5E%60%7B%7C%7D"},
		{URLRule{"", "https://h/$path"}, "\xff\xc3(\xe4\xbd\xa0", "https://h/%FF%C3(%E4%BD%A0"},
		{URLRule{"", "https://h/$path"}, " HTTP/1.0\r\nX: y", "https://h/%20HTTP/1.0%0D%0AX:%20y"},
		{URLRule{`^([^/]*)/(.*)`, "https://$1/$2"}, "www.example.com/a", "https://www.example.com/a"},
		{URLRule{`^([^/]*)/(.*)`, "https://$1.example.com/$2"}, "x@evil/a", ""},
		{URLRule{`^([^/]*)/(.*)`, "https://$1.example.com/$2"}, "evil:80/a", ""},
		{URLRule{`^(.*)/(.*)`, "https://$1.example.com/$2"}, "evil/b/a", ""},
		{URLRule{`^([^/]*)/(.*)`, "https://$1/$2"}, ".git/a", ""},
		{URLRule{`^(a)?(b)`, "https://h/$1-$2"}, "b", "https://h/-b"},
		{URLRule{"", "https://h/$path/"}, change.Root, "https://h//"},
	} {
		got := strings.Join(mustURLs(t, c.rule).of(c.path), " ")
		if got != c.want {
			t.Errorf("%q of %q: got %q, want %q", c.rule, string(c.path), got, c.want)
		}
	}
}

func TestAPathHasTheURLOfEachRuleOnce(t *testing.T) {
	u := mustURLs(t, URLRule{`\.html$`, "https://a/$path"}, URLRule{"", "https://b/$path"}, URLRule{"x", "https://b/$path"})
	if diff := cmp.Diff([]string{"https://a/x.html", "https://b/x.html"}, u.of("x.html")); diff != "" {
		t.Error(diff)
	}
}

func TestURLsRefused(t *testing.T) {
	for _, r := range []URLRule{
		{"(", "https://h/"},
		{"", "ftp://h/"},
		{"", "/$path"},
		{"", "https:///$path"},
		{"", "https://$path#x"},
		{"", "https://u:p@h/$path"},
		{"", "https://h/ x"},
		{"", "https://h/\n"},
		{"", "https://h/\xe4"},
		{"", "https://h/%zz"},
		{"", "https://h/$1"},
		{"(a)", "https://h/$2"},
		{"", "https://h/$0"},
		{"", "https://h/$other"},
		{"", "https://h/$pathx"},
		{"", "https://h/${"},
		{"", "https://h/$"},
		{"", "https://h:port/"},
	} {
		if _, err := NewURLs(r); err == nil {
			t.Errorf("%q was taken", r)
		}
	}
}

func FuzzURLs(f *testing.F) {
	f.Add("a/b.html")
	for _, name := range hostile() {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u := mustURLs(t, URLRule{"", "https://h:1/x/$path?q=$path&r=1"}, URLRule{"^([^/]*)/", "https://$1.h/"})
		for i, s := range u.of(change.Path(path)) {
			for j := range len(s) {
				if s[j] <= ' ' || s[j] >= 0x7f || s[j] == '#' {
					t.Fatalf("%q holds the byte %q", s, s[j])
				}
			}
			parsed, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 || parsed.Host != "h:1" {
				if !strings.HasSuffix(parsed.Host, ".h") || parsed.User != nil || parsed.Path != "/" {
					t.Fatalf("%q is a URL of another host", s)
				}
				continue
			}
			if parsed.Path != "/x/"+path || parsed.Query().Get("q") != path || parsed.Query().Get("r") != "1" {
				t.Fatalf("%q does not say %q", s, path)
			}
			if parsed.EscapedPath()+"?"+parsed.RawQuery != strings.TrimPrefix(s, "https://h:1") {
				t.Fatalf("%q would be asked for as %q", s, parsed.RequestURI())
			}
		}
	})
}
