package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// answerMax bounds what a client reads of an answer, in bytes.
const answerMax = 64 << 20

// Client asks the sersync that listens on a socket.
type Client struct {
	socket string
	http   http.Client
}

// NewClient is a client of the socket at path. It connects when it is used.
func NewClient(path string) *Client {
	return &Client{socket: path, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
		},
	}}}
}

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
	return status, c.ask(ctx, http.MethodGet, "/v1/status", nil, &status)
}

// Version asks which version listens.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var version Version
	return version, c.ask(ctx, http.MethodGet, "/v1/version", nil, &version)
}

// Wait returns when all that was changed before the call is acked.
func (c *Client) Wait(ctx context.Context, req WaitRequest) (Waited, error) {
	var waited Waited
	return waited, c.ask(ctx, http.MethodPost, "/v1/wait", req, &waited)
}

// Approve releases the removals that brakes hold.
func (c *Client) Approve(ctx context.Context, req ApproveRequest) (Approved, error) {
	var approved Approved
	return approved, c.ask(ctx, http.MethodPost, "/v1/deletes/approve", req, &approved)
}

// Sweep has the selected targets compared with their source. It does not wait for that.
func (c *Client) Sweep(ctx context.Context, req Selection) (Selected, error) {
	return c.control(ctx, "/v1/sweep", req)
}

// Pause sends nothing to the selected targets any more, once what is in flight is done.
func (c *Client) Pause(ctx context.Context, req Selection) (Selected, error) {
	return c.control(ctx, "/v1/pause", req)
}

// Resume ends a Pause of the selected targets.
func (c *Client) Resume(ctx context.Context, req Selection) (Selected, error) {
	return c.control(ctx, "/v1/resume", req)
}

func (c *Client) control(ctx context.Context, path string, req Selection) (Selected, error) {
	var selected Selected
	return selected, c.ask(ctx, http.MethodPost, path, req, &selected)
}

func (c *Client) ask(ctx context.Context, method, path string, body, into any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, answerMax)).Decode(into); err != nil {
		return fmt.Errorf("read answer of sersync on %q: %w", c.socket, err)
	}
	return nil
}

// send is a request that was answered with 200. Who calls it closes the body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sersync"+path, sent)
	if err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e Error
	if err := json.NewDecoder(io.LimitReader(resp.Body, answerMax)).Decode(&e); err != nil || e.Text == "" {
		return nil, fmt.Errorf("ask sersync on %q: answer %s", c.socket, resp.Status)
	}
	return nil, &e
}

// unanswered says what it means that there was no answer at all.
func (c *Client) unanswered(ctx context.Context, err error) error {
	var dial *net.OpError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("ask sersync on %q: %w", c.socket, err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return &Error{
			Kind: NotRunning, Text: fmt.Sprintf("no sersync answers on %q: %v", c.socket, dial.Err),
			Advice: "start it with: sersync run CONFIG -d",
		}
	}
	return &Error{Kind: Stopping, Text: fmt.Sprintf("sersync ended while it was asked: %v", err)}
}
