package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// secretFile writes a file that holds a secret.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPostSendsWhatItsFilesSayNow(t *testing.T) {
	r := record(t, nil)
	urlFile, headers, key := secretFile(t, r.URL+"/hook?token=first\n"), secretFile(t, "Authorization: Bearer one\r\n\nHost: other\n"), secretFile(t, "key\n")
	h := mustHook(t)(NewPost(PostOptions{
		URLFile: urlFile, HeadersFile: headers, HMACFile: key, ContentType: "text/x",
		Body: `{"text": {{json .Text}}, "u": {{json .URLs}}, "q": "{{query .Source}}", "n": {{len .Paths}}, "p": {{json (index .Paths 0).Path}}, "lag": "{{.Lag}}"}`,
		URLs: mustURLs(t, URLRule{`\.html$`, "https://h/$path"}, URLRule{`\.html$`, "https://h/"}),
	}))
	e := eventOf("a&b.html", "c.html", "d")
	e.Source = "w w"
	if err := h.Tell(bounded(t), e); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{urlFile: r.URL + "/second", headers: "X-Key: two"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Tell(bounded(t), eventOf("e.html")); err != nil {
		t.Fatal(err)
	}
	if err := h.Tell(bounded(t), eventOf("without")); err != nil {
		t.Fatal(err)
	}
	all := r.all()
	if len(all) != 2 {
		t.Fatalf("there were %d requests", len(all))
	}
	q := all[0]
	body := `{"text": "w w: 2 paths are on all targets", "u": ["https://h/a&b.html","https://h/","https://h/c.html"], "q": "w+w", "n": 2, "p": "a&b.html", "lag": "0s"}`
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte(body))
	want := []string{
		"POST", "/hook?token=first", "other", body, "Bearer one", "text/x", "sha256=" + hex.EncodeToString(mac.Sum(nil)), "sersync",
	}
	got := []string{
		q.method, q.uri, q.host, q.body, q.header.Get("Authorization"), q.header.Get("Content-Type"),
		q.header.Get("X-Sersync-Signature"), q.header.Get("User-Agent"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if q = all[1]; q.uri != "/second" || q.header.Get("X-Key") != "two" || q.header.Get("Authorization") != "" {
		t.Errorf("the files of before were used: %+v", q)
	}
}

func TestPostIsASuccessWith2xxAlone(t *testing.T) {
	for _, status := range []int{200, 201, 204, 301, 307, 400, 404, 500, 503} {
		other := record(t, nil)
		r := record(t, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(status)
		})
		err := mustHook(t)(NewPost(PostOptions{URL: r.URL})).Tell(bounded(t), eventOf("a"))
		if (err == nil) != (status < 300) {
			t.Errorf("%d: %v", status, err)
		}
		if status >= 300 && !strings.Contains(fmt.Sprint(err), fmt.Sprintf("status %d", status)) {
			t.Errorf("%d: the error is %v", status, err)
		}
		if len(other.all()) > 0 {
			t.Errorf("%d: a redirect was followed", status)
		}
	}
}

// Some services answer 200 and refuse in the body.
func TestPostExpectsWhatTheAnswerMustSay(t *testing.T) {
	for body, well := range map[string]bool{
		`{"errcode":0,"errmsg":"ok"}`:                    true,
		`{"errmsg": "ok", "errcode": 0}`:                 true,
		`{"errcode":310000,"errmsg":"too many"}`:         false,
		`{"errcode":45009,"errmsg":"freq out of limit"}`: false,
		"": false,
	} {
		r := record(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		h := mustHook(t)(NewPost(PostOptions{URL: r.URL, Expect: `"errcode": *0\b`}))
		err := h.Tell(bounded(t), eventOf("a"))
		if (err == nil) != well {
			t.Errorf("%s: %v", body, err)
		}
		if !well && !strings.Contains(err.Error(), "status 200") {
			t.Errorf("%s: the error is %v", body, err)
		}
	}
	if _, err := NewPost(PostOptions{URL: "http://h", Expect: "("}); err == nil {
		t.Error("an expression that does not compile is taken")
	}
}

// What stands in URLs, files and passwords is in no error, even when the other side repeats it or breaks off in the middle.
func TestErrorsHoldNoSecret(t *testing.T) {
	const secret = "hunter2-T0K3N"
	echo := record(t, func(w http.ResponseWriter, q *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "no %s %s %s\nbecause", q.URL.Query().Get("token"), q.RequestURI, q.Header.Get("Authorization"))
	})
	cut := record(t, func(w http.ResponseWriter, q *http.Request) { panic(http.ErrAbortHandler) })
	babble := listen(t, "HTTP/1.1 "+secret+" no\r\n\r\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct{ base, want string }{
		{echo.URL, "status 403: \"no *** ***"}, {cut.URL, "EOF"}, {at(closedPort(t), ""), "refused"}, {at(babble.port(), ""), "***"},
	} {
		for _, target := range []string{
			c.base + "/" + secret, c.base + "/x?token=" + secret, strings.Replace(c.base, "http://", "http://user:"+secret+"@", 1),
		} {
			h := mustHook(t)(NewPost(PostOptions{URLFile: secretFile(t, target), HeadersFile: secretFile(t, "X-Key: "+secret)}))
			for _, ctx := range []context.Context{bounded(t), ctx} {
				err := h.Tell(ctx, eventOf("a"))
				if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "POST "+c.base) {
					t.Errorf("%s: the error is %v", target, err)
				}
				if ctx.Err() == nil && strings.HasSuffix(target, "token="+secret) && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: the error is %v", target, err)
				}
			}
		}
	}
	for _, bad := range []string{"http://h:" + secret + "/", secret, "ftp://" + secret, "http://h/%" + secret, "http://u:" + secret + " @h/", "http://h/#" + secret} {
		_, err := NewPost(PostOptions{URLFile: secretFile(t, bad)})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v", err)
		}
		_, err = NewHTTP(HTTPOptions{URL: bad + ":x y"})
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v", err)
		}
	}
	_, err := NewPost(PostOptions{URL: "http://h/", HeadersFile: secretFile(t, "X: y\n"+secret)})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("the error is %v", err)
	}
	o := cdn(listen(t, "HTTP/1.0 403 no to a%26%20"+secret+"\r\n\r\n").port())
	o.Password = func() (string, error) { return "a& " + secret, nil }
	err = mustHook(t)(NewRefreshCDN(o)).Tell(bounded(t), eventOf("a"))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "403 no to ***") {
		t.Errorf("the error is %v", err)
	}
}

