package hook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
)

// kinds is an event with a path of each kind.
func kinds() Event {
	e := eventOf("s/f.php", "s/d", "s/gone", "s/gonedir", "s/many")
	e.Paths[1].Dir = true
	e.Paths[2].What = Removed
	e.Paths[3].What, e.Paths[3].Dir = Removed, true
	e.Paths[4].What = Many
	return e
}

func TestSocketSendsThePathAlone(t *testing.T) {
	s := listen(t, "")
	h := mustHook(t)(NewSocket(SocketOptions{Host: "127.0.0.1", Port: s.port()}))
	if err := h.Tell(bounded(t), kinds()); err != nil {
		t.Fatal(err)
	}
	until(t, "told", func() bool { return len(s.all()) == 5 })
	if diff := cmp.Diff([]string{"/r/s/f.php", "/r/s/d", "/r/s/gone", "/r/s/gonedir", "/r/s/many"}, s.all()); diff != "" {
		t.Error(diff)
	}
	until(t, "no connection is left", func() bool { return s.conns.Load() == 0 })
}

func TestRefreshCDNSendsTheRequestOf254(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\n\r\n"
	for _, c := range []struct {
		name   string
		change func(*RefreshCDNOptions)
		want   []string // what is behind ok=ok
	}{
		{
			"without an expression", func(*RefreshCDNOptions) {},
			[]string{"urls=http://h/base/s/f.php", "dirs=http://h/base/s/d/", "urls=http://h/base/s/gone", "dirs=http://h/base/s/gonedir/", "dirs=http://h/base/s/many/"},
		},
		{
			"with a directory of its own", func(o *RefreshCDNOptions) { o.Base, o.Watch = "http://h", "/r/s/" },
			[]string{"urls=http://h/f.php", "dirs=http://h/d/", "urls=http://h/gone", "dirs=http://h/gonedir/", "dirs=http://h/many/"},
		},
		{"with another directory", func(o *RefreshCDNOptions) { o.Watch = "/r/s/g" }, nil},
		{
			// The text between the end of the group and that of the match is lost.
			"with an expression", func(o *RefreshCDNOptions) { o.Base, o.Match = "http://h", "r(/s[a-z]*)/" },
			[]string{"urls=http://h/sf.php", "dirs=http://h/sd/", "urls=http://h/sgone", "dirs=http://h/sgonedir/", "dirs=http://h/smany/"},
		},
		{
			"with an expression that some match", func(o *RefreshCDNOptions) { o.Base, o.Match = "http://h", `gone()?` },
			[]string{"urls=http://h", "dirs=http://hdir/"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := listen(t, answer)
			o := cdn(s.port())
			c.change(&o)
			e := kinds()
			if strings.HasPrefix(c.name, "with an expression that") {
				e.Paths = e.Paths[:4] // of what is below the last one the URLs are not known
			}
			if err := mustHook(t)(NewRefreshCDN(o)).Tell(bounded(t), e); err != nil {
				t.Fatal(err)
			}
			for i := range c.want {
				c.want[i] = "HEAD /index.jsp?user=user&pswd=hunter2&ok=ok&" + c.want[i] + " HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
			}
			if diff := cmp.Diff(c.want, s.all()); diff != "" {
				t.Error(diff)
			}
			until(t, "no connection is left", func() bool { return s.conns.Load() == 0 })
		})
	}
}

func TestRefreshCDNEscapesAndDoesNotCut(t *testing.T) {
	s := listen(t, "HTTP/1.0 200 OK\r\n\r\n")
	o := cdn(s.port())
	o.User, o.Base = "u&%26 +", "http://h/a%20b?x=1&y="
	long := strings.Repeat("n/", 1500) + "n%41"
	if err := mustHook(t)(NewRefreshCDN(o)).Tell(bounded(t), eventOf(long)); err != nil {
		t.Fatal(err)
	}
	want := "HEAD /index.jsp?user=u%26%26%20%2B&pswd=hunter2&ok=ok&urls=http://h/a%20b%3Fx%3D1%26y%3D/" + strings.Repeat("n/", 1500) +
		"n%2541 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
	if diff := cmp.Diff([]string{want}, s.all()); diff != "" {
		t.Error(diff)
	}
}

