package hook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// PurgeOptions say which cache Purge tells, and how.
type PurgeOptions struct {
	// Via is http://HOST:PORT or https://HOST:PORT of the cache; empty for the host of each URL.
	Via string
	// Method is PURGE when it is empty.
	Method string
	// URLs are needed.
	URLs URLs
}

type purge struct {
	method string
	via    *url.URL // nil for the host of each URL
	urls   URLs
}

// NewPurge makes a hook that asks a cache to forget the URLs of paths, with one request for each URL. A path that has none is
// not told. 404 is a success: it was not in the cache. Any other status but 2xx ends the event with an error.
func NewPurge(o PurgeOptions) (Hook, error) {
	p := &purge{method: o.Method, urls: o.URLs}
	if p.method == "" {
		p.method = "PURGE"
	}
	switch {
	case !isToken(p.method): // both are a token
		return nil, fmt.Errorf("method %q is no method of HTTP", p.method)
	case !p.urls.any():
		return nil, errors.New("purge needs urls, which say what URL a path has")
	}
	if o.Via == "" {
		return p, nil
	}
	var err error
	if p.via, err = parseEndpoint(o.Via); err != nil {
		return nil, fmt.Errorf("read via of purge: %w", err)
	}
	if p.via.Path != "" && p.via.Path != "/" || p.via.RawQuery != "" || p.via.User != nil {
		return nil, errors.New("via of purge is more than http://HOST:PORT")
	}
	return p, nil
}

// Tell purges the URLs of the paths in their order.
func (p *purge) Tell(ctx context.Context, e Event) error {
	c := newClient(p.address())
	defer c.close()
	done := make(map[string]bool)
	for _, path := range e.Paths {
		urls := p.urls.of(path.Path)
		if len(urls) == 0 && path.What == Many {
			return unknownBelow(path)
		}
		for _, u := range urls {
			if done[u] {
				continue
			}
			if err := p.one(ctx, c, u); err != nil {
				return fmt.Errorf("purge URL of %s: %w", path.Path, err)
			}
			done[u] = true
		}
	}
	if len(done) == 0 {
		return untold(e)
	}
	return nil
}

func (p *purge) one(ctx context.Context, c *client, u string) error {
	request, err := http.NewRequestWithContext(ctx, p.method, u, nil)
	if err != nil {
		return errors.New("it is no URL that can be asked for")
	}
	if p.via != nil {
		// The host stays that of the URL, for the header and for TLS; the client connects elsewhere.
		request.URL.Scheme = p.via.Scheme
	}
	return c.send(request, func(status int) bool { return status == http.StatusNotFound }, nil)
}

// address is HOST:PORT of via; empty for none.
func (p *purge) address() string {
	if p.via == nil {
		return ""
	}
	port := p.via.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[p.via.Scheme]
	}
	return net.JoinHostPort(p.via.Hostname(), port)
}
