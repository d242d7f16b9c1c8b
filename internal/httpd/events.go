package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// events streams what happens from now on, one JSON object a line, until the client goes or the server ends. A client
// that does not read may keep it waiting for as long as it likes: nobody waits for it in turn.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	feed := s.backend.Events()
	reader := feed.read()
	if reader == nil {
		s.fail(w, &Error{
			Kind: Failed, Text: fmt.Sprintf("%d read along already", readersMax),
			Advice: "end one of the `sersync events` that run",
		})
		return
	}
	defer feed.leave(reader)
	stream := http.NewResponseController(w)
	// From here on a read error means that the client has gone.
	if err := stream.SetReadDeadline(time.Time{}); err != nil {
		s.fail(w, fmt.Errorf("stream events without a read deadline: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	lines := json.NewEncoder(w)
	for {
		for _, e := range reader.take() {
			if lines.Encode(e) != nil {
				return
			}
		}
		if stream.Flush() != nil {
			return
		}
		select {
		case <-reader.news:
		case <-r.Context().Done():
			return
		}
	}
}

// Events calls each with everything that happens from now on, until ctx or sersync ends. begun is called when nothing
// is missed any more.
func (c *Client) Events(ctx context.Context, begun func(), each func(Event) error) error {
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	begun()
	lines := json.NewDecoder(resp.Body)
	for {
		var e Event
		err := lines.Decode(&e)
		var syntax *json.SyntaxError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &syntax):
			return fmt.Errorf("read events of sersync on %q: %w", c.socket, err)
		case err != nil:
			return &Error{Kind: Stopping, Text: "sersync has ended"}
		}
		if err := each(e); err != nil {
			return err
		}
	}
}
