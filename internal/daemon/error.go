package daemon

import (
	"fmt"
)

// Error is an error that a person can do something about.
type Error struct {
	Err    error
	Advice string
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Hint is what a person can do about it.
func (e *Error) Hint() string { return e.Advice }

// HeldError says that another process already does what was asked for.
type HeldError struct {
	// What is held: an instance, or a source with its target.
	What   string
	Holder Holder
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s: already running as process %d (%s)", e.What, e.Holder.PID, e.Holder.Config)
}

// Hint is what a person can do about it.
func (e *HeldError) Hint() string {
	return fmt.Sprintf("see what it does with: sersync status; stop it with: kill %d; make it read its configuration again with: kill -HUP %d", e.Holder.PID, e.Holder.PID)
}
