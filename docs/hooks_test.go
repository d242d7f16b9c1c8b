package docs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/hook"
)

// told is one request, or one program that was started.
type told struct {
	// Method is that of a request, or RUN. Of a request to another host than the listener's, Host is that one.
	Method, Host, URI                     string
	Authorization, Signature, ContentType string
	Argv                                  []string
	Body                                  string
}

// stage stands in for the world that the recipes speak of: a listener for all services, and programs that note how they were
// started. What they call /etc, /usr and so on is below dir.
type stage struct {
	dir    string
	server *httptest.Server

	mu  sync.Mutex
	all []told // guarded by mu
}

// answerOf is the answer of a service that takes what it is told, where the status does not say it all.
func answerOf(path string) string {
	switch path {
	case "/robot/send", "/cgi-bin/webhook/send":
		return `{"errcode":0,"errmsg":"ok"}`
	case "/fusion.qiniuapi.com/v2/tune/refresh":
		return `{"code":200,"error":"success"}`
	}
	return ""
}

func newStage(t *testing.T) *stage {
	s := &stage{dir: t.TempDir()}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		n := told{
			Method: q.Method, URI: q.RequestURI, Body: string(body), Authorization: q.Header.Get("Authorization"),
			Signature: q.Header.Get("X-Sersync-Signature"), ContentType: q.Header.Get("Content-Type"),
		}
		if "http://"+q.Host != s.server.URL {
			n.Host = q.Host
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, n)
		fmt.Fprint(w, answerOf(q.URL.Path))
	}))
	t.Cleanup(s.server.Close)
	for _, name := range []string{"data/www", "data/nginx", "etc/nginx", "var/log/sersync"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("hooks/cdn-refresh")
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "usr/local/lib/sersync/cdn-refresh", string(script), 0o700)
	for _, name := range []string{"usr/bin/ssh", "usr/bin/systemctl", "bin/aliyun", "bin/tccli"} {
		s.write(t, name, "#!/bin/sh\nprintf '%s\\0' \"$@\" > '"+s.dir+"/argv'\ncat > '"+s.dir+"/stdin'\n", 0o700)
	}
	t.Setenv("PATH", filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	for name, text := range map[string]string{
		"cdn.headers": "Authorization: Bearer cdn\n", "cloudflare.headers": "Authorization: Bearer cloudflare\n",
		"qiniu.headers": "Authorization: QBox AK:sign\n", "opcache.secret": "hunter2\n",
		"dingtalk": s.server.URL + "/robot/send?access_token=TOKEN\n", "wecom": s.server.URL + "/cgi-bin/webhook/send?key=KEY\n",
		"slack": s.server.URL + "/services/T/B/x\n",
	} {
		s.write(t, "etc/sersync/"+name, text, 0o600)
	}
	return s
}

