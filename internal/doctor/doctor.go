// Package doctor looks deeply at what replication needs: this machine, its limits, the configuration, the sources, the
// state directory, the targets, and a daemon that runs. It is no step of the path of a change. It changes nothing, but for a file of its own on
// the targets when it is asked to probe them.
package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/httpd"
	"sersync/internal/transport"
)

// Level says what a finding asks for.
type Level string

const (
	OK Level = "ok"
	// Note: nothing is to be done.
	Note Level = "note"
	// Warning: it works, but less well or with a promise less.
	Warning Level = "warning"
	// Problem: something must be done.
	Problem Level = "problem"
)

// Finding is one thing that was looked at. Its JSON form is an interface: fields are added, never changed.
type Finding struct {
	// Check names what was looked at, the same in every version.
	Check string `json:"check"`
	Level Level  `json:"level"`
	What  string `json:"what"`
	// Remedy is what to do.
	Remedy string `json:"remedy,omitempty"`
}

// Part are the findings about one thing.
type Part struct {
	// Kind is "machine", "limits", "configuration", "daemon", "state", "passwords", "source" or "target".
	Kind string `json:"kind"`
	// Name is that of a source or target, the file of a configuration, the state directory.
	Name     string    `json:"name,omitempty"`
	Findings []Finding `json:"findings"`
}

func (p *Part) add(level Level, check, remedy, format string, args ...any) {
	p.Findings = append(p.Findings, Finding{Check: check, Level: level, What: printable(fmt.Sprintf(format, args...)), Remedy: printable(remedy)})
}

// printable is a text of which some came from another machine, without what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

func (p *Part) ok(check, format string, args ...any) { p.add(OK, check, "", format, args...) }

// Report is all that was found.
type Report struct {
	Problems int    `json:"problems"`
	Warnings int    `json:"warnings"`
	Parts    []Part `json:"parts"`
}

// Options say what to look at.
type Options struct {
	// File is the configuration's file, empty when there is none; Err is why it is none at all.
	File string
	Err  error
	// Config is nil when the file cannot be understood or trusted: what it names is run.
	Config *config.Config
	// Problems are what reading it came to.
	Problems []config.Problem
	// Running is what the daemon of the configuration says; nil when none runs.
	Running *httpd.Status
	// Silent is why a daemon that is there does not answer.
	Silent error
	// Probe writes a file into each target.
	Probe bool
	// Open makes the transport of a target.
	Open func(config.Target) (transport.Transport, error)
	// Proc and Fstab are where the system is looked at: /proc and /etc/fstab.
	Proc, Fstab string
	// Exports are the tables of what the NFS server of this machine exports.
	Exports []string
}

// examination is one call of Examine.
type examination struct {
	Options
	mounts mounts
	fstab  []fstabLine
	// need is what the sources ask of this machine, as far as it is known.
	need need
}

// need is what the configuration asks of this machine.
type need struct {
	dirs, paths, sources, targets int
}

// Examine looks at everything. When ctx ends early, what was not looked at by then is said.
func Examine(ctx context.Context, o Options) Report {
	e := &examination{Options: o}
	machine := e.machine(ctx)
	parts := []Part{e.configuration()}
	if e.Config != nil {
		// The targets take their time, on other machines.
		targets := make(chan []Part, 1)
		go func() { targets <- e.targets(ctx) }()
		sources := e.sources(ctx)
		parts = append(parts, e.daemon(), machine, e.limits(), e.state())
		if passwords := e.passwords(); len(passwords.Findings) > 0 {
			parts = append(parts, passwords)
		}
		parts = append(append(parts, sources...), <-targets...)
	} else {
		parts = append(parts, machine, e.limits())
	}
	r := Report{Parts: parts}
	for _, p := range parts {
		for _, f := range p.Findings {
			switch f.Level {
			case Problem:
				r.Problems++
			case Warning:
				r.Warnings++
			}
		}
	}
	return r
}

// configuration is what reading it came to, but for what belongs to a part of its own.
func (e *examination) configuration() Part {
	p := Part{Kind: "configuration", Name: e.File}
	switch {
	case e.File == "":
		p.add(Note, "configuration", "name it: sersync doctor -o FILE", "no configuration was named: only this machine is looked at")
	case e.Err != nil:
		p.add(Problem, "configuration", "name a file that can be read, and mend its form", "%v", e.Err)
	}
	for _, problem := range e.Problems {
		if e.Config == nil || !e.hasPart(problem) {
			p.problem("configuration", problem)
		}
	}
	switch {
	case e.Config == nil:
	case slices.ContainsFunc(e.Problems, func(problem config.Problem) bool { return problem.Severity == config.Error }):
		p.add(Note, "configuration", "", "sersync does not start with it before its problems, here and below, are solved")
	default:
		p.ok("configuration", "can be used: %s, %s", plural(len(e.Config.Sources), "source"), plural(e.targetCount(), "target"))
	}
	return p
}

func (e *examination) targetCount() int {
	n := 0
	for _, s := range e.Config.Sources {
		n += len(s.Targets)
	}
	return n
}

// hasPart reports whether a problem is told with its source or password file.
func (e *examination) hasPart(problem config.Problem) bool {
	return slices.Contains(e.passwordFiles(), problem.Value) ||
		slices.ContainsFunc(e.Config.Sources, func(s config.Source) bool { return about(problem, s) })
}

func about(problem config.Problem, s config.Source) bool {
	return problem.Value == s.Path && problem.Place == s.Place
}

// problem adds what the configuration's validation says, word by word.
func (p *Part) problem(check string, problem config.Problem) {
	level := map[config.Severity]Level{config.Notice: Note, config.Warning: Warning, config.Error: Problem}[problem.Severity]
	remedy := problem.Remedy
	// The place stands in front, and the severity is the level.
	problem.Severity, problem.Remedy = config.Error, ""
	p.add(level, check, remedy, "%v", problem)
}

// quote is a name as a person may see it.
func quote(name string) string { return change.Path(name).String() }

// plural is a number with its noun.
func plural(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case noun[len(noun)-1] == 'y':
		return fmt.Sprintf("%d %sies", n, noun[:len(noun)-1])
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// read is a file of the system's, below /proc.
func (e *examination) read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(e.Proc, name))
}
