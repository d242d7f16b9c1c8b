package httpd

import (
	"context"
	"net/http"
	"time"
)

// testPath is what a hook is tried with that is told of paths.
const testPath = "sersync-test"

// HookRequest is the body of the requests about hooks.
type HookRequest struct {
	// Source is the name of a source; all when it is empty.
	Source string `json:"source,omitempty"`
	// Hook is the name of a hook; all when it is empty, but for a test, which is of one.
	Hook string `json:"hook,omitempty"`
	// Path is what a hook of paths is tried with. Default: "sersync-test".
	Path string `json:"path,omitempty"`
}

// HookTested is the answer to POST /v1/hooks/test: which one was told.
type HookTested struct {
	Source string  `json:"source"`
	Hook   string  `json:"hook"`
	Took   float64 `json:"took_seconds"`
}

// HooksPaths is the answer to POST /v1/hooks/retry and /v1/hooks/clear.
type HooksPaths struct {
	Sources []HookPaths `json:"sources"`
}

// HookPaths is how many paths hooks of a source are told again now, or are not told any more.
type HookPaths struct {
	Source string `json:"source"`
	Count  int    `json:"count"`
}

// HooksBackend is what the API asks of hooks. A source or hook that is unknown is an *Error of the kind Unknown.
type HooksBackend interface {
	// TestHook calls a hook once, and says of which source it is. One that more than one source has is an *Error of the kind
	// BadRequest.
	TestHook(context.Context, HookRequest) (source string, err error)
	// RetryHooks tells again what hooks could not be told, dead letters too. Sources of which there is nothing are left out.
	RetryHooks(HookRequest) ([]HookPaths, error)
	// ForgetHooks forgets the dead letters of hooks. Sources of which there is nothing are left out.
	ForgetHooks(HookRequest) ([]HookPaths, error)
}

func (s *Server) testHook(w http.ResponseWriter, r *http.Request) {
	var req HookRequest
	if !s.read(w, r, &req) || !s.patient(w) {
		return
	}
	if req.Hook == "" {
		s.fail(w, &Error{Kind: BadRequest, Text: "read request: it names no hook"})
		return
	}
	if req.Path == "" {
		req.Path = testPath
	}
	start := time.Now()
	source, err := s.backend.TestHook(r.Context(), req)
	switch {
	case err == nil:
		s.answer(w, http.StatusOK, HookTested{Source: source, Hook: req.Hook, Took: time.Since(start).Seconds()})
	case r.Context().Err() != nil:
		s.fail(w, &Error{Kind: Stopping, Text: "sersync is stopping"})
	default:
		s.fail(w, err)
	}
}

// hookPaths answers a request that does something with what hooks could not be told.
func (s *Server) hookPaths(do func(HookRequest) ([]HookPaths, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req HookRequest
		if !s.read(w, r, &req) {
			return
		}
		sources, err := do(req)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.answer(w, http.StatusOK, HooksPaths{Sources: sources})
	}
}

// TestHook has a hook called once, and waits for what comes of it.
func (c *Client) TestHook(ctx context.Context, req HookRequest) (HookTested, error) {
	var answer HookTested
	return answer, c.ask(ctx, http.MethodPost, "/v1/hooks/test", req, &answer)
}

// RetryHooks has told again now what hooks could not be told.
func (c *Client) RetryHooks(ctx context.Context, req HookRequest) (HooksPaths, error) {
	var answer HooksPaths
	return answer, c.ask(ctx, http.MethodPost, "/v1/hooks/retry", req, &answer)
}

// ForgetHooks has the dead letters of hooks forgotten.
func (c *Client) ForgetHooks(ctx context.Context, req HookRequest) (HooksPaths, error) {
	var answer HooksPaths
	return answer, c.ask(ctx, http.MethodPost, "/v1/hooks/clear", req, &answer)
}