func TestFilesOfSecretsRefused(t *testing.T) {
	other := secretFile(t, "http://h/")
	if err := os.Chmod(other, 0o640); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"readable by others": other, "pipe": pipe, "directory": t.TempDir(), "missing": "/no/such/file",
		"empty": secretFile(t, " \n"), "too long": secretFile(t, "http://h/"+strings.Repeat("x", 64<<10)),
	}
	if os.Geteuid() == 0 {
		files["of another user"] = secretFile(t, "http://h/")
		if err := os.Chown(files["of another user"], 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	for why, file := range files {
		for _, o := range []PostOptions{{URLFile: file}, {URL: "http://h/", HeadersFile: file}, {URL: "http://h/", HMACFile: file}} {
			if _, err := NewPost(o); err == nil {
				t.Errorf("%s: %+v was taken", why, o)
			}
		}
	}
	for _, text := range []string{"X y: z", "X", ": z", "X: y\x00z", "Content-Length: 1", "connection: x"} {
		if _, err := NewPost(PostOptions{URL: "http://h/", HeadersFile: secretFile(t, text)}); err == nil {
			t.Errorf("the header %q was taken", text)
		}
	}
	if _, err := NewPost(PostOptions{URLFile: secretFile(t, "http://h/\nhttp://i/")}); err == nil {
		t.Error("two URLs were taken")
	}
}

func TestPostRefused(t *testing.T) {
	for _, o := range []PostOptions{
		{},
		{URL: "http://h/", URLFile: secretFile(t, "http://h/")},
		{URL: "//h"},
		{URL: "http://"},
		{URL: "http://h/", ContentType: "a\r\nX: y"},
		{URL: "http://h/", Body: "{{"},
		{URL: "http://h/", Body: "{{.NoSuch}}"},
		{URL: "http://h/", Body: "{{range .Paths}}{{.NoSuch}}{{end}}"},
		{URL: "http://h/", Body: "{{nosuch .Text}}"},
	} {
		if _, err := NewPost(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestPurgeAsksOnceForEachURL(t *testing.T) {
	r := record(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/missing":
			http.NotFound(w, q)
		case "/bad":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, strings.Repeat("x", 1000))
	})
	h := mustHook(t)(NewPurge(PurgeOptions{
		Via: r.URL, Method: "BAN", URLs: mustURLs(t, URLRule{"", "https://a.example:444/$path"}, URLRule{"index", "http://b/"}),
	}))
	if err := h.Tell(bounded(t), eventOf("index(1)", "missing", "index(1)", "x?y", "index2")); err != nil {
		t.Fatal(err)
	}
	if r.made.Load() > 2 {
		t.Errorf("there were %d connections for two hosts", r.made.Load())
	}
	err := h.Tell(bounded(t), eventOf("before", "bad", "after"))
	if want := "purge URL of bad: BAN http://a.example:444: status 503: " + strings.Repeat("x", 200); fmt.Sprint(err) != want {
		t.Errorf("the error is %v", err)
	}
	var got []string
	for _, q := range r.all() {
		got = append(got, q.method+" "+q.host+q.uri)
	}
	want := []string{
		"BAN a.example:444/index(1)", "BAN b/", "BAN a.example:444/missing", "BAN a.example:444/x%3Fy", "BAN a.example:444/index2",
		"BAN a.example:444/before", "BAN a.example:444/bad",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPurgeConnectsToTheURLWithoutVia(t *testing.T) {
	r := record(t, nil)
	h := mustHook(t)(NewPurge(PurgeOptions{URLs: mustURLs(t, URLRule{"", r.URL + "/$path"})}))
	if err := h.Tell(bounded(t), eventOf("a")); err != nil {
		t.Fatal(err)
	}
	if len(r.all()) != 1 {
		t.Error("it was not told")
	}
}

func TestPurgeRefused(t *testing.T) {
	u := mustURLs(t, URLRule{"", "http://h/$path"})
	for _, o := range []PurgeOptions{
		{},
		{URLs: u, Method: "A B"},
		{URLs: u, Method: "A\r\n"},
		{URLs: u, Via: "127.0.0.1:80"},
		{URLs: u, Via: "http://h/x"},
		{URLs: u, Via: "http://h?x"},
		{URLs: u, Via: "http://u@h"},
	} {
		if _, err := NewPurge(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
