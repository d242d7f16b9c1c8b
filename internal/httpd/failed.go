package httpd

import (
	"context"
	"net/http"

	"sersync/internal/replicate"
)

// PathsRequest is the body of the requests about owed paths.
type PathsRequest struct {
	// Source and Target name what is asked about; all when they are empty.
	Source string `json:"source,omitempty"`
	Target string `json:"target,omitempty"`
	// Max is how many paths of each target are listed at the most. Default and bound: replicate.PathsMax.
	Max int `json:"max,omitempty"`
}

// Paths is the answer to the requests about owed paths. Targets of which there is nothing to say are left out.
type Paths struct {
	Targets []replicate.Paths `json:"targets"`
}

// PathsBackend is what the API asks about owed paths. A source or target that is unknown is an *Error of the
// kind Unknown.
type PathsBackend interface {
	// Held lists the removals that brakes hold.
	Held(PathsRequest) ([]replicate.Paths, error)
	// Failed lists the paths that failed, Retry tries them now, Clear forgets dead letters.
	Failed(PathsRequest) ([]replicate.Paths, error)
	Retry(PathsRequest) ([]replicate.Paths, error)
	Clear(PathsRequest) ([]replicate.Paths, error)
}

func (s *Server) pathsRoutes(mux *http.ServeMux) {
	for route, ask := range map[string]func(PathsRequest) ([]replicate.Paths, error){
		"POST /v1/deletes/list": s.backend.Held,
		"POST /v1/failed/list":  s.backend.Failed,
		"POST /v1/failed/retry": s.backend.Retry,
		"POST /v1/failed/clear": s.backend.Clear,
	} {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			var req PathsRequest
			if !s.read(w, r, &req) {
				return
			}
			if req.Max <= 0 || req.Max > replicate.PathsMax {
				req.Max = replicate.PathsMax
			}
			targets, err := ask(req)
			if err != nil {
				s.fail(w, err)
				return
			}
			s.answer(w, http.StatusOK, Paths{Targets: targets})
		})
	}
}

// Held asks for the removals that brakes hold.
func (c *Client) Held(ctx context.Context, req PathsRequest) (Paths, error) {
	return c.paths(ctx, "/v1/deletes/list", req)
}

// Failed asks for the paths that failed.
func (c *Client) Failed(ctx context.Context, req PathsRequest) (Paths, error) {
	return c.paths(ctx, "/v1/failed/list", req)
}

// Retry has what failed tried now. The answer counts the paths.
func (c *Client) Retry(ctx context.Context, req PathsRequest) (Paths, error) {
	return c.paths(ctx, "/v1/failed/retry", req)
}

// Clear has dead letters forgotten. The answer lists them.
func (c *Client) Clear(ctx context.Context, req PathsRequest) (Paths, error) {
	return c.paths(ctx, "/v1/failed/clear", req)
}

func (c *Client) paths(ctx context.Context, path string, req PathsRequest) (Paths, error) {
	var answer Paths
	return answer, c.ask(ctx, http.MethodPost, path, req, &answer)
}
