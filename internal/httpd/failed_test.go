package httpd

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/replicate"
)

func (b *backend) Held(req PathsRequest) ([]replicate.Paths, error) { return b.paths("held", req) }

func (b *backend) Failed(req PathsRequest) ([]replicate.Paths, error) { return b.paths("failed", req) }

func (b *backend) Retry(req PathsRequest) ([]replicate.Paths, error) { return b.paths("retry", req) }

func (b *backend) Clear(req PathsRequest) ([]replicate.Paths, error) { return b.paths("clear", req) }

// paths answers with what it was asked.
func (b *backend) paths(what string, req PathsRequest) ([]replicate.Paths, error) {
	if req.Target == "nobody" {
		return nil, UnknownName("target", req.Target, nil)
	}
	return []replicate.Paths{{Source: req.Source, Target: what, Count: req.Max}}, nil
}

func TestPathsAreAskedForAndBounded(t *testing.T) {
	socket, _ := serve(t, newBackend(), requestTime)
	c := NewClient(socket)
	for _, test := range []struct {
		ask  func(req PathsRequest) (Paths, error)
		what string
		max  int
		want int
	}{
		{func(r PathsRequest) (Paths, error) { return c.Held(t.Context(), r) }, "held", 7, 7},
		{func(r PathsRequest) (Paths, error) { return c.Failed(t.Context(), r) }, "failed", 0, replicate.PathsMax},
		{func(r PathsRequest) (Paths, error) { return c.Retry(t.Context(), r) }, "retry", -1, replicate.PathsMax},
		{func(r PathsRequest) (Paths, error) { return c.Clear(t.Context(), r) }, "clear", 1e9, replicate.PathsMax},
	} {
		got, err := test.ask(PathsRequest{Source: "www", Max: test.max})
		if err != nil {
			t.Fatal(err)
		}
		want := Paths{Targets: []replicate.Paths{{Source: "www", Target: test.what, Count: test.want}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, diff)
		}
		if _, err := test.ask(PathsRequest{Target: "nobody"}); kindOf(err) != Unknown {
			t.Errorf("%s: error %v", test.what, err)
		}
	}
}
