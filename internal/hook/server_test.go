package hook

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// recorder is an HTTP server that notes what came, and counts its connections.
type recorder struct {
	*httptest.Server
	conns atomic.Int64 // open now
	made  atomic.Int64 // ever

	mu       sync.Mutex
	requests []recorded // guarded by mu
}

type recorded struct {
	method, uri, host string
	header            http.Header
	body              string
}

// record starts a recorder; answer, when not nil, answers.
func record(t *testing.T, answer http.HandlerFunc) *recorder {
	r := new(recorder)
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.requests = append(r.requests, recorded{q.Method, q.RequestURI, q.Host, q.Header, string(body)})
		r.mu.Unlock()
		if answer != nil {
			answer(w, q)
		}
	}))
	r.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			r.conns.Add(1)
			r.made.Add(1)
		case http.StateClosed, http.StateHijacked:
			r.conns.Add(-1)
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) all() []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]recorded(nil), r.requests...)
}

// bytesServer takes connections, and keeps what comes over each until its end.
type bytesServer struct {
	net.Listener
	conns atomic.Int64

	mu   sync.Mutex
	came []*string // guarded by mu; in the order in which connections came, nil while there is no end
}

// listen starts a bytesServer on a free port. With an answer it reads up to an empty line and sends it.
func listen(t *testing.T, answer string) *bytesServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &bytesServer{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			s.mu.Lock()
			s.came = append(s.came, nil)
			go s.serve(conn, len(s.came)-1, answer)
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *bytesServer) serve(conn net.Conn, number int, answer string) {
	defer s.conns.Add(-1)
	defer conn.Close()
	r := bufio.NewReader(conn)
	var came strings.Builder
	for {
		text, err := r.ReadString('\n')
		came.WriteString(text)
		if err != nil || answer != "" && text == "\r\n" {
			break
		}
	}
	all := came.String()
	s.mu.Lock()
	s.came[number] = &all
	s.mu.Unlock()
	_, _ = io.WriteString(conn, answer)
}

// all is what came, up to the first connection that has not ended.
func (s *bytesServer) all() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, came := range s.came {
		if came == nil {
			break
		}
		all = append(all, *came)
	}
	return all
}

func (s *bytesServer) port() int { return s.Addr().(*net.TCPAddr).Port }

// closedPort is one that nobody listens on.
func closedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// fullPort is one whose queue of connections is full, so that the next one never comes about.
func fullPort(t *testing.T) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return port
}

// hangingHooks are told by make, of a port that takes everything and says nothing, and of one that never takes a connection.
func hangingHooks(make func(t *testing.T, port int) Hook) func(t *testing.T) ([]Hook, func() bool) {
	return func(t *testing.T) ([]Hook, func() bool) {
		silent := listen(t, "")
		return []Hook{make(t, silent.port()), make(t, fullPort(t))}, func() bool {
			// The first one has come and gone.
			return len(silent.all()) > 0 && silent.conns.Load() == 0
		}
	}
}

