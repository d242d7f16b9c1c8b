package httpd

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (b *backend) TestHook(ctx context.Context, req HookRequest) (string, error) {
	switch req.Hook {
	case "nobody":
		return "", UnknownName("hook", req.Hook, nil)
	case "broken":
		return "", errors.New(req.Path)
	}
	b.waiting <- req.Hook
	select {
	case <-b.acked:
		return "www", nil
	case <-ctx.Done():
		b.left <- context.Cause(ctx)
		return "", ctx.Err()
	}
}

func (b *backend) ForgetHooks(req HookRequest) ([]HookPaths, error) {
	return []HookPaths{{Source: req.Source + req.Hook, Count: 2}}, nil
}

func (b *backend) RetryHooks(req HookRequest) ([]HookPaths, error) {
	if req.Hook == "nobody" {
		return nil, UnknownName("hook", req.Hook, nil)
	}
	return []HookPaths{{Source: req.Source + req.Hook, Count: 3}}, nil
}

func TestHookIsTriedForAsLongAsItTakes(t *testing.T) {
	b := newBackend()
	const requestTime = 50 * time.Millisecond
	socket, _ := serve(t, b, requestTime)
	c := NewClient(socket)
	tested := make(chan HookTested)
	go func() {
		answer, err := c.TestHook(t.Context(), HookRequest{Hook: "cdn"})
		if err != nil {
			t.Error(err)
		}
		tested <- answer
	}()
	if name := <-b.waiting; name != "cdn" {
		t.Errorf("tried %q", name)
	}
	select {
	case err := <-b.left:
		t.Errorf("the time of a request ended it: %v", err)
	case <-time.After(6 * requestTime):
	}
	close(b.acked)
	if got := <-tested; got.Source != "www" || got.Hook != "cdn" || got.Took <= 0 {
		t.Errorf("answer %+v", got)
	}
	for name, kind := range map[string]Kind{"nobody": Unknown, "": BadRequest, "broken": Failed} {
		if _, err := c.TestHook(t.Context(), HookRequest{Hook: name}); kindOf(err) != kind {
			t.Errorf("hook %q: %v, want kind %s", name, err, kind)
		} else if kind == Failed && err.Error() != testPath {
			t.Errorf("tried with the path %v", err)
		}
	}
}

func TestHooksAreRetried(t *testing.T) {
	socket, _ := serve(t, newBackend(), requestTime)
	c := NewClient(socket)
	got, err := c.RetryHooks(t.Context(), HookRequest{Source: "www", Hook: "cdn"})
	if diff := cmp.Diff(HooksPaths{Sources: []HookPaths{{Source: "wwwcdn", Count: 3}}}, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	got, err = c.ForgetHooks(t.Context(), HookRequest{Source: "www", Hook: "cdn"})
	if diff := cmp.Diff(HooksPaths{Sources: []HookPaths{{Source: "wwwcdn", Count: 2}}}, got); err != nil || diff != "" {
		t.Errorf("clear: %v (-want +got):\n%s", err, diff)
	}
	if _, err := c.RetryHooks(t.Context(), HookRequest{Hook: "nobody"}); kindOf(err) != Unknown {
		t.Errorf("error %v", err)
	}
}
