package httpd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// patience bounds what a test waits for, so that a failure ends.
const patience = 20 * time.Second

type backend struct {
	status   Status
	waiting  chan string   // a wait has begun
	acked    chan struct{} // closed: waits are over
	left     chan error    // a wait ended without its ack
	released []Released
	repaired []transport.Difference
	controls []string // what was done with selected targets
	level    string
	feed     Feed
}

func (b *backend) Status() Status { return b.status }

func (b *backend) Wait(ctx context.Context, target string) error {
	if target == "nobody" {
		return UnknownName("target", target, []string{"one", "two"})
	}
	b.waiting <- target
	select {
	case <-b.acked:
		return nil
	case <-ctx.Done():
		b.left <- context.Cause(ctx)
		return ctx.Err()
	}
}

func (b *backend) Approve(source string) ([]Released, error) {
	if source == "broken" {
		return nil, errors.New("no removals today")
	}
	return b.released, nil
}

func (b *backend) Sweep(sel Selection) ([]Pair, error)  { return b.control("sweep", sel) }
func (b *backend) Pause(sel Selection) ([]Pair, error)  { return b.control("pause", sel) }
func (b *backend) Resume(sel Selection) ([]Pair, error) { return b.control("resume", sel) }

func (b *backend) control(what string, sel Selection) ([]Pair, error) {
	if sel.Target == "nobody" {
		return nil, UnknownName("target", sel.Target, []string{"one", "two"})
	}
	b.controls = append(b.controls, what+" "+sel.Source+" "+sel.Target)
	return []Pair{{Source: "www", Target: "one"}}, nil
}

// serve starts a server and returns its socket and a function that stops it.
func serve(t *testing.T, b *backend, requestTime time.Duration) (string, func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "httpd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s.sock")
	// A socket that a killed process left is no obstacle.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()

	server, err := Listen(socket, b, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	server.requestTime = requestTime
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stop := func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
			done <- nil
		case <-time.After(patience):
			t.Fatal("Run did not return")
		}
	}
	t.Cleanup(stop)
	return socket, stop
}

func newBackend() *backend {
	return &backend{waiting: make(chan string, 8), acked: make(chan struct{}), left: make(chan error, 8)}
}

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestStatusArrivesAsItIs(t *testing.T) {
	b := newBackend()
	b.status = Status{
		Version: "1", PID: 7, Config: "/etc/x", Started: time.Unix(5, 0).UTC(),
		Sources: []replicate.Status{{
			Name: "www", Targets: []replicate.TargetStatus{{Name: "rsync://h/m", Lag: 1.5, State: "away"}},
		}},
	}
	socket, _ := serve(t, b, requestTime)
	got, err := NewClient(socket).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.status, got); diff != "" {
		t.Error(diff)
	}
	v, err := NewClient(socket).Version(t.Context())
	if err != nil || v != (Version{Version: "1", PID: 7}) {
		t.Errorf("version %v, %v", v, err)
	}
}

func TestSocketIsForItsOwnerAlone(t *testing.T) {
	socket, stop := serve(t, newBackend(), requestTime)
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o", mode)
	}
	stop()
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after the end: %v", err)
	}
	_, err = NewClient(socket).Status(t.Context())
	if kindOf(err) != NotRunning {
		t.Errorf("error %v", err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	_, err := Listen("/tmp/"+strings.Repeat("x", 120), newBackend(), slog.Default())
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "SERSYNC_RUN_DIR") {
		t.Errorf("error %v", err)
	}
}

