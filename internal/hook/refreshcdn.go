package hook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path"
	"regexp"
	"strings"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// RefreshCDNOptions are those of the plugin "refreshCDN" of 2.5.4.
type RefreshCDNOptions struct {
	Host string
	Port int // 80 when it is 0
	User string
	// Password is asked for when there is something to tell, and its answer is neither kept nor shown.
	Password func() (string, error)
	// Base is what the URL of a path begins with.
	Base string
	// Match is an expression that is looked for in the absolute path: the URL is Base, what its first group matched, and what
	// stands behind the match. A path without a match is not told. Empty: the URL is Base and the path below Watch.
	Match string
	// Watch is the directory that the plugin was told of; what is not below it is not told. Empty for the source.
	Watch string
}

type refreshCDN struct {
	o       RefreshCDNOptions
	address string
	match   *filter.Expression // nil for none
}

// NewRefreshCDN makes a hook that has the CDN ChinaCache refresh each path, by the request of 2.5.4 to the byte, as long as there
// are only letters, digits and "-._~/:," in its values. 2.5.4 sent all others as they were too, so that a name could end the
// request; here they are escaped. What is escaped in user, password and base already stays so, as 2.5.4 needed it.
// The request is not cut at 1023 bytes, which told the CDN of another path.
//
// An answer that is not 200, and none, is an error. 2.5.4 wrote the answer to errorlog.txt in its directory and did nothing
// about it; as the file also got the request, with the password in it, there is none here: what failed is told again and shown in
// the status.
func NewRefreshCDN(o RefreshCDNOptions) (Hook, error) {
	if o.Port == 0 {
		o.Port = 80
	}
	c := &refreshCDN{o: o}
	var err error
	if c.address, err = addressOf(o.Host, o.Port); err != nil {
		return nil, fmt.Errorf("refreshCDN: %w", err)
	}
	switch {
	case o.User == "" || o.Password == nil:
		return nil, errors.New("refreshCDN needs user and password")
	case o.Base == "":
		return nil, errors.New("refreshCDN needs a base, which the URL of a path begins with")
	case o.Match == "":
		return c, nil
	}
	match, err := filter.Anywhere(o.Match)
	if err != nil {
		return nil, fmt.Errorf("compile match %q: %w", o.Match, err)
	}
	c.match = &match
	return c, nil
}

// Tell asks for one path after another.
func (c *refreshCDN) Tell(ctx context.Context, e Event) error {
	sent := false
	for _, p := range e.Paths {
		file, told, err := c.url(e.Root, p.Path)
		sent = sent || told
		if err == nil && !told && p.What == Many && c.match != nil {
			err = unknownBelow(p)
		}
		if err == nil && told {
			err = c.one(ctx, file, p.Dir || p.What == Many)
		}
		if err != nil {
			return fmt.Errorf("refresh path %s: %w", p.Path, err)
		}
	}
	if !sent {
		return untold(e)
	}
	return nil
}

// url is what is behind Base in the URL of a path.
func (c *refreshCDN) url(root string, p change.Path) (string, bool, error) {
	file := absolute(root, p)
	if c.match != nil {
		m, ok, err := c.match.Match(file)
		return m.Group + m.Rest, ok, err
	}
	watch := root
	if c.o.Watch != "" {
		watch = c.o.Watch
	}
	watch = strings.TrimSuffix(path.Clean(watch), "/")
	rest, ok := strings.CutPrefix(file, watch)
	return rest, ok && (rest == "" || rest[0] == '/'), nil
}

func (c *refreshCDN) one(ctx context.Context, file string, dir bool) error {
	password, err := c.o.Password()
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	return connect(ctx, c.address, func(conn *net.TCPConn) error {
		if _, err := conn.Write(c.request(password, file, dir)); err != nil {
			return err
		}
		reply, err := bufio.NewReader(io.LimitReader(conn, maxReply)).ReadString('\n')
		switch {
		case statusOK.MatchString(reply):
			return nil
		case reply != "":
			secrets := []string{escapeText(password), url.QueryEscape(password), password}
			return fmt.Errorf("the answer is %s", quote(redact(reply, secrets)))
		case err == io.EOF:
			return errors.New("there is no answer")
		}
		return err
	})
}

var statusOK = regexp.MustCompile(`^HTTP/[0-9.]+ 200(?:[ \r\n]|$)`)

func (c *refreshCDN) request(password, file string, dir bool) []byte {
	kind, end := "urls", ""
	if dir {
		kind, end = "dirs", "/"
	}
	return fmt.Appendf(nil, "HEAD /index.jsp?user=%s&pswd=%s&ok=ok&%s=%s%s%s HTTP/1.0\r\nHost: %s\r\n\r\n",
		escapeText(c.o.User), escapeText(password), kind, escapeText(c.o.Base), escape(file, inCDN), end, c.o.Host)
}

// inCDN is what needs no escape in a value, beside letters and digits.
const inCDN = "/:,"

var escaped = regexp.MustCompile(`%[0-9A-Fa-f]{2}|(?s:.)`)

// escapeText escapes what a person wrote, and leaves what is escaped already.
func escapeText(s string) string {
	var b strings.Builder
	for _, at := range escaped.FindAllStringIndex(s, -1) {
		if part := s[at[0]:at[1]]; len(part) == 3 && part[0] == '%' {
			b.WriteString(part)
		} else {
			b.WriteString(escape(part, inCDN))
		}
	}
	return b.String()
}
