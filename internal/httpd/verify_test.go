package httpd

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/transport"
)

func (b *backend) OnItsWay(_ context.Context, source, target string, paths []change.Path) ([]bool, error) {
	if target == "nobody" {
		return nil, UnknownName("target", target, []string{"one"})
	}
	way := make([]bool, len(paths))
	for i, p := range paths {
		way[i] = strings.HasPrefix(string(p), "moving")
	}
	return way, nil
}

func (b *backend) Repair(_ context.Context, source, target string, content bool, differences []transport.Difference) error {
	if target == "nobody" {
		return UnknownName("target", target, []string{"one"})
	}
	b.repaired = differences
	return nil
}

// Paths are bytes, and there may be many of them: more than any other request may hold.
func TestDifferencesAreToldAsTheyAre(t *testing.T) {
	b := &backend{}
	socket, _ := serve(t, b, time.Minute)
	c := NewClient(socket)
	paths := []change.Path{"moving\xff\n", "still\xfe", "moving/" + change.Path(strings.Repeat("x", 4*bodyMax))}
	way, err := c.OnItsWay(t.Context(), "www", "one", paths)
	if diff := cmp.Diff([]bool{true, false, true}, way); diff != "" || err != nil {
		t.Errorf("on their way (-want +got):\n%s%v", diff, err)
	}
	want := []transport.Difference{
		{Path: "a\xff", Extra: true}, {Path: "b\n", Missing: true, Dir: true}, {Path: change.Root, Dir: true}, {Path: paths[2]},
	}
	if answer, err := c.Repair(t.Context(), "www", "one", true, want); err != nil || answer.Paths != 4 {
		t.Errorf("repair: %+v, %v", answer, err)
	}
	if diff := cmp.Diff(want, b.repaired); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoDifferenceIsRefused(t *testing.T) {
	b := &backend{}
	socket, _ := serve(t, b, time.Minute)
	c := NewClient(socket)
	for name, test := range map[string]struct {
		target string
		path   change.Path
		want   Kind
	}{
		"above the source": {"one", "../x", BadRequest},
		"no such target":   {"nobody", "x", Unknown},
	} {
		_, err := c.Repair(t.Context(), "www", test.target, false, []transport.Difference{{Path: test.path}})
		var e *Error
		if !errors.As(err, &e) || e.Kind != test.want {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if _, err := c.OnItsWay(t.Context(), "www", test.target, []change.Path{test.path}); !errors.As(err, &e) || e.Kind != test.want {
			t.Errorf("%s: on its way: %v, want %q", name, err, test.want)
		}
	}
	if b.repaired != nil {
		t.Errorf("repaired %v", b.repaired)
	}
	var e *Error
	err := c.ask(t.Context(), http.MethodPost, "/v1/verify/repair", map[string]string{"source": strings.Repeat("x", differencesMax)}, &e)
	if !errors.As(err, &e) || e.Kind != BadRequest {
		t.Errorf("a request without bound: %v", err)
	}
}
