package channel

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	patience = 30 * time.Second
	secret   = "s3cr-hunter2"
)

// house knows one module with a user, one that is open, and some that refuse.
func house(_ context.Context, module, user string, _ net.Addr) (Access, error) {
	switch module {
	case "www":
		if user == "rsync" {
			return Access{Secret: []byte(secret)}, nil
		}
		return Access{}, nil
	case "open":
		return Access{Open: true}, nil
	case "denied":
		return Access{}, Refuse(Denied, "hosts allow has not \x1b[31m127.0.0.1\n")
	case "full":
		return Access{}, Refuse(Busy, "4 of 4 connections")
	case "broken":
		return Access{}, errors.New("read secrets file of /etc/private")
	}
	return Access{}, Refuse(NoModule, "")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// arrival is what a login of one client came to at the receiver.
type arrival struct {
	conn net.Conn
	peer Peer
	err  error
}

// receiver lets in one client after another.
func receiver(t *testing.T, certificate *tls.Certificate) (net.Addr, <-chan arrival) {
	t.Helper()
	s, err := NewServer(house, Certificates{Own: certificate})
	if err != nil {
		t.Fatal(err)
	}
	l, ctx := listen(t), within(t)
	out := make(chan arrival, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var a arrival
			a.conn, a.peer, a.err = s.Login(ctx, conn)
			out <- a
		}
	}()
	return l.Addr(), out
}

func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func wantKind(t *testing.T, err error, kind Kind, parts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("error %v, want kind %d", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("error %q holds the secret", err)
	}
}

func TestRightLoginCarriesDataBothWays(t *testing.T) {
	for _, tt := range []struct {
		login Login
		want  Peer
	}{
		{Login{Module: "www", User: "rsync", Secret: []byte(secret)}, Peer{Module: "www", User: "rsync"}},
		{Login{Module: "open"}, Peer{Module: "open"}},
	} {
		addr, arrivals := receiver(t, nil)
		conn := dial(t, addr)
		c, err := Client(within(t), conn, tt.login)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "question"); err != nil {
			t.Fatal(err)
		}
		a := await(t, arrivals)
		if a.err != nil {
			t.Fatal(a.err)
		}
		if a.peer.Module != tt.want.Module || a.peer.User != tt.want.User || a.peer.From.String() != conn.LocalAddr().String() {
			t.Errorf("peer %+v, want %+v from %s", a.peer, tt.want, conn.LocalAddr())
		}
		got := make([]byte, len("question"))
		if _, err := io.ReadFull(a.conn, got); err != nil || string(got) != "question" {
			t.Fatalf("receiver read %q, %v", got, err)
		}
		io.WriteString(a.conn, "answer")
		a.conn.Close()
		if b, err := io.ReadAll(c); err != nil || string(b) != "answer" {
			t.Fatalf("sender read %q, %v", b, err)
		}
		c.Close()
	}
}

func TestRefusals(t *testing.T) {
	good := []byte(secret)
	for name, tt := range map[string]struct {
		login          Login
		client, server Kind
		says           string
	}{
		"wrong secret":      {Login{Module: "www", User: "rsync", Secret: []byte("other")}, WrongLogin, WrongLogin, `"rsync"`},
		"unknown user":      {Login{Module: "www", User: "root", Secret: good}, WrongLogin, WrongLogin, `"root"`},
		"no module":         {Login{Module: "nix", User: "rsync", Secret: good}, NoModule, NoModule, `"nix"`},
		"denied":            {Login{Module: "denied", User: "rsync", Secret: good}, Denied, Denied, "hosts allow has not ?[31m127.0.0.1?"},
		"busy":              {Login{Module: "full", User: "rsync", Secret: good}, Busy, Busy, "4 of 4"},
		"login is needed":   {Login{Module: "www"}, NeedsLogin, NeedsLogin, "give the target both"},
		"failure of auth":   {Login{Module: "broken", User: "rsync", Secret: good}, Denied, Broken, "receiver refuses"},
		"login at an open":  {Login{Module: "open", User: "rsync", Secret: good}, NoProof, Broken, "may not be the one"},
		"only a user":       {Login{Module: "www", User: "rsync"}, Misconfigured, Broken, "no secret"},
		"only a secret":     {Login{Module: "www", Secret: good}, Misconfigured, Broken, "no user"},
		"no name of module": {Login{User: "rsync", Secret: good}, Misconfigured, Broken, "empty"},
		"too long a name":   {Login{Module: strings.Repeat("m", 256)}, Misconfigured, Broken, "255"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, arrivals := receiver(t, nil)
			_, err := Client(within(t), dial(t, addr), tt.login)
			wantKind(t, err, tt.client, tt.says)
			if strings.Contains(err.Error(), "/etc/private") {
				t.Errorf("client learned %q", err)
			}
			a := await(t, arrivals)
			if tt.client == NoProof {
				return // the receiver of an open module has nothing to object
			}
			wantKind(t, a.err, tt.server)
			if tt.server == WrongLogin && (a.peer.Module != "www" || a.peer.User != tt.login.User) {
				t.Errorf("peer of the failed login is %+v", a.peer)
			}
		})
	}
}

