package hook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJSONOfAnEvent(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
	u := mustURLs(t, URLRule{"^a|^b", "https://h/$path"})
	m, ok := u.message(Event{
		ID: "7", Hook: "cdn", On: AllTargetsAcked, Source: "www", Root: "/data/www", Targets: []string{"t1"}, Missing: []string{"t2"}, Time: at,
		Paths: []Path{
			{Path: "a<b>&", What: Updated, Since: at},
			{Path: "b\xff\xfe", What: Removed, Dir: true},
			{Path: "c", What: Updated},
		},
	})
	if !ok {
		t.Fatal("nothing to tell")
	}
	b, err := line(m)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"7","hook":"cdn","on":"all-targets-acked","source":"www","root":"/data/www","targets":["t1"],"missing":["t2"],` +
		`"time":"2026-03-04T04:06:07Z","paths":[` +
		`{"path":"a<b>&","what":"updated","type":"file","since":"2026-03-04T04:06:07Z","urls":["https://h/a%3Cb%3E&"]},` +
		"{\"path\":\"b\uFFFD\",\"path_base64\":\"Yv/+\",\"what\":\"removed\",\"type\":\"dir\",\"urls\":[\"https://h/b%FF%FE\"]}]," +
		"\"text\":\"www: a<b>& is on 1 of 2 targets, \\\"b\\\\xff\\\\xfe\\\" is gone from 1 of 2 targets, not yet on t2\"}\n"
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}

	m, _ = URLs{}.message(Event{
		ID: "8", On: Behind, Source: "www", Root: "/d", Target: "t", Time: at, State: "away", Since: at, Error: "e", Hint: "h",
		Lag: 90500 * time.Millisecond, Waiting: 3, Test: true,
	})
	if b, err = line(m); err != nil {
		t.Fatal(err)
	}
	want = `{"id":"8","hook":"","on":"behind","source":"www","root":"/d","target":"t","time":"2026-03-04T04:06:07Z","test":true,"state":"away",` +
		`"since":"2026-03-04T04:06:07Z","error":"e","hint":"h","lag_seconds":90.5,"waiting":3,` +
		`"text":"test: www: target t is behind by 1m31s (3 paths): e (h)"}` + "\n"
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsToldOfPathsWithoutURL(t *testing.T) {
	u := mustURLs(t, URLRule{"^a", "https://h/$path"})
	if _, ok := u.message(Event{On: Acked, Paths: []Path{{Path: "b"}}}); ok {
		t.Error("a path without a URL is told")
	}
	if _, ok := u.message(Event{On: TargetDown}); !ok {
		t.Error("an event that has no paths is not told")
	}
}

// The queue was full, and nobody knows which URLs what is below a directory has: that is no success.
func TestWhatIsBelowADirectoryWithoutURLIsToldOrFails(t *testing.T) {
	e := Event{On: Acked, Root: "/r", Paths: []Path{{Path: "d", What: Many, Dir: true}}}
	html := URLRule{Match: `\.html$`, URL: "http://127.0.0.1:1/$path"}
	for name, h := range map[string]Hook{
		"run":     mustHook(t)(NewRun(RunOptions{Argv: []string{"/bin/false"}, URLs: mustURLs(t, html)})),
		"post":    mustHook(t)(NewPost(PostOptions{URL: at(closedPort(t), "/"), URLs: mustURLs(t, html)})),
		"purge":   mustHook(t)(NewPurge(PurgeOptions{URLs: mustURLs(t, html)})),
		"command": mustHook(t)(NewCommand(CommandOptions{Prefix: "false", Include: []string{`.*\.html`}})),
		"refreshCDN": mustHook(t)(NewRefreshCDN(RefreshCDNOptions{
			Host: "127.0.0.1", Port: closedPort(t), User: "u", Password: func() (string, error) { return "p", nil }, Base: "http://b", Match: `html`,
		})),
	} {
		if h.Tell(bounded(t), e) == nil {
			t.Errorf("%s: it is a success, and told nobody", name)
		}
	}
}

func TestATestIsToldWhateverThePathOrFails(t *testing.T) {
	e := eventOf("a.txt")
	never := URLRule{Match: `\.html$`, URL: "http://127.0.0.1:1/$path"}
	port := closedPort(t)
	for name, h := range map[string]Hook{
		"run":        mustHook(t)(NewRun(RunOptions{Argv: []string{"/bin/false"}, URLs: mustURLs(t, never)})),
		"post":       mustHook(t)(NewPost(PostOptions{URL: at(port, "/"), URLs: mustURLs(t, never)})),
		"purge":      mustHook(t)(NewPurge(PurgeOptions{URLs: mustURLs(t, never)})),
		"command":    mustHook(t)(NewCommand(CommandOptions{Prefix: "false", Include: []string{`.*\.html`}})),
		"refreshCDN": mustHook(t)(NewRefreshCDN(RefreshCDNOptions{Host: "127.0.0.1", Port: port, User: "u", Password: func() (string, error) { return "p", nil }, Base: "http://b", Match: `html`})),
	} {
		e.Test = false
		if err := h.Tell(bounded(t), e); err != nil {
			t.Errorf("%s: %v, and it is not told of the path", name, err)
		}
		e.Test = true
		if h.Tell(bounded(t), e) == nil {
			t.Errorf("%s: the test is a success, and told nobody", name)
		}
	}
}

func TestTextOfEvents(t *testing.T) {
	at := time.Date(2026, 3, 4, 14, 30, 0, 0, time.Local)
	three := []Path{{Path: "a", What: Updated}, {Path: "b", What: Updated}, {Path: "c", What: Updated}}
	for _, c := range []struct {
		want string
		e    Event
	}{
		{"www: 3 paths are on all targets", Event{On: AllTargetsAcked, Targets: []string{"t"}, Paths: three}},
		{"www: 3 paths have changed", Event{On: AllTargetsAcked, Paths: three}},
		{"www: a is on t", Event{On: Acked, Target: "t", Paths: three[:1]}},
		{`www: "a\nb" is gone from t`, Event{On: Acked, Target: "t", Paths: []Path{{Path: "a\nb", What: Removed}}}},
		{"www: what is below d is on t", Event{On: Acked, Target: "t", Paths: []Path{{Path: "d", What: Many}}}},
		{
			"www: 2 paths fail on t (1 dead): denied\uFFFDx",
			Event{On: Failed, Target: "t", Paths: []Path{{What: NotTaken, Error: "denied\nx"}, {What: NotTaken, Dead: true}}},
		},
		{
			"www: target t is away since 14:03: refused (start it)",
			Event{On: TargetDown, Target: "t", State: "away", Since: at.Add(-27 * time.Minute), Error: "refused", Hint: "start it"},
		},
		{"www: target t is away since 2026-03-03 14:30", Event{On: TargetDown, Target: "t", State: "away", Since: at.AddDate(0, 0, -1)}},
		{"www: target t takes changes again (1 path)", Event{On: TargetUp, Target: "t", Waiting: 1}},
		{"www: target t is behind by 12m (345 paths)", Event{On: Behind, Target: "t", Lag: 12 * time.Minute, Waiting: 345}},
		{"www: target t is behind by 2h", Event{On: Behind, Target: "t", Lag: 2 * time.Hour}},
		{"www: target t is behind by 20h10m", Event{On: Behind, Target: "t", Lag: 20*time.Hour + 10*time.Minute}},
		{"www: removals are held (removal-budget): 1200", Event{On: DeletesHeld, State: "removal-budget", Waiting: 1200}},
	} {
		c.e.Source, c.e.Time = "www", at
		if got := text(c.e); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if strings.ContainsAny(text(c.e), "\r\n") {
			t.Errorf("%q is more than one line", text(c.e))
		}
	}
}