func TestWaitOutlivesTheTimeOfARequest(t *testing.T) {
	b := newBackend()
	const requestTime = 50 * time.Millisecond
	socket, _ := serve(t, b, requestTime)
	done := make(chan error, 1)
	go func() {
		_, err := NewClient(socket).Wait(t.Context(), WaitRequest{Target: "one"})
		done <- err
	}()
	if target := <-b.waiting; target != "one" {
		t.Errorf("waits for %q", target)
	}
	select {
	case err := <-b.left:
		t.Fatalf("the wait was cut: %v", err)
	case <-time.After(6 * requestTime):
	}
	close(b.acked)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitEnds(t *testing.T) {
	t.Run("by its time", func(t *testing.T) {
		socket, _ := serve(t, newBackend(), requestTime)
		_, err := NewClient(socket).Wait(t.Context(), WaitRequest{Timeout: 0.01})
		if kindOf(err) != Timeout {
			t.Errorf("error %v", err)
		}
	})
	t.Run("when sersync stops", func(t *testing.T) {
		b := newBackend()
		socket, stop := serve(t, b, requestTime)
		done := make(chan error, 1)
		go func() {
			_, err := NewClient(socket).Wait(t.Context(), WaitRequest{})
			done <- err
		}()
		<-b.waiting
		stop()
		if err := <-done; kindOf(err) != Stopping {
			t.Errorf("error %v", err)
		}
	})
	t.Run("when the client has gone", func(t *testing.T) {
		b := newBackend()
		socket, _ := serve(t, b, requestTime)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := NewClient(socket).Wait(ctx, WaitRequest{})
			done <- err
		}()
		<-b.waiting
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		select {
		case <-b.left:
		case <-time.After(patience):
			t.Error("the server still waits")
		}
	})
	t.Run("at once for an unknown target", func(t *testing.T) {
		socket, _ := serve(t, newBackend(), requestTime)
		_, err := NewClient(socket).Wait(t.Context(), WaitRequest{Target: "nobody"})
		var e *Error
		if !errors.As(err, &e) || e.Kind != Unknown || e.Advice != `the names are: ["one" "two"]` {
			t.Errorf("error %v", err)
		}
	})
}

func TestServerThatEndsBeforeItAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conn.Close() // unread: the client sees a reset
		}
	}()
	if _, err := NewClient(path).Wait(t.Context(), WaitRequest{}); kindOf(err) != Stopping {
		t.Errorf("error %v", err)
	}
}

func TestApprove(t *testing.T) {
	b := newBackend()
	b.released = []Released{{Source: "www", Held: 3}}
	socket, _ := serve(t, b, requestTime)
	got, err := NewClient(socket).Approve(t.Context(), ApproveRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Approved{Released: b.released}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := NewClient(socket).Approve(t.Context(), ApproveRequest{Source: "broken"}); kindOf(err) != Failed {
		t.Errorf("error %v", err)
	}
}

func TestTargetsAreSweptPausedAndResumedAsSelected(t *testing.T) {
	b := newBackend()
	socket, _ := serve(t, b, requestTime)
	c := NewClient(socket)
	for _, ask := range []func(context.Context, Selection) (Selected, error){c.Sweep, c.Pause, c.Resume} {
		got, err := ask(t.Context(), Selection{Source: "www", Target: "one"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Selected{Targets: []Pair{{Source: "www", Target: "one"}}}, got); diff != "" {
			t.Error(diff)
		}
		if _, err := ask(t.Context(), Selection{Target: "nobody"}); kindOf(err) != Unknown {
			t.Errorf("an unknown target: %v", err)
		}
	}
	if diff := cmp.Diff([]string{"sweep www one", "pause www one", "resume www one"}, b.controls); diff != "" {
		t.Error(diff)
	}
}

func TestBadRequests(t *testing.T) {
	socket, _ := serve(t, newBackend(), requestTime)
	client := NewClient(socket).http
	for name, test := range map[string]struct {
		method, path, body string
		code               int
	}{
		"unknown path":   {"GET", "/v1/nothing", "", 404},
		"wrong method":   {"GET", "/v1/wait", "", 405},
		"no JSON":        {"POST", "/v1/wait", "{", 400},
		"unknown field":  {"POST", "/v1/wait", `{"targt": "x"}`, 400},
		"body too large": {"POST", "/v1/wait", `{"target": "` + strings.Repeat("x", bodyMax) + `"}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), test.method, "http://x"+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.code {
				t.Errorf("status %d, want %d", resp.StatusCode, test.code)
			}
		})
	}
}
