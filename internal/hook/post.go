package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"time"
)

// PostOptions say whom Post tells, and how. The files are those of secrets: regular, readable by their owner alone, and of root
// where we are. They are read each time that something is told.
type PostOptions struct {
	// URL is told, or else the one that is alone in URLFile.
	URL, URLFile string
	// HeadersFile holds lines "Name: value" that are added to the request. Empty for none.
	HeadersFile string
	// HMACFile holds a secret. With it X-Sersync-Signature is "sha256=" and the HMAC-SHA-256 of the body in hex digits.
	HMACFile string
	// Body is a text/template of the event with the functions json and query; empty for the event as JSON.
	Body string
	// ContentType is application/json when it is empty.
	ContentType string
	// Expect is what the body of a 2xx must match, in the syntax of RE2: some services refuse with 200. Empty for any.
	Expect string
	// URLs, when there are any, are those of the paths; a path without one is not told.
	URLs URLs
}

type post struct {
	o    PostOptions
	body *template.Template // nil for the event as JSON
	// expect is nil for any answer.
	expect *regexp.Regexp
}

// NewPost makes a hook that posts each event to a URL. Any status but 2xx is an error, a redirect too, and a body that Expect does not match. A proxy that
// the environment names is used.
func NewPost(o PostOptions) (Hook, error) {
	if o.ContentType == "" {
		o.ContentType = "application/json"
	}
	switch {
	case (o.URL == "") == (o.URLFile == ""):
		return nil, errors.New("post needs a url, or a url_file, and not both")
	case !isHeaderValue(o.ContentType):
		return nil, fmt.Errorf("content_type %q cannot stand in a header", o.ContentType)
	}
	p := &post{o: o}
	if o.Expect != "" {
		var err error
		if p.expect, err = regexp.Compile(o.Expect); err != nil {
			return nil, fmt.Errorf("compile expect: %w", err)
		}
	}
	if o.Body != "" {
		var err error
		if p.body, err = newBody(o.Body); err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
	}
	if _, err := p.request(context.Background(), nil); err != nil {
		return nil, err
	}
	return p, nil
}

// CheckBody says why a body of PostOptions cannot be used.
func CheckBody(body string) error {
	_, err := newBody(body)
	return err
}

// newBody reads a body, and fills it once.
func newBody(text string) (*template.Template, error) {
	body, err := template.New("body").Funcs(bodyFuncs()).Parse(text)
	if err != nil {
		return nil, err
	}
	return body, body.Execute(io.Discard, sample())
}

func bodyFuncs() template.FuncMap {
	return template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := line(v)
			return strings.TrimSuffix(string(b), "\n"), err
		},
		"query": url.QueryEscape,
	}
}

// sample has every field, so that a name that does not exist in a template is found when it is read.
func sample() message {
	now := time.Now()
	m, _ := URLs{}.message(Event{
		On: Acked, Targets: []string{""}, Missing: []string{""}, Time: now, Since: now, Lag: time.Second,
		Paths: []Path{{Path: "sample", What: Updated, Since: now}},
	})
	m.Paths[0].URLs = []string{"http://sample/"}
	return m
}

// Tell posts the event.
func (p *post) Tell(ctx context.Context, e Event) error {
	m, ok := p.o.URLs.message(e)
	if !ok {
		return nil
	}
	body, err := p.fill(m)
	if err != nil {
		return err
	}
	request, err := p.request(ctx, body)
	if err != nil {
		return err
	}
	c := newClient("")
	defer c.close()
	return c.send(request, nil, p.expect)
}

func (p *post) fill(m message) ([]byte, error) {
	if p.body == nil {
		return line(m)
	}
	var b bytes.Buffer
	if err := p.body.Execute(&b, m); err != nil {
		return nil, fmt.Errorf("fill body: %w", err)
	}
	return b.Bytes(), nil
}

// request reads the files.
func (p *post) request(ctx context.Context, body []byte) (*http.Request, error) {
	text := p.o.URL
	if p.o.URLFile != "" {
		b, err := ReadSecret(p.o.URLFile)
		if err != nil {
			return nil, fmt.Errorf("read url_file: %w", err)
		}
		text = strings.TrimSpace(string(b))
	}
	u, err := parseEndpoint(text)
	if err != nil {
		return nil, fmt.Errorf("read URL of post: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, shown(u), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.URL = u
	request.Header.Set("Content-Type", p.o.ContentType)
	if p.o.HeadersFile != "" {
		headers, err := readHeaders(p.o.HeadersFile)
		if err != nil {
			return nil, fmt.Errorf("read headers_file: %w", err)
		}
		for name, values := range headers {
			request.Header[name] = values
		}
		if host := headers.Get("Host"); host != "" {
			request.Host = host
		}
	}
	if p.o.HMACFile != "" {
		secret, err := ReadSecret(p.o.HMACFile)
		if err != nil {
			return nil, fmt.Errorf("read hmac_file: %w", err)
		}
		mac := hmac.New(sha256.New, bytes.TrimRight(secret, "\r\n"))
		mac.Write(body)
		request.Header.Set("X-Sersync-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return request, nil
}
