package hook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// message is an event as Run and Post tell it. Its JSON is an interface: fields are added, and never changed. A body template
// sees the same fields and the methods.
type message struct {
	ID         string        `json:"id"`
	Hook       string        `json:"hook"`
	On         Kind          `json:"on"`
	Source     string        `json:"source"`
	Root       string        `json:"root"`
	Target     string        `json:"target,omitempty"`
	Targets    []string      `json:"targets,omitempty"`
	Missing    []string      `json:"missing,omitempty"`
	Time       time.Time     `json:"time"`
	Test       bool          `json:"test,omitempty"`
	Paths      []messagePath `json:"paths,omitempty"`
	State      string        `json:"state,omitempty"`
	Since      time.Time     `json:"since,omitzero"`
	Error      string        `json:"error,omitempty"`
	Hint       string        `json:"hint,omitempty"`
	LagSeconds float64       `json:"lag_seconds,omitempty"` // to the millisecond
	Waiting    int           `json:"waiting,omitempty"`
	Text       string        `json:"text"`
}

type messagePath struct {
	// Path is relative to the root, and empty for the root. A program that needs the bytes takes PathBase64 where it is there.
	Path       string    `json:"path"`
	PathBase64 string    `json:"path_base64,omitempty"`
	What       What      `json:"what"`
	Type       string    `json:"type"`
	Since      time.Time `json:"since,omitzero"`
	Error      string    `json:"error,omitempty"`
	Tries      int       `json:"tries,omitempty"`
	Dead       bool      `json:"dead,omitempty"`
	URLs       []string  `json:"urls,omitempty"`
}

// message is what is to be told of e; false when nothing is, as none of its paths has a URL.
func (u URLs) message(e Event) (message, bool) {
	var paths []messagePath
	kept := e.Paths[:0:0]
	for _, p := range e.Paths {
		urls := u.of(p.Path)
		// Of what is below a directory nobody knows the URLs; who is told can see that.
		if u.any() && len(urls) == 0 && !e.Test && p.What != Many {
			continue
		}
		kept = append(kept, p)
		paths = append(paths, newMessagePath(p, urls))
	}
	if len(e.Paths) > 0 && len(paths) == 0 {
		return message{}, false
	}
	e.Paths = kept
	return message{
		ID: e.ID, Hook: e.Hook, On: e.On, Source: e.Source, Root: e.Root, Target: e.Target, Targets: e.Targets,
		Missing: e.Missing, Time: e.Time.UTC(), Test: e.Test, Paths: paths, State: e.State, Since: inUTC(e.Since), Error: e.Error,
		Hint: e.Hint, LagSeconds: float64(e.Lag.Milliseconds()) / 1000, Waiting: e.Waiting, Text: text(e),
	}, true
}

// unknownBelow is what a hook answers that can tell of a path only what it cannot know of what is below a directory.
func unknownBelow(p Path) error {
	return fmt.Errorf("the queue was full, and what changed below %s is not known: do by hand what is to be done, then run 'sersync hooks clear'", p.Path)
}

// untold is what a hook answers that has sent nothing, as no path of e has a URL. That is well, unless it is tried.
func untold(e Event) error {
	if !e.Test {
		return nil
	}
	return errors.New("nothing was sent: the path of the test has no URL")
}

func newMessagePath(p Path, urls []string) messagePath {
	m := messagePath{
		Path: string(p.Path), What: p.What, Type: "file", Since: inUTC(p.Since),
		Error: p.Error, Tries: p.Tries, Dead: p.Dead, URLs: urls,
	}
	if p.Dir {
		m.Type = "dir"
	}
	if !utf8.ValidString(m.Path) {
		m.PathBase64 = base64.StdEncoding.EncodeToString([]byte(m.Path))
		m.Path = strings.ToValidUTF8(m.Path, "\uFFFD")
	}
	return m
}

// inUTC keeps a time that was never set as it is, so that it is left out.
func inUTC(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// URLs are those of all paths, each once.
func (m message) URLs() []string {
	var all []string
	seen := make(map[string]bool)
	for _, p := range m.Paths {
		for _, u := range p.URLs {
			if !seen[u] {
				seen[u] = true
				all = append(all, u)
			}
		}
	}
	return all
}

// Lag is LagSeconds as a person writes it.
func (m message) Lag() string { return short(time.Duration(m.LagSeconds * float64(time.Second))) }

// line is the JSON of v in one line with an end.
func line(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("write event as JSON: %w", err)
	}
	return b.Bytes(), nil
}