func (s *stage) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// take returns what came since the last take. What a program found on its standard input is its body.
func (s *stage) take(t *testing.T) []told {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	argv, err := os.ReadFile(filepath.Join(s.dir, "argv"))
	if err != nil {
		return all
	}
	stdin, err := os.ReadFile(filepath.Join(s.dir, "stdin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"argv", "stdin"} {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(strings.TrimSuffix(string(argv), "\x00"), s.dir, "")
	return append(all, told{Method: "RUN", Argv: strings.Split(text, "\x00"), Body: string(stdin)})
}

// endpoint is a URL that is connected to; the URLs of paths stand in quotes.
var endpoint = regexp.MustCompile(`\burl: https?:/(/\S+?)([,}\s])`)

// adapt has a recipe speak to the stage. The host of an endpoint becomes the first segment of the path.
func (s *stage) adapt(recipe string) string {
	recipe = endpoint.ReplaceAllString(recipe, "url: "+s.server.URL+"$1$2")
	recipe = regexp.MustCompile(`\bvia: http://[\w.:]+`).ReplaceAllString(recipe, "via: "+s.server.URL)
	for _, name := range []string{" /data/", " /etc/", "[/usr/bin/ssh", "[/usr/bin/systemctl", "[/usr/local/", " /var/"} {
		recipe = strings.ReplaceAll(recipe, name, name[:1]+s.dir+name[1:])
	}
	return recipe
}

// recipeHooks are the hooks of all recipes, as they are when they are loaded on a machine that has what they name.
func recipeHooks(t *testing.T, s *stage) map[string]config.Hook {
	t.Helper()
	all := map[string]config.Hook{}
	for _, b := range documents(t)["docs/hooks/README.md"].blocks {
		if b.info != "yaml" {
			continue
		}
		s.write(t, "sersync.yaml", s.adapt(b.text), 0o600)
		c, problems, err := config.Load(filepath.Join(s.dir, "sersync.yaml"))
		if err != nil || len(problems) > 0 {
			t.Fatalf("load %s: %v\n%v", b.text, err, problems)
		}
		for _, source := range c.Sources {
			hooks := source.Hooks
			for _, target := range source.Targets {
				hooks = append(hooks, target.Hooks...)
			}
			for _, h := range hooks {
				if _, ok := all[h.Name]; ok {
					t.Errorf("two hooks are named %s", h.Name)
				}
				all[h.Name] = h
			}
		}
	}
	return all
}

var when = time.Date(2026, 11, 21, 14, 3, 4, 0, time.UTC)

// hostilePaths are what anybody who may create a file can have a hook told.
func hostilePaths() []hook.Path {
	var paths []hook.Path
	for _, p := range []change.Path{
		"index.html", "中文/index.html", "-n \"$(id)\"\n`id`.css", "x\xff','y.html", `","urls":["http:/evil`, "<!channel>]}&?#%.js",
	} {
		paths = append(paths, hook.Path{Path: p, What: hook.Updated, Since: when})
	}
	return paths
}

// eventOf is what the hook is told here.
func eventOf(h config.Hook, paths ...hook.Path) hook.Event {
	e := hook.Event{ID: "1", Hook: h.Name, On: h.On, Source: "www", Root: "/data/www", Time: when}
	switch h.On {
	case hook.AllTargetsAcked:
		e.Targets, e.Paths = []string{"b"}, paths
	case hook.Acked, hook.Failed:
		e.Target, e.Paths = "b", paths
	default:
		e.Target, e.State, e.Since = "b", "away", when
		e.Error, e.Lag, e.Waiting = "open \"<!channel>\n\\\": "+strings.Repeat("错", 3000), 12*time.Minute, 3
	}
	return e
}

func tell(t *testing.T, h config.Hook, e hook.Event) {
	t.Helper()
	built, err := daemon.NewHook(h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := built.Tell(ctx, e); err != nil {
		t.Fatal(err)
	}
}

const (
	site = "https://www.example.com/"
	// What is left of the URLs of hostilePaths.
	hostileCSS   = "-n%20%22$(id)%22%0A%60id%60.css"
	hostileHTML  = "x%FF','y.html"
	hostileJSON  = "%22,%22urls%22:%5B%22http:/evil"
	hostileJS    = "%3C!channel%3E%5D%7D&%3F%23%25.js"
	chineseIndex = "%E4%B8%AD%E6%96%87/index.html"
)

// jsonPaths are hostilePaths in the JSON of an event.
func jsonPaths() string {
	return `"paths":[{"path":"index.html",` + updated + `},{"path":"中文/index.html",` + updated +
		`},{"path":"-n \"$(id)\"\n` + "`id`" + `.css",` + updated +
		`},{"path":"x�','y.html","path_base64":"eP8nLCd5Lmh0bWw=",` + updated +
		`},{"path":"\",\"urls\":[\"http:/evil",` + updated + `},{"path":"<!channel>]}&?#%.js",` + updated + `}]`
}

const updated = `"what":"updated","type":"file","since":"2026-11-21T14:03:04Z"`

// urlList are the URLs of hostilePaths as a list in JSON.
func urlList(names []string) string {
	return `["` + site + strings.Join(names, `","`+site) + `"]`
}

func allAcked(name string) string {
	return `{"id":"1","hook":"` + name + `","on":"all-targets-acked","source":"www","root":"/data/www","targets":["b"],"time":"2026-11-21T14:03:04Z",` +
		jsonPaths() + `,"text":"www: 6 paths are on all targets"}` + "\n"
}

func acked(name string) string {
	return `{"id":"1","hook":"` + name + `","on":"acked","source":"www","root":"/data/www","target":"b","time":"2026-11-21T14:03:04Z",` +
		jsonPaths() + `,"text":"www: 6 paths are on b"}` + "\n"
}

func signature(body string) string {
	mac := hmac.New(sha256.New, []byte("hunter2"))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// wanted are what the recipes are to send of hostilePaths, but those about states.
func wanted() map[string][]told {
	two := []string{"", "index.html", "%E4%B8%AD%E6%96%87/", chineseIndex, hostileCSS, hostileHTML, hostileJSON, hostileJS}
	one := []string{"index.html", chineseIndex, hostileCSS, hostileHTML, hostileJSON, hostileJS}
	post := func(uri, authorization, body string) []told {
		return []told{{Method: "POST", URI: uri, Authorization: authorization, ContentType: "application/json", Body: body}}
	}
	run := func(body string, argv ...string) []told { return []told{{Method: "RUN", Argv: argv, Body: body}} }
	ssh := func(host, name string) []told {
		return run(allAcked(name), "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-i", "/etc/sersync/reload.key", "root@"+host)
	}
	opcache := func(n string) []told {
		all := post("/"+n+".example.com/opcache.php", "", acked("opcache-"+n))
		all[0].Signature = signature(all[0].Body)
		return all
	}
	var purges []told
	for _, name := range two {
		purges = append(purges, told{Method: "PURGE", Host: "www.example.com", URI: "/" + name})
	}
	lines := site + strings.Join(one, "\n"+site)
	return map[string][]told{
		"cdn":         post("/api.cdn.example.com/purge", "Bearer cdn", `{"urls": `+urlList(two)+`}`),
		"cloudflare":  post("/api.cloudflare.com/client/v4/zones/ZONE_ID/purge_cache", "Bearer cloudflare", `{"files": `+urlList(one)+`}`),
		"qiniu":       post("/fusion.qiniuapi.com/v2/tune/refresh", "QBox AK:sign", `{"urls": `+urlList(one)+`}`),
		"aliyun":      run("", "cdn", "RefreshObjectCaches", "--ObjectType", "File", "--ObjectPath", lines),
		"tencent":     run("", "cdn", "PurgeUrlsCache", "--Urls", urlList(one)),
		"reload-web1": ssh("web1.example.com", "reload-web1"), "reload-web2": ssh("web2.example.com", "reload-web2"),
		"reload":       run(allAcked("reload"), "reload", "nginx"),
		"opcache-web1": opcache("web1"), "opcache-web2": opcache("web2"),
		"varnish": purges, "nginx-cache": purges,
		"log": nil, "log-failed": nil,
	}
}

// Whatever the names of files are, a recipe of paths sends exactly what it is to send.
func TestRecipesSendWhatTheyAreToSend(t *testing.T) {
	s := newStage(t)
	hooks, want := recipeHooks(t, s), wanted()
	for name, h := range hooks {
		if !h.On.OfPaths() {
			continue
		}
		expected, ok := want[name]
		if !ok {
			t.Errorf("nothing is expected of hook %s", name)
			continue
		}
		delete(want, name)
		tell(t, h, eventOf(h, hostilePaths()...))
		if diff := cmp.Diff(expected, s.take(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name := range want {
		t.Errorf("no recipe has hook %s", name)
	}
}

// The log has one line for each event, whatever is in it.
func TestRecipeOfTheLogAppendsLines(t *testing.T) {
	s := newStage(t)
	hooks := recipeHooks(t, s)
	failed := hostilePaths()[2]
	failed.What, failed.Error, failed.Tries = hook.NotTaken, "no\nspace", 1
	tell(t, hooks["log"], eventOf(hooks["log"], hostilePaths()...))
	tell(t, hooks["log-failed"], eventOf(hooks["log-failed"], failed))
	got, err := os.ReadFile(filepath.Join(s.dir, "var/log/sersync/events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want := allAcked("log") + `{"id":"1","hook":"log-failed","on":"failed","source":"www","root":"/data/www","target":"b","time":"2026-11-21T14:03:04Z",` +
		`"paths":[{"path":"-n \"$(id)\"\n` + "`id`" + `.css","what":"failed","type":"file","since":"2026-11-21T14:03:04Z","error":"no\nspace","tries":1}],` +
		`"text":"www: \"-n \\\"$(id)\\\"\\n` + "`id`" + `.css\" fails on b: no�space"}` + "\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A directory that is removed is one path, and what was below it is not named: the recipe for Cloudflare purges everything then.
func TestRecipeOfCloudflarePurgesEverythingForADirectory(t *testing.T) {
	s := newStage(t)
	h := recipeHooks(t, s)["cloudflare"]
	page := hook.Path{Path: "a.html", What: hook.Updated, Since: when}
	for _, c := range []struct {
		path hook.Path
		want string
	}{
		{hook.Path{Path: "d", What: hook.Removed, Dir: true}, `{"purge_everything": true}`},
		{hook.Path{Path: "d", What: hook.Many, Dir: true}, `{"purge_everything": true}`},
		{hook.Path{Path: "d", What: hook.Updated, Dir: true}, `{"files": ` + urlList([]string{"d", "a.html"}) + `}`},
		{hook.Path{Path: "d", What: hook.Removed}, `{"files": ` + urlList([]string{"d", "a.html"}) + `}`},
	} {
		tell(t, h, eventOf(h, c.path, page))
		if got := s.take(t); len(got) != 1 || got[0].Body != c.want {
			t.Errorf("of %+v came %+v, want %s", c.path, got, c.want)
		}
	}
}

// The tool of a CDN is not called for an event without URLs, and what it fails with is an error of the hook.
func TestScriptForACDNFailsWithItsTool(t *testing.T) {
	s := newStage(t)
	h := recipeHooks(t, s)["aliyun"]
	s.write(t, "bin/aliyun", "#!/bin/sh\necho 'ERROR: quota' >&2\nexit 3\n", 0o700)
	built, err := daemon.NewHook(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := built.Tell(t.Context(), eventOf(h, hostilePaths()...)); err == nil || !strings.Contains(err.Error(), "exit status 3: ERROR: quota") {
		t.Errorf("error %v", err)
	}
	h.URLs = nil
	if built, err = daemon.NewHook(h); err != nil {
		t.Fatal(err)
	}
	if err := built.Tell(t.Context(), eventOf(h, hostilePaths()...)); err == nil || !strings.Contains(err.Error(), "the event has no URLs") {
		t.Errorf("error %v", err)
	}
}

// textOfState is the text of the events of eventOf for people.
func textOfState(k hook.Kind) string {
	reason := ": open \"<!channel>�\\\": " + strings.Repeat("错", 3000)
	switch k {
	case hook.Behind:
		return "www: target b is behind by 12m (3 paths)" + reason
	case hook.TargetDown:
		return "www: target b is away since " + when.Local().Format("15:04") + reason
	case hook.TargetUp:
		return "www: target b takes changes again (3 paths)"
	}
	return "www: removals are held (away): 3" + reason
}

// The messages are what DingTalk, WeCom and Slack take, within their limits, and what is in them calls nobody.
func TestRecipesOfMessagesHaveTheFormOfTheService(t *testing.T) {
	services := map[string]struct {
		uri   string
		runes int
		body  func(k hook.Kind, text string) string
	}{
		"dingtalk": {"/robot/send?access_token=TOKEN", 500, message},
		"wecom":    {"/cgi-bin/webhook/send?key=KEY", 500, message},
		"slack": {"/services/T/B/x", 2000, func(k hook.Kind, text string) string {
			return `{"text": "sersync: ` + string(k) + `", "blocks": [{"type": "section", "text": {"type": "plain_text", "text": ` + text + `}}]}`
		}},
	}
	s := newStage(t)
	hooks := recipeHooks(t, s)
	for service, as := range services {
		for suffix, kind := range map[string]hook.Kind{"behind": hook.Behind, "down": hook.TargetDown, "up": hook.TargetUp, "held": hook.DeletesHeld} {
			h, ok := hooks[service+"-"+suffix]
			if !ok || h.On != kind {
				t.Errorf("hook %s-%s is about %q", service, suffix, h.On)
				continue
			}
			tell(t, h, eventOf(h))
			text := []rune(textOfState(kind))
			text = text[:min(len(text), as.runes)]
			if service == "wecom" && len("sersync "+string(text)) > 2048 {
				t.Errorf("%s: %d bytes", h.Name, len(string(text)))
			}
			want := []told{{Method: "POST", URI: as.uri, ContentType: "application/json", Body: as.body(kind, jsonString(t, "sersync "+string(text)))}}
			if diff := cmp.Diff(want, s.take(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", h.Name, diff)
			}
		}
	}
}

func message(_ hook.Kind, text string) string {
	return `{"msgtype": "text", "text": {"content": ` + text + `}}`
}

func jsonString(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
