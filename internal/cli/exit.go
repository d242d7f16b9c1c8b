package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/httpd"
	"sersync/internal/transport"
)

// Exit codes. They are an interface, documented in docs/operations.md: scripts ask for them.
const (
	exitOK         = 0
	exitError      = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitTimeout    = 4
	exitHeld       = 5
	// exitConfig: 2.5.4 ended so when its file was missing or malformed.
	exitConfig = 255
)

// exit is an error with the code that belongs to it.
type exit struct {
	code int
	text string
	hint string
}

func (e *exit) Error() string { return e.text }

// Hint is what a person can do about it.
func (e *exit) Hint() string { return e.hint }

func fail(code int, text, hint string) error { return &exit{code, text, hint} }

func usage(text string) error { return fail(exitUsage, text, "see: sersync --help") }

// report says what went wrong, if anything did, and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(a.err, "sersync: error: %s\n", text)
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", hint)
	}
	return codeOf(err)
}

func codeOf(err error) int {
	var own *exit
	var syntax *config.SyntaxError
	var held *daemon.HeldError
	var api *httpd.Error
	switch {
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &syntax):
		return exitConfig
	case errors.As(err, &held):
		return exitHeld
	case errors.As(err, &api) && api.Kind == httpd.NotRunning:
		return exitNotRunning
	case errors.As(err, &api) && api.Kind == httpd.Timeout, errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	}
	return exitError
}

func hintOf(err error) string {
	var hinted interface {
		error
		Hint() string
	}
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	var there *transport.Error
	switch {
	case errors.As(err, &there):
		return there.Hint
	case noConfig(err):
		return "name the configuration: sersync run CONFIG, or sersync -o FILE"
	}
	return ""
}

// noConfig reports whether the configuration is not there.
func noConfig(err error) bool {
	var syntax *config.SyntaxError
	return errors.As(err, &syntax) && errors.Is(err, fs.ErrNotExist)
}
