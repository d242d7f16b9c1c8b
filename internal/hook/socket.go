package hook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"sersync/internal/change"
)

// SocketOptions are those of the plugin "socket" of 2.5.4.
type SocketOptions struct {
	// Host is an address, or a name, which 2.5.4 did not take.
	Host string
	Port int
}

type socket struct{ address string }

// NewSocket makes a hook that sends the absolute path of each path over a connection of its own, and nothing else: no end of a
// line, no operation. Nothing is read, so that it is a success when the other side's kernel has taken it.
func NewSocket(o SocketOptions) (Hook, error) {
	address, err := addressOf(o.Host, o.Port)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return socket{address}, nil
}

// Tell sends one path after another.
func (s socket) Tell(ctx context.Context, e Event) error {
	for _, p := range e.Paths {
		if err := s.one(ctx, absolute(e.Root, p.Path)); err != nil {
			return fmt.Errorf("send path %s: %w", p.Path, err)
		}
	}
	return nil
}

func (s socket) one(ctx context.Context, path string) error {
	return connect(ctx, s.address, func(conn *net.TCPConn) error {
		if _, err := conn.Write([]byte(path)); err != nil {
			return err
		}
		return conn.CloseWrite()
	})
}

// connect has a connection used, and closes it. It is cut when ctx ends.
func connect(ctx context.Context, address string, use func(*net.TCPConn) error) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return ended(ctx, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return ended(ctx, use(conn.(*net.TCPConn))) // what a Dialer makes for "tcp"
}

// ended is err, or that ctx has ended where this is why. Its deadline is that of the connection too, which may notice it first.
func ended(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded
	}
	return err
}

// addressOf is HOST:PORT. The host also stands in requests as it is.
func addressOf(host string, port int) (string, error) {
	switch {
	case host == "":
		return "", errors.New("there is no host")
	case strings.IndexFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' || r == '@' }) >= 0:
		return "", fmt.Errorf("host %q is no name and no address", change.Path(host))
	case port < 1 || port > 65535:
		return "", fmt.Errorf("port %d is none from 1 to 65535", port)
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port)), nil
}
