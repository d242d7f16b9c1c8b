package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// requestTime bounds how long a client may take to send its request.
	requestTime = 5 * time.Second
	// bodyMax bounds a request's body, in bytes.
	bodyMax = 64 << 10
	// answerTime bounds how long a client may take to read its answer.
	answerTime = 10 * time.Second
	// stopTime bounds how long answers that are under way may take when the server ends.
	stopTime = time.Second
	// socketMax is the longest path of a socket that the kernel takes.
	socketMax = 107
)

// Server answers on one unix socket.
type Server struct {
	listener *net.UnixListener
	path     string
	backend  Backend
	log      *slog.Logger

	requestTime time.Duration
}

// Listen makes the socket at path, for its owner alone. The caller holds a lock that says that nobody
// else uses the path, so that a socket that is there is a stale one and is replaced.
func Listen(path string, backend Backend, log *slog.Logger) (*Server, error) {
	if len(path) > socketMax {
		return nil, &Error{
			Kind: Failed, Text: fmt.Sprintf("listen on %q: the path is longer than the %d bytes a socket may have", path, socketMax),
			Advice: "name a shorter runtime directory with SERSYNC_RUN_DIR",
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove stale socket %q: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect socket %q: %w", path, err)
	}
	return &Server{listener: l, path: path, backend: backend, log: log, requestTime: requestTime}, nil
}

// Run answers until ctx ends. Then waits that are under way end with the kind Stopping, and
// the socket is removed.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:        s.routes(),
		ReadTimeout:    s.requestTime,
		IdleTimeout:    s.requestTime,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:    func(net.Listener) context.Context { return ctx },
	}
	if err := serveUntil(ctx, server, s.listener); err != nil {
		return fmt.Errorf("serve socket %q: %w", s.path, err)
	}
	return nil
}

// serveUntil answers until ctx ends, and then lets what is under way end. The listener is closed.
func serveUntil(ctx context.Context, server *http.Server, l net.Listener) error {
	var stopping sync.WaitGroup
	stopping.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer stopping.Done()
		// A base context that is ctx has ended, so that what is under way answers now.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		if server.Shutdown(end) != nil {
			server.Close()
		}
	})
	err := server.Serve(l)
	if stop() {
		server.Close()
		return err
	}
	stopping.Wait()
	return nil
}

// Close removes the socket of a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/version", func(w http.ResponseWriter, _ *http.Request) {
		status := s.backend.Status()
		s.answer(w, http.StatusOK, Version{Version: status.Version, PID: status.PID})
	})
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, http.StatusOK, s.backend.Status())
	})
	mux.HandleFunc("POST /v1/wait", s.wait)
	mux.HandleFunc("POST /v1/deletes/approve", s.approve)
	mux.HandleFunc("POST /v1/sweep", s.control(s.backend.Sweep))
	mux.HandleFunc("POST /v1/pause", s.control(s.backend.Pause))
	mux.HandleFunc("POST /v1/resume", s.control(s.backend.Resume))
	s.pathsRoutes(mux)
	mux.HandleFunc("POST /v1/hooks/test", s.testHook)
	mux.HandleFunc("POST /v1/hooks/retry", s.hookPaths(s.backend.RetryHooks))
	mux.HandleFunc("POST /v1/hooks/clear", s.hookPaths(s.backend.ForgetHooks))
	mux.HandleFunc("POST /v1/log-level", s.logLevel)
	mux.HandleFunc("GET /v1/events", s.events)
	all := http.NewServeMux()
	all.Handle("/", http.MaxBytesHandler(mux, bodyMax))
	s.verifyRoutes(all)
	return all
}

func (s *Server) wait(w http.ResponseWriter, r *http.Request) {
	var req WaitRequest
	if !s.read(w, r, &req) || !s.patient(w) {
		return
	}
	ctx := r.Context()
	if req.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.Timeout*float64(time.Second)))
		defer cancel()
	}
	start := time.Now()
	err := s.backend.Wait(ctx, req.Target)
	switch {
	case err == nil:
		s.answer(w, http.StatusOK, Waited{Took: time.Since(start).Seconds()})
	case r.Context().Err() != nil:
		s.fail(w, &Error{Kind: Stopping, Text: "sersync is stopping"})
	case ctx.Err() != nil:
		s.fail(w, &Error{Kind: Timeout, Text: fmt.Sprintf("not all is there after %v", time.Since(start).Round(time.Millisecond))})
	default:
		s.fail(w, err)
	}
}

// patient lets an answer take its time: that to read the request is over, and from here on a read error means that the
// client has gone.
func (s *Server) patient(w http.ResponseWriter) bool {
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		s.fail(w, fmt.Errorf("wait without a read deadline: %w", err))
		return false
	}
	return true
}

func (s *Server) approve(w http.ResponseWriter, r *http.Request) {
	var req ApproveRequest
	if !s.read(w, r, &req) {
		return
	}
	released, err := s.backend.Approve(req.Source)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, http.StatusOK, Approved{Released: released})
}

// control answers a request that does something with selected targets.
func (s *Server) control(do func(Selection) ([]Pair, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Selection
		if !s.read(w, r, &req) {
			return
		}
		targets, err := do(req)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.answer(w, http.StatusOK, Selected{Targets: targets})
	}
}

// read takes the body of a request; an empty one is the zero request.
func (s *Server) read(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		s.fail(w, &Error{Kind: BadRequest, Text: fmt.Sprintf("read request: %v", err)})
		return false
	}
	return true
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: Failed, Text: err.Error()}
	}
	code := map[Kind]int{
		BadRequest: http.StatusBadRequest,
		Unknown:    http.StatusNotFound,
		Timeout:    http.StatusGatewayTimeout,
		Stopping:   http.StatusServiceUnavailable,
	}[e.Kind]
	if code == 0 {
		code = http.StatusInternalServerError
	}
	s.answer(w, code, e)
}

func (s *Server) answer(w http.ResponseWriter, code int, body any) {
	// A wait may take hours, so the time to write counts from here.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		s.log.Debug("answer has no deadline", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("answer not taken", "error", err)
	}
}