func TestRefreshCDNWantsAnAnswer(t *testing.T) {
	for answer, good := range map[string]bool{
		"HTTP/1.0 200 OK\r\n\r\n":    true,
		"HTTP/1.1 200\r\n\r\n":       true,
		"HTTP/1.1 200 OK":            true,
		"HTTP/1.0 403 Forbidden\r\n": false,
		"HTTP/1.0 2000 OK\r\n":       false,
		"hello\r\n200\r\n":           false,
		"\r\n":                       false,
		strings.Repeat("x", maxReply+1) + "\n HTTP/1.0 200": false,
	} {
		err := mustHook(t)(NewRefreshCDN(cdn(listen(t, answer).port()))).Tell(bounded(t), eventOf("a"))
		if (err == nil) != good || len(fmt.Sprint(err)) > 300 {
			t.Errorf("%.40q: %v", answer, err)
		}
	}
}

func TestHTTPPostsTheForm(t *testing.T) {
	r := record(t, nil)
	h := mustHook(t)(NewHTTP(HTTPOptions{URL: strings.TrimPrefix(r.URL, "http://") + "/x?y=z", Port: 1}))
	e := kinds()
	e.Root = "/r s"
	if err := h.Tell(bounded(t), e); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, q := range r.all() {
		got = append(got, q.method+" "+q.uri+" "+q.header.Get("Content-Type")+" "+q.body)
	}
	var want []string
	for _, form := range []string{
		"isdir=0&inotifyPath=%2Fr+s%2Fs%2Ff.php&mask=8", "isdir=1&inotifyPath=%2Fr+s%2Fs%2Fd&mask=1073742080",
		"isdir=0&inotifyPath=%2Fr+s%2Fs%2Fgone&mask=512", "isdir=1&inotifyPath=%2Fr+s%2Fs%2Fgonedir&mask=1073742336",
		"isdir=1&inotifyPath=%2Fr+s%2Fs%2Fmany&mask=1073742080",
	} {
		want = append(want, "POST /x?y=z application/x-www-form-urlencoded watchroot=%2Fr+s&"+form)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAbsolutePaths(t *testing.T) {
	for _, c := range []struct {
		root string
		path change.Path
		want string
	}{
		{"/r", "a/b", "/r/a/b"},
		{"/r/", "a", "/r/a"},
		{"/", "a", "/a"},
		{"/r", change.Root, "/r"},
		{"/", change.Root, "/"},
	} {
		if got := absolute(c.root, c.path); got != c.want {
			t.Errorf("%q and %q: got %q, want %q", c.root, c.path, got, c.want)
		}
	}
}

func TestLegacyRefused(t *testing.T) {
	for _, o := range []SocketOptions{{}, {Host: "h"}, {Host: "h", Port: 65536}, {Host: "a b", Port: 1}, {Host: "h\r\nX: y", Port: 1}} {
		if _, err := NewSocket(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	for name, spoil := range map[string]func(*RefreshCDNOptions){
		"host":     func(o *RefreshCDNOptions) { o.Host = "h\r\nX: y" },
		"user":     func(o *RefreshCDNOptions) { o.User = "" },
		"password": func(o *RefreshCDNOptions) { o.Password = nil },
		"base":     func(o *RefreshCDNOptions) { o.Base = "" },
		"match":    func(o *RefreshCDNOptions) { o.Match = "(" },
	} {
		o := cdn(1)
		spoil(&o)
		if _, err := NewRefreshCDN(o); err == nil {
			t.Errorf("a wrong %s was taken", name)
		}
	}
	for _, o := range []HTTPOptions{{}, {URL: "ftp://h"}, {URL: "h", Port: -1}, {URL: "h\r\n"}} {
		if _, err := NewHTTP(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func FuzzRefreshCDN(f *testing.F) {
	for _, name := range hostile() {
		f.Add(name)
	}
	o := cdn(1)
	made, err := NewRefreshCDN(o)
	if err != nil {
		f.Fatal(err)
	}
	c := made.(*refreshCDN)
	f.Fuzz(func(t *testing.T, path string) {
		file, told, err := c.url("/r", change.Path("x"+path))
		if err != nil || !told {
			t.Fatalf("%q is not told: %v", path, err)
		}
		request := string(c.request("hunter2", file, false))
		if strings.Count(request, "\n") != 3 || strings.Count(request, " ") != 3 {
			t.Fatalf("%q is more than one request", request)
		}
		if got := pathOfCDN(t, request); got != "x"+path {
			t.Fatalf("%q says %q", request, got)
		}
	})
}