func TestPeerThatIsNoReceiverIsNamed(t *testing.T) {
	tlsOnly, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	asTLS := func(config *tls.Config) func(net.Conn) {
		config.Certificates = []tls.Certificate{*tlsOnly}
		return func(c net.Conn) { io.Copy(io.Discard, tls.Server(c, config)) }
	}
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, text)
			io.Copy(io.Discard, c)
		}
	}
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		kind  Kind
		says  string
	}{
		"rsync daemon":   {says("@RSYNCD: 31.0 sha512 sha256\n"), Foreign, "rsync"},
		"web server":     {says("HTTP/1.1 400 Bad Request\r\n\r\n"), Foreign, "HTTP"},
		"ssh":            {says("SSH-2.0-OpenSSH_9.6\r\n"), Foreign, "ssh"},
		"anything":       {says("220 mail\r\n"), Foreign, `"220 m"`},
		"https":          {asTLS(&tls.Config{NextProtos: []string{"h2"}}), Foreign, "TLS"},
		"TLS, no ALPN":   {asTLS(&tls.Config{}), Foreign, "not sersync"},
		"old TLS":        {asTLS(&tls.Config{MaxVersion: tls.VersionTLS12}), Foreign, "TLS 1.3"},
		"closes at once": {func(net.Conn) {}, Broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			go func() {
				if c, err := l.Accept(); err == nil {
					tt.serve(c)
					c.Close()
				}
			}()
			_, err := Client(within(t), dial(t, l.Addr()), Login{Module: "www", User: "rsync", Secret: []byte(secret)})
			wantKind(t, err, tt.kind, tt.says)
		})
	}
}

func TestRsyncClientIsToldWhatItCalled(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	conn := dial(t, addr)
	io.WriteString(conn, "@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n")
	b, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(b), "sersync receive, no rsync daemon") {
		t.Errorf("rsync was told %q, %v", b, err)
	}
	wantKind(t, await(t, arrivals).err, Foreign, "rsync")
}

func TestEndOfContextEndsALoginAtOnce(t *testing.T) {
	silent := listen(t)
	s, err := NewServer(house, Certificates{})
	if err != nil {
		t.Fatal(err)
	}
	for name, login := range map[string]func(context.Context, net.Conn) error{
		"sender": func(ctx context.Context, c net.Conn) error {
			_, err := Client(ctx, c, Login{Module: "www", User: "rsync", Secret: []byte(secret)})
			return err
		},
		"receiver": func(ctx context.Context, c net.Conn) error {
			_, _, err := s.Login(ctx, c)
			return err
		},
	} {
		conn := dial(t, silent.Addr())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- login(ctx, conn) }()
		cancel()
		if err := await(t, done); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's error", name, err)
		}
		if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: connection is open after a failed login: %v", name, err)
		}
		ctx, cancel = context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		wantKind(t, login(ctx, dial(t, silent.Addr())), Timeout, "in time")
	}
}

func TestContextOfALoginDoesNotBindTheSession(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Client(ctx, dial(t, addr), Login{Module: "open"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	a := await(t, arrivals)
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(a.conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestLoginsLeaveNoGoroutines(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	before := runtime.NumGoroutine()
	for i := range 12 {
		l := Login{Module: "www", User: "rsync", Secret: fmt.Appendf(nil, "%s%.*s", secret, i%3, "xx")}
		c, err := Client(within(t), dial(t, addr), l)
		if err == nil {
			c.Close()
		}
		if a := await(t, arrivals); a.conn != nil {
			a.conn.Close()
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); runtime.NumGoroutine() > before; {
		select {
		case <-tick.C:
		case <-deadline:
			var b bytes.Buffer
			stacks := make([]byte, 1<<16)
			b.Write(stacks[:runtime.Stack(stacks, true)])
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, &b)
		}
	}
}