func at(port int, path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", port, path) }

func postSubject() implementation {
	to := func(t *testing.T, port int) Hook { return mustHook(t)(NewPost(PostOptions{URL: at(port, "/x")})) }
	return implementation{
		open: func(t *testing.T) (Hook, func() []string) {
			r := record(t, nil)
			noneLeft(t, r)
			return mustHook(t)(NewPost(PostOptions{URL: r.URL})), func() (paths []string) {
				for _, q := range r.all() {
					paths = append(paths, decode(t, q.body)...)
				}
				return paths
			}
		},
		refused: func(t *testing.T) Hook { return to(t, closedPort(t)) },
		hanging: hangingHooks(to),
	}
}

func purgeSubject() implementation {
	to := func(t *testing.T, port int) Hook {
		return mustHook(t)(NewPurge(PurgeOptions{Via: at(port, ""), URLs: mustURLs(t, URLRule{"", "https://www.example.com/$path"})}))
	}
	return implementation{
		open: func(t *testing.T) (Hook, func() []string) {
			r := record(t, nil)
			noneLeft(t, r)
			return to(t, r.Listener.Addr().(*net.TCPAddr).Port), func() (paths []string) {
				for _, q := range r.all() {
					if q.method != "PURGE" || q.host != "www.example.com" {
						t.Errorf("%+v came", q)
					}
					path, err := url.PathUnescape(q.uri)
					if err != nil {
						t.Error(err)
					}
					paths = append(paths, strings.TrimPrefix(path, "/"))
				}
				return paths
			}
		},
		refused: func(t *testing.T) Hook { return to(t, closedPort(t)) },
		hanging: hangingHooks(to),
	}
}

func httpSubject() implementation {
	to := func(t *testing.T, port int) Hook {
		return mustHook(t)(NewHTTP(HTTPOptions{URL: "127.0.0.1/x", Port: port}))
	}
	return implementation{
		open: func(t *testing.T) (Hook, func() []string) {
			r := record(t, nil)
			noneLeft(t, r)
			return to(t, r.Listener.Addr().(*net.TCPAddr).Port), func() (paths []string) {
				for _, q := range r.all() {
					values, err := url.ParseQuery(q.body)
					if err != nil || len(values) != 4 {
						t.Errorf("the form is %q: %v", q.body, err)
					}
					paths = append(paths, values.Get("inotifyPath"))
				}
				return belowRoot(t, paths)
			}
		},
		refused: func(t *testing.T) Hook { return to(t, closedPort(t)) },
		hanging: hangingHooks(to),
	}
}

func socketSubject() implementation {
	to := func(t *testing.T, port int) Hook {
		return mustHook(t)(NewSocket(SocketOptions{Host: "localhost", Port: port}))
	}
	return implementation{
		open: func(t *testing.T) (Hook, func() []string) {
			s := listen(t, "")
			return to(t, s.port()), func() []string { return belowRoot(t, s.all()) }
		},
		refused: func(t *testing.T) Hook { return to(t, closedPort(t)) },
		// One that says nothing is as it should be.
		hanging: func(t *testing.T) ([]Hook, func() bool) {
			return []Hook{to(t, fullPort(t))}, func() bool { return true }
		},
	}
}

func refreshCDNSubject() implementation {
	to := func(t *testing.T, port int) Hook { return mustHook(t)(NewRefreshCDN(cdn(port))) }
	return implementation{
		open: func(t *testing.T) (Hook, func() []string) {
			s := listen(t, "HTTP/1.0 200 OK\r\nwhatsup: content=\"succeed\"\r\n\r\n")
			return to(t, s.port()), func() (paths []string) {
				for _, came := range s.all() {
					paths = append(paths, pathOfCDN(t, came))
				}
				return paths
			}
		},
		refused: func(t *testing.T) Hook { return to(t, closedPort(t)) },
		hanging: hangingHooks(to),
	}
}

func cdn(port int) RefreshCDNOptions {
	return RefreshCDNOptions{
		Host: "127.0.0.1", Port: port, User: "user", Password: func() (string, error) { return "hunter2", nil }, Base: "http://h/base",
	}
}

// pathOfCDN is the path that a server would take from a request.
func pathOfCDN(t testing.TB, came string) string {
	t.Helper()
	q, err := http.ReadRequest(bufio.NewReader(strings.NewReader(came)))
	if err != nil {
		t.Fatalf("%q: %v", came, err)
	}
	values, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil || len(values) != 4 || len(q.Header) != 0 || values.Get("pswd") != "hunter2" || !strings.HasSuffix(came, "\r\n\r\n") {
		t.Fatalf("%q is another request: %v", came, err)
	}
	path, ok := strings.CutPrefix(values.Get("urls"), "http://h/base/")
	if !ok {
		t.Fatalf("%q has no path", came)
	}
	return path
}

// noneLeft checks, when the test is over, that no connection is.
func noneLeft(t *testing.T, r *recorder) {
	t.Cleanup(func() { until(t, "no connection is left", func() bool { return r.conns.Load() == 0 }) })
}
