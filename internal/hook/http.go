package hook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// HTTPOptions are those of the plugin "http" of 2.5.4.
type HTTPOptions struct {
	// URL is told; without a scheme it begins with http://.
	URL string
	// Port is that of a URL that has none; 0 for the usual one.
	Port int
}

type httpForm struct{ url *url.URL }

// NewHTTP makes a hook that posts a form for one path after another, as the plugin would have done that 2.5.4 had in its source and
// did not ship: watchroot, isdir, inotifyPath (absolute) and mask, which are escaped here. Any status but 2xx is an error.
func NewHTTP(o HTTPOptions) (Hook, error) {
	if !strings.Contains(o.URL, "://") {
		o.URL = "http://" + o.URL
	}
	u, err := parseEndpoint(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read url of http: %w", err)
	case o.Port < 0 || o.Port > 65535:
		return nil, errors.New("port of http is none from 1 to 65535")
	case u.Port() == "" && o.Port != 0:
		u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(o.Port))
	}
	return httpForm{u}, nil
}

// Tell posts one form after another.
func (h httpForm) Tell(ctx context.Context, e Event) error {
	c := newClient("")
	defer c.close()
	for _, p := range e.Paths {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, shown(h.url), strings.NewReader(form(e.Root, p)))
		if err != nil {
			return err
		}
		request.URL = h.url
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := c.send(request, nil, nil); err != nil {
			return fmt.Errorf("post form of %s: %w", p.Path, err)
		}
	}
	return nil
}

// form has its fields in the order of 2.5.4. The mask is that of the event of inotify which the change would have been.
func form(root string, p Path) string {
	dir := p.Dir || p.What == Many
	isdir, mask := 0, unix.IN_CLOSE_WRITE
	if dir {
		isdir, mask = 1, unix.IN_CREATE
	}
	if p.What == Removed {
		mask = unix.IN_DELETE
	}
	if dir {
		mask |= unix.IN_ISDIR
	}
	return fmt.Sprintf("watchroot=%s&isdir=%d&inotifyPath=%s&mask=%d",
		url.QueryEscape(root), isdir, url.QueryEscape(absolute(root, p.Path)), mask)
}
