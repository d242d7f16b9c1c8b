package httpd

import (
	"context"
	"net/http"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// differencesMax bounds a request that names what differs, in bytes.
const differencesMax = 64 << 20

// Difference is one path in which a target differs from the source.
type Difference struct {
	// Path is bytes, below the source.
	Path    []byte `json:"path"`
	Extra   bool   `json:"extra,omitempty"`
	Missing bool   `json:"missing,omitempty"`
	Dir     bool   `json:"dir,omitempty"`
}

// DifferencesRequest is the body of the requests about what differs.
type DifferencesRequest struct {
	// Source and Target name one target of one source.
	Source string `json:"source"`
	Target string `json:"target"`
	// Content: they were found by content.
	Content     bool         `json:"content,omitempty"`
	Differences []Difference `json:"differences"`
}

// OnItsWay is the answer to POST /v1/verify/on-its-way: of each of the paths whether the target is about to get it, or to lose it.
type OnItsWay struct {
	OnItsWay []bool `json:"on_its_way"`
}

// Repairing is the answer to POST /v1/verify/repair: how many paths are owed for it.
type Repairing struct {
	Paths int `json:"paths"`
}

// VerifyBackend is what the API asks about what differs. A source or target that is unknown is an *Error of the kind Unknown.
type VerifyBackend interface {
	// OnItsWay answers once all that happened at the source before the call is known.
	OnItsWay(ctx context.Context, source, target string, paths []change.Path) ([]bool, error)
	// Repair owes the target what differs.
	Repair(ctx context.Context, source, target string, content bool, differences []transport.Difference) error
}

func (s *Server) verifyRoutes(mux *http.ServeMux) {
	route := func(path string, ask func(context.Context, DifferencesRequest, []transport.Difference) (any, error)) {
		mux.Handle("POST "+path, http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var req DifferencesRequest
			if !s.read(w, r, &req) || !s.patient(w) {
				return
			}
			all, err := differences(req.Differences)
			var answer any
			if err == nil {
				answer, err = ask(r.Context(), req, all)
			}
			if err != nil {
				s.fail(w, err)
				return
			}
			s.answer(w, http.StatusOK, answer)
		}), differencesMax))
	}
	route("/v1/verify/on-its-way", func(ctx context.Context, req DifferencesRequest, all []transport.Difference) (any, error) {
		paths := make([]change.Path, len(all))
		for i, d := range all {
			paths[i] = d.Path
		}
		way, err := s.backend.OnItsWay(ctx, req.Source, req.Target, paths)
		return OnItsWay{way}, err
	})
	route("/v1/verify/repair", func(ctx context.Context, req DifferencesRequest, all []transport.Difference) (any, error) {
		return Repairing{len(all)}, s.backend.Repair(ctx, req.Source, req.Target, req.Content, all)
	})
}

// differences are those of a request, when each of their paths is one.
func differences(asked []Difference) ([]transport.Difference, error) {
	all := make([]transport.Difference, len(asked))
	for i, d := range asked {
		p := change.Path(d.Path)
		if !p.Valid() {
			return nil, &Error{Kind: BadRequest, Text: "read request: " + p.String() + " is no path below a source"}
		}
		all[i] = transport.Difference{Path: p, Extra: d.Extra, Missing: d.Missing, Dir: d.Dir}
	}
	return all, nil
}

// OnItsWay asks which of the paths a target is about to get, or to lose.
func (c *Client) OnItsWay(ctx context.Context, source, target string, paths []change.Path) ([]bool, error) {
	req := DifferencesRequest{Source: source, Target: target, Differences: []Difference{}}
	for _, p := range paths {
		req.Differences = append(req.Differences, Difference{Path: []byte(p)})
	}
	var answer OnItsWay
	err := c.ask(ctx, http.MethodPost, "/v1/verify/on-its-way", req, &answer)
	if err == nil && len(answer.OnItsWay) != len(paths) {
		err = &Error{Kind: Failed, Text: "sersync answered for other paths than it was asked for"}
	}
	return answer.OnItsWay, err
}

// Repair has what differs repaired. It returns when all of it is owed.
func (c *Client) Repair(ctx context.Context, source, target string, content bool, all []transport.Difference) (Repairing, error) {
	req := DifferencesRequest{Source: source, Target: target, Content: content, Differences: []Difference{}}
	for _, d := range all {
		req.Differences = append(req.Differences, Difference{Path: []byte(d.Path), Extra: d.Extra, Missing: d.Missing, Dir: d.Dir})
	}
	var answer Repairing
	return answer, c.ask(ctx, http.MethodPost, "/v1/verify/repair", req, &answer)
}
