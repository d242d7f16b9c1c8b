package config

import (
	"fmt"
	"strings"
)

// Severity says what a problem means for the start.
type Severity uint8

const (
	// Notice: something is not as a 2.5.4 user may expect; nothing is to be done.
	Notice Severity = iota
	// Warning: it works, but less well or with a promise less.
	Warning
	// Error: sersync does not start.
	Error
)

func (s Severity) String() string { return [...]string{"notice", "warning", "error"}[s] }

// Problem is one thing to tell a person about a configuration.
type Problem struct {
	Severity Severity
	Place    Place
	// What is wrong, without the value.
	What string
	// Value is what stands there; empty when there is none, or when it is a secret.
	Value string
	// Remedy is what to do.
	Remedy string
}

// String is `FILE:LINE: what "value": remedy`, for a warning or notice with that word after the place.
func (p Problem) String() string {
	var b strings.Builder
	if place := p.Place.String(); place != "" {
		b.WriteString(place + ": ")
	}
	if p.Severity != Error {
		b.WriteString(p.Severity.String() + ": ")
	}
	if p.Value != "" {
		fmt.Fprintf(&b, "%s %q", p.What, p.Value)
	} else {
		b.WriteString(strings.TrimSuffix(p.What, ":"))
	}
	if p.Remedy != "" {
		b.WriteString(": " + p.Remedy)
	}
	return b.String()
}

// SyntaxError says that a file is no configuration at all: it cannot be read, is malformed, or
// its root element is not head. 2.5.4 ended with exit code 255 then.
type SyntaxError struct {
	Place  Place
	Column int
	Err    error
}

func (e *SyntaxError) Error() string {
	if e.Column > 0 {
		return fmt.Sprintf("%s:%d: %v", e.Place, e.Column, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Place, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// InvalidError says that a configuration was understood and cannot be used. Exit code 1.
type InvalidError struct {
	File string
	// Problems are all of them, warnings and notices too.
	Problems []Problem
}

func (e *InvalidError) Error() string {
	var lines []string
	for _, p := range e.Problems {
		if p.Severity == Error {
			lines = append(lines, p.String())
		}
	}
	return strings.Join(lines, "\n")
}

// report gathers problems of one file.
type report struct {
	file     string
	problems []Problem
	// complete says that what has no effect is to be named too.
	complete bool
	// plugins are those of -m: they are all that is wanted. Without any everything is.
	plugins []string
}

func (r *report) at(line int) Place { return Place{r.file, line} }

func (r *report) add(severity Severity, place Place, what, value, remedy string) {
	r.problems = append(r.problems, Problem{severity, place, what, value, remedy})
}

func (r *report) fail(line int, what, value, remedy string) {
	r.add(Error, r.at(line), what, value, remedy)
}

func (r *report) warn(line int, what, value, remedy string) {
	r.add(Warning, r.at(line), what, value, remedy)
}

func (r *report) notice(line int, what, value, remedy string) {
	r.add(Notice, r.at(line), what, value, remedy)
}

// unused names something that has no effect, where that was asked for.
func (r *report) unused(line int, what, value, why string) {
	if r.complete {
		r.notice(line, what, value, why)
	}
}

// failed reports whether there is an error among the problems.
func failed(problems []Problem) bool {
	for _, p := range problems {
		if p.Severity == Error {
			return true
		}
	}
	return false
}
