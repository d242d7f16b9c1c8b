package replicate

import (
	"time"

	"sersync/internal/journal"
)

// PathsMax bounds the paths of one answer, for each target.
const PathsMax = 100_000

// Paths are some of what a target is owed, oldest first. Its JSON form is an interface: fields are added, never changed.
type Paths struct {
	Source string `json:"source"`
	Target string `json:"target"`
	// Count is how many there are; Paths may be less.
	Count int        `json:"count"`
	Paths []OwedPath `json:"paths"`
}

// OwedPath is one path that a target does not have as it is at the source.
type OwedPath struct {
	// Path is quoted where it holds anything but plain text.
	Path string `json:"path"`
	// State is "held", "retry" or "dead".
	State string `json:"state"`
	// Since is when the oldest change of it was noticed.
	Since time.Time `json:"since"`
	Tries int       `json:"tries"`
	Error string    `json:"error,omitempty"`
	// Next is when it is tried again by itself.
	Next *time.Time `json:"next_try,omitempty"`
}

// Held are the removals that a brake holds, at the most max of each target. The target may be empty, for all.
func (s *Source) Held(target string, max int) []Paths {
	return s.owedPaths(target, func(t *journal.Target) ([]journal.Owed, int) { return t.List(max, journal.Braked) })
}

// Failed are the paths that failed, at the most max of each target.
func (s *Source) Failed(target string, max int) []Paths {
	return s.owedPaths(target, func(t *journal.Target) ([]journal.Owed, int) { return t.List(max, journal.Retry, journal.Dead) })
}

// RetryFailed tries now what failed, and counts it.
func (s *Source) RetryFailed(target string) []Paths {
	return s.owedPaths(target, func(t *journal.Target) ([]journal.Owed, int) { return nil, t.Retry() })
}

// ForgetFailed forgets dead letters, at the most PathsMax of each target, and returns them.
func (s *Source) ForgetFailed(target string) []Paths {
	return s.owedPaths(target, func(t *journal.Target) ([]journal.Owed, int) {
		rows, _ := t.List(PathsMax, journal.Dead)
		rows = t.Forget(rows...)
		if len(rows) > 0 {
			s.log.Warn("dead letters are forgotten", "paths", len(rows))
		}
		return rows, len(rows)
	})
}

// owedPaths asks the journal about a target, about all when it is empty. Targets of which there is nothing to say are
// left out.
func (s *Source) owedPaths(target string, ask func(*journal.Target) ([]journal.Owed, int)) []Paths {
	all := []Paths{}
	for _, r := range s.running() {
		if target != "" && target != r.sender.opts.Name {
			continue
		}
		rows, count := ask(r.sender.owed)
		if count == 0 {
			continue
		}
		p := Paths{Source: s.options().Name, Target: r.sender.opts.Name, Count: count, Paths: []OwedPath{}}
		for _, o := range rows {
			p.Paths = append(p.Paths, owedPath(o))
		}
		all = append(all, p)
	}
	return all
}

func owedPath(o journal.Owed) OwedPath {
	p := OwedPath{Path: o.Path.String(), State: "held", Since: o.Since, Tries: o.Tries, Error: o.Err}
	if o.State != journal.Braked {
		p.State, p.Next = "retry", &o.Due
	}
	if o.State == journal.Dead {
		p.State = "dead"
	}
	return p
}
