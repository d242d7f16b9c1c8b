// Package httpd is how a running sersync is asked what it does: a small HTTP API over a unix
// socket, and the client that the command line uses. It is no step of the path of a change;
// it looks at all of them.
package httpd

import (
	"context"
	"fmt"
	"time"

	"sersync/internal/replicate"
)

// Status is what one running sersync says of itself. Its JSON form is an interface: fields
// are added, never changed.
type Status struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// Config is the absolute path of the configuration; empty when there is none
	// (sersync sync).
	Config  string    `json:"config"`
	Started time.Time `json:"started"`
	// Reloaded is when the configuration was last taken over; ReloadError is why the newest
	// attempt was not.
	Reloaded    *time.Time         `json:"reloaded,omitempty"`
	ReloadError string             `json:"reload_error,omitempty"`
	Sources     []replicate.Status `json:"sources"`
}

// Version is the answer to GET /v1/version.
type Version struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

// WaitRequest is the body of POST /v1/wait.
type WaitRequest struct {
	// Target is the name of the target to wait for; all when it is empty.
	Target string `json:"target,omitempty"`
	// Timeout is in seconds; 0 waits for ever.
	Timeout float64 `json:"timeout_seconds,omitempty"`
}

// Waited is the answer to POST /v1/wait.
type Waited struct {
	Took float64 `json:"took_seconds"`
}

// ApproveRequest is the body of POST /v1/deletes/approve.
type ApproveRequest struct {
	// Source is the name of the source whose removals are released; all when it is empty.
	Source string `json:"source,omitempty"`
}

// Approved is the answer to POST /v1/deletes/approve.
type Approved struct {
	Released []Released `json:"released"`
}

// Released is one source whose brake was released, and how many removals it had held.
type Released struct {
	Source string `json:"source"`
	Held   int    `json:"held"`
}

// Selection says which targets a request is about. Its zero value is all of them.
type Selection struct {
	// Source is the name of a source; all when it is empty.
	Source string `json:"source,omitempty"`
	// Target is the name of a target; all of the source when it is empty.
	Target string `json:"target,omitempty"`
}

// Selected is the answer to POST /v1/sweep, /v1/pause and /v1/resume: the targets it was about.
type Selected struct {
	Targets []Pair `json:"targets"`
}

// Pair is one target of one source.
type Pair struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// Backend is what the API asks. It is safe for concurrent use.
type Backend interface {
	Status() Status
	// Wait returns when all that was changed before the call is acked by the target, by
	// all when it is empty. An unknown target is an *Error of the kind Unknown.
	Wait(ctx context.Context, target string) error
	// Approve releases the removals that brakes hold.
	Approve(source string) ([]Released, error)
	// Sweep, Pause and Resume do so with the targets that are selected, and say which those are. A name that is not
	// known is an *Error of the kind Unknown.
	Sweep(Selection) ([]Pair, error)
	Pause(Selection) ([]Pair, error)
	Resume(Selection) ([]Pair, error)
	PathsBackend
	HooksBackend
	VerifyBackend
	// SetLogLevel changes from which of LogLevels on is logged, and returns from which it was.
	SetLogLevel(level string) (was string)
	// Events is where batches are passed on.
	Events() *Feed
}

// Kind says what an Error is about.
type Kind string

const (
	// BadRequest: the request cannot be understood.
	BadRequest Kind = "bad-request"
	// Unknown: there is no such source, target or hook.
	Unknown Kind = "unknown"
	// Timeout: the time of a wait was over.
	Timeout Kind = "timeout"
	// Stopping: sersync ended while it was asked.
	Stopping Kind = "stopping"
	// Failed is everything else.
	Failed Kind = "failed"
	// NotRunning: nobody listens at the socket. Only a Client says this.
	NotRunning Kind = "not-running"
)

// Error is the body of every answer that is not 200.
type Error struct {
	Kind Kind   `json:"kind"`
	Text string `json:"error"`
	// Advice is what a person can do about it.
	Advice string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Text }

// Hint is what a person can do about it; empty when nothing.
func (e *Error) Hint() string { return e.Advice }

// UnknownName is the Error for a source, target or hook that is not there.
func UnknownName(what, name string, known []string) *Error {
	return &Error{
		Kind: Unknown, Text: fmt.Sprintf("no %s is named %q", what, name),
		Advice: fmt.Sprintf("the names are: %q", known),
	}
}
