package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	// maxReply bounds what is read of a reply.
	maxReply = 64 << 10
	// userAgent is how requests name their sender.
	userAgent = "sersync"
)

// client sends the requests of one Tell, one after another, and keeps the connection from one to the next. It has no connection
// left after close. A proxy that the environment names is used, as everywhere: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.
type client struct {
	transport *http.Transport
	http      http.Client
}

// newClient makes a client, which connects to via (HOST:PORT) whatever the URLs say, unless it is empty.
func newClient(via string) *client {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, Protocols: new(http.Protocols),
		DisableCompression: true, MaxResponseHeaderBytes: maxReply,
	}
	t.Protocols.SetHTTP1(true)
	if via != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, via)
		}
	}
	return &client{transport: t, http: http.Client{
		Transport: t,
		// A redirect is an answer that is no success: whoever is told is named in the configuration, and nobody else is told.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// send sends a request and refuses every answer but 2xx, and those that also is true of; where expect is given, a 2xx whose body
// does not match it is refused, too. The error says nothing of the request but its method, scheme and host: all else may be a secret.
func (c *client) send(request *http.Request, also func(status int) bool, expect *regexp.Regexp) error {
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", userAgent)
	}
	secrets := secretsOf(request.URL, request.Header)
	failed := func(err error) error {
		return fmt.Errorf("%s %s: %w", request.Method, shown(request.URL), err)
	}
	reply, err := c.http.Do(request)
	if err != nil {
		// Its text has the URL, and Client does not tell without it.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		err = ended(request.Context(), err)
		if text := err.Error(); redact(text, secrets) != text {
			err = errors.New(redact(text, secrets))
		}
		return failed(err)
	}
	defer reply.Body.Close()
	// Read to its end, the connection can be used again.
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	switch {
	case reply.StatusCode/100 == 2 && (expect == nil || expect.Match(body)), also != nil && also(reply.StatusCode):
		return nil
	case err != nil:
		return failed(fmt.Errorf("status %d: %w", reply.StatusCode, ended(request.Context(), err)))
	case len(body) == 0:
		return failed(fmt.Errorf("status %d", reply.StatusCode))
	}
	return failed(fmt.Errorf("status %d: %s", reply.StatusCode, quote(redact(string(body), secrets))))
}

// isToken reports whether s can be a method, or the name of a header.
func isToken(s string) bool {
	for i := range len(s) {
		if !isPlain(s[i]) && strings.IndexByte("!#$%&'*+^`|", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// isHeaderValue reports whether s can be the value of a header: nothing in it ends the line.
func isHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
