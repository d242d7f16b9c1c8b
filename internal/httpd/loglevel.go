package httpd

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// LogLevels are the words for levels of the log.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// LogLevelRequest is the body of POST /v1/log-level.
type LogLevelRequest struct {
	Level string `json:"level"`
}

// LogLevelChanged is the answer to POST /v1/log-level.
type LogLevelChanged struct {
	Level string `json:"level"`
	Was   string `json:"was"`
}

// LogLevel changes what is logged.
func (c *Client) LogLevel(ctx context.Context, req LogLevelRequest) (LogLevelChanged, error) {
	var changed LogLevelChanged
	return changed, c.ask(ctx, http.MethodPost, "/v1/log-level", req, &changed)
}

func (s *Server) logLevel(w http.ResponseWriter, r *http.Request) {
	var req LogLevelRequest
	if !s.read(w, r, &req) {
		return
	}
	if !slices.Contains(LogLevels(), req.Level) {
		s.fail(w, &Error{
			Kind: BadRequest, Text: fmt.Sprintf("there is no log level %q", req.Level),
			Advice: "the levels are: " + strings.Join(LogLevels(), ", "),
		})
		return
	}
	s.answer(w, http.StatusOK, LogLevelChanged{Level: req.Level, Was: s.backend.SetLogLevel(req.Level)})
}
